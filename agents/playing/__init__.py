"""How a policy is played and judged; without TensorFlow.

Read `spec` (how an environment is written down), `environments` (how it is made), then `evaluation`
(returns on given reset seeds), `statistics` (means and their bootstrap intervals) and `gate` (has too much been lost?);
`disturbances` (what goes wrong between an environment and a policy) and `fragility` (what that costs a float agent);
`processes` (others, that end with this one).
"""
