"""Other projects, measured beside ours; nothing imports this folder.

Read `inference` (one action in eight runtimes), then `training_throughput` (ours against Stable-Baselines3) with
`training_sides` (what both are given), `training_job` (one measurement) and `training_parts` (where the time goes).
"""
