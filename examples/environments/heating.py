"""An office that is to be warm while people are in it, and cheap: an environment of one's own, with a continuous action.

    edgedqn run heating:Heating-v0 --action-levels 5 --steps 60000

The action is the heater's share of its power, 0 to 1; EdgeDQN makes levels of it. Two capacities stand for the building, its
air and its walls; warmth flows between them and outside through resistances. The figures are those of no real building.
"""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Seen = tuple[NDArray[np.float32], dict[str, Any]]

STEP = 0.25  # hours
AIR, WALLS = 1.0, 8.0  # kWh per kelvin
INNER, OUTER = 0.8, 4.0  # kelvin per kW, from air to walls and from walls outside
HEATER = 6.0  # kW
WARM = 20.0, 24.0  # degrees Celsius, from OPEN to CLOSE
OPEN, CLOSE = 7.0, 18.0  # o'clock
CHEAP, DEAR = 0.15, 0.35  # per kWh: from 22 to 6 o'clock, and by day
DISCOMFORT = 0.5  # per kelvin and hour


class Heating(gymnasium.Env[NDArray[np.float32], NDArray[np.float32]]):
    """A day, from midnight. An observation: air and outside in degrees Celsius, sine and cosine of the hour, the price."""

    def __init__(self) -> None:
        low, high = [-10, -30, -1, -1, 0], [50, 40, 1, 1, 1]
        self.observation_space = gymnasium.spaces.Box(np.float32(low), np.float32(high))
        self.action_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Seen:
        super().reset(seed=seed)
        self.hour = 0.0
        self.mean_outside = self.np_random.uniform(-8, 8)
        self.air = self.walls = self.np_random.uniform(15, 19)
        return self._observe(), {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        power = HEATER * float(np.clip(action[0], 0, 1))
        into_walls, lost = (self.air - self.walls) / INNER, (self.walls - self._outside) / OUTER  # kW
        cost = self._price * power * STEP
        self.air += (power - into_walls) * STEP / AIR
        self.walls += (into_walls - lost) * STEP / WALLS
        self.hour += STEP
        if OPEN < self.hour <= CLOSE:
            cost += DISCOMFORT * STEP * (max(WARM[0] - self.air, 0) + max(self.air - WARM[1], 0))
        return self._observe(), -cost, False, self.hour >= 24, {}

    @property
    def _outside(self) -> float:
        """Degrees Celsius; coldest at 4 o'clock."""
        return float(self.mean_outside - 4 * np.cos((self.hour - 4) * np.pi / 12))

    @property
    def _price(self) -> float:
        return CHEAP if self.hour % 24 >= 22 or self.hour % 24 < 6 else DEAR

    def _observe(self) -> NDArray[np.float32]:
        angle = self.hour * np.pi / 12
        return np.array([self.air, self._outside, np.sin(angle), np.cos(angle), self._price], np.float32)


def thermostat(observation: NDArray[np.float32]) -> float:
    """What a policy has to beat: full power below 20.5 degrees while people are there and an hour before."""
    air, _, sine, cosine, _ = observation
    hour = np.arctan2(sine, cosine) * 12 / np.pi % 24
    return float(OPEN - 1 <= hour < CLOSE and air < WARM[0] + 0.5)


gymnasium.register("Heating-v0", entry_point=Heating)
