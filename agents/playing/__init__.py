"""How a policy is played and judged; without TensorFlow.

Read `spec` (how an environment is written down), `environments` (how it is made), then `evaluation`
(returns on given reset seeds), `statistics` (means and their bootstrap intervals) and `gate` (has too much been lost?).
"""
