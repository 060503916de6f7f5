"""One file per method: its settings and its stage. `distillation` and `reinforcement` train for the others.

Read in this order: `initialization`, `distillation`, `streaming`, `reinforcement`, `pruning`, `clustering`, `quantization` with
`rounded_learning`, its reinforcement learning; `ladder`, which rounds by as little as it needs, with `decisions`, its
fine-tuning; and those that look for a smaller network: `shrinking`, `search`. A new method is a file with a `Stage`, and an
entry in `STAGES` of `compression.recipe`.
"""
