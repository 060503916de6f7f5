"""How an agent is trained.

Read `config`, `presets` and `reference_scores` (every setting, and what they score), `build` (the agent that they describe),
`interaction` (the stream of steps), `loop` (what is done with each), then `selection` (which network is kept), `checkpoints`
and `log`.
"""
