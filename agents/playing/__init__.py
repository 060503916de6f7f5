"""How a policy is played and judged; without TensorFlow.

Read `environments` (what can be learned, and how it is written down), then `evaluation` (returns on given reset seeds),
`statistics` (means and their bootstrap intervals) and `gate` (has too much been lost?).
"""
