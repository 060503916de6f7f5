"""How an agent is trained.

Read `config` and `presets` (every setting), `build` (the agent that they describe), `interaction` (the stream of steps), `loop`
(what is done with each), then `selection` (which network is kept), `checkpoints` and `log`.
"""
