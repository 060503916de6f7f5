"""Simulators that need more than gymnasium's `make`: read `atari` (games of the Arcade Learning Environment), then `old_gym`
(environments of gymnasium's predecessor)."""
