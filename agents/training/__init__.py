"""How an agent is trained. Read `presets` (every setting), then `loop` (the stream of steps and who consumes it), `selection`
(which network is kept), `checkpoints` (what a training goes on from) and `log` (what it leaves to be looked at)."""
