"""How long a policy takes.

Read `interleaved` (files timed against each other), `timed_policies` (what is timed), `timing` (all of one comparison), then
what makes the figures hold: `full_speed`, `pinning`, `windows`. `edge_step` times processes of their own.
"""
