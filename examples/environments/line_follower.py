"""A robot on two wheels that follows a dark line by eight light sensors: small enough for an Arduino Uno.

    edgedqn run line_follower:LineFollower-v0 --steps 60000
    edgedqn bundle runs/line_follower-LineFollower-v0-seed0 --as arduino

The sensors stand 9.525 mm apart, as on Pololu's QTR-8, and read 0 (white) to 1000 (black).
"""

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Seen = tuple[NDArray[np.float32], dict[str, Any]]

SENSORS = (np.arange(8) - 3.5) * 0.009525  # m to the left of the middle
AHEAD = 0.06  # m from the wheels' axle to the sensors
LINE = 0.019  # m wide, electrical tape
SPEED, TURNS = 0.3, np.radians((-180, -60, 0, 60, 180))  # m and rad per second
STEP = 0.02  # s
STEPS = 500


class LineFollower(gymnasium.Env[NDArray[np.float32], np.int64]):
    """Ten seconds on a winding line, or until it is lost. An observation: eight sensors, left last. Five turns, right first.

    The reward of a step is 1 on the middle of the line and 0 where the outermost sensor still sees it.
    """

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1000, (8,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(5)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Seen:
        super().reset(seed=seed)
        self.waves = self.np_random.uniform((0.05, 2.0, 0), (0.12, 5.0, 2 * np.pi))  # m, rad per m, rad
        self.place, self.steps = np.array([0.0, float(self._line(0.0)[0])]), 0
        self.heading = float(np.arctan(self._line(0.0)[1])) + self.np_random.uniform(-0.2, 0.2)
        return self._observe(), {}

    def step(self, action: np.int64) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        self.heading += float(TURNS[action]) * STEP
        self.place = self.place + SPEED * STEP * np.array([np.cos(self.heading), np.sin(self.heading)])
        self.steps += 1
        off = float(np.abs(self._distances(np.zeros(1))[0])) / SENSORS[-1]
        return self._observe(), max(0.0, 1 - off), off > 1, self.steps >= STEPS, {}

    def _line(self, x: Any) -> tuple[Any, Any]:
        """Its y and its slope."""
        height, rate, phase = self.waves
        return height * np.sin(rate * x + phase), height * rate * np.cos(rate * x + phase)

    def _distances(self, left: NDArray[np.float64]) -> NDArray[np.float64]:
        """From the line, of points so far to the left of the middle of the sensors, in m."""
        ahead, across = (
            np.array([np.cos(self.heading), np.sin(self.heading)]),
            np.array([-np.sin(self.heading), np.cos(self.heading)]),
        )
        x, y = (self.place + AHEAD * ahead)[:, np.newaxis] + across[:, np.newaxis] * left
        line, slope = self._line(x)
        return (y - line) / np.sqrt(1 + slope**2)

    def _observe(self) -> NDArray[np.float32]:
        dark = np.clip(1.5 - np.abs(self._distances(SENSORS)) / (LINE / 2), 0, 1)  # an edge is seen in part
        noisy = 1000 * dark + self.np_random.normal(0, 20, 8)
        return np.clip(noisy, 0, 1000).astype(np.float32)


gymnasium.register("LineFollower-v0", entry_point=LineFollower)
