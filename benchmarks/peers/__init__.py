"""Other projects, measured beside ours, or with ours; nothing imports this folder.

Read `inference` (one action in eight runtimes), then `training_throughput` (ours against Stable-Baselines3) with
`training_sides` (what both are given) and `training_job` (one measurement, and where the time goes). `environments_survey`
tries the environments of public packages, with `environment_limits` (what each asks for), `environment_job` (one is learned)
and `environments_tables`.
`agent_files` writes a policy as other projects do, and `lunar_lander` is one by hand: what `edgedqn import` is tried on.
"""
