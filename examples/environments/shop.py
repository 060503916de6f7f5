"""A shop that orders goods in the evening: states have numbers, so the policy is a table of 21 entries.

edgedqn run shop:Shop-v0 --steps 100000
"""

from typing import Any

import gymnasium
import numpy as np

SHELF, MOST_ORDERED = 20, 10  # pieces
DEMAND = 4.0  # pieces a day, Poisson
PRICE, COST, DELIVERY, STORAGE = 5.0, 2.0, 3.0, 0.2  # a piece sold and bought, an order, a piece overnight
DAYS = 50


class Shop(gymnasium.Env[np.int64, np.int64]):
    """Fifty days. The state is what is on the shelf, the action how many pieces are ordered, the reward what a day earns."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Discrete(SHELF + 1)
        self.action_space = gymnasium.spaces.Discrete(MOST_ORDERED + 1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.stock, self.day = np.int64(self.np_random.integers(SHELF + 1)), 0
        return self.stock, {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        ordered = min(int(action), SHELF - int(self.stock))
        there = int(self.stock) + ordered
        sold = min(there, int(self.np_random.poisson(DEMAND)))
        self.stock, self.day = np.int64(there - sold), self.day + 1
        earned = PRICE * sold - COST * ordered - DELIVERY * (ordered > 0) - STORAGE * int(self.stock)
        return self.stock, earned, False, self.day >= DAYS, {}


gymnasium.register("Shop-v0", entry_point=Shop)
