"""The codes are part of the command line's contract."""

from edgedqn.pipeline import exit_codes


def test_they_are_what_the_help_says() -> None:
    names = ("DONE", "FAULT", "BAD_INPUT", "NOT_PASSED", "REGRESSED", "INTERRUPTED")
    assert [getattr(exit_codes, name) for name in names] == [0, 1, 2, 3, 3, 130]
