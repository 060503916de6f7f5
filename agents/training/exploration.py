"""Epsilon-greedy: what an agent does while it learns."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Greedy = Callable[[], NDArray[np.int64]]  # the greedy actions [L], computed where they are needed


class EpsilonGreedyExploration:
    """Acts at random with a probability that falls; a random action may last for several steps.

    Where a goal is reached only by doing the same for a while, as MountainCar's hill by continuous actions, actions that are
    drawn anew in each step cancel out and never come there.

    Source: Mnih et al. (2015); Dabney et al. (2021), "Temporally-extended epsilon-greedy exploration". Difference: the duration
      is fixed.
    """

    def __init__(
        self,
        epsilon: Callable[[int], float],
        *,
        n_actions: int,
        rng: np.random.Generator,
        duration: int = 1,
        masked: bool = False,
    ):
        """Takes `epsilon`: environment step -> the probability that a random action begins; `duration`: how many steps it
        lasts, >= 1; `masked`: the last features of an observation say which actions are legal, and only such are drawn.
        """
        self.epsilon, self.rng = epsilon, rng
        self._n_actions, self._duration, self._masked = n_actions, duration, masked
        self._held: dict[int, tuple[int, int]] = {}  # env_index -> a random action that goes on, and for how many steps more

    def act(self, observation: NDArray[np.generic], step: int, greedy: Callable[[], int]) -> int:
        """The action of one environment: [*observation_shape]."""
        if self._duration > 1:
            return int(self._lasting(observation[np.newaxis], step, lambda: np.array([greedy()]))[0])
        if self.rng.random() >= self.epsilon(step):
            return greedy()
        if self._masked:
            return int(self.rng.choice(np.flatnonzero(observation[-self._n_actions :])))
        return int(self.rng.integers(self._n_actions))

    def act_in_all(self, observations: NDArray[np.generic], step: int, greedy: Greedy) -> NDArray[np.int64]:
        """The actions [L] of environments side by side: [L, *observation_shape]."""
        if self._duration > 1:
            return self._lasting(observations, step, greedy)
        explore = self.rng.random(len(observations)) < self.epsilon(step)  # [L]
        random = self._random(observations)
        return random if explore.all() else np.where(explore, random, greedy())

    def forget(self, env_index: int | None = None) -> None:
        """An episode is over, or all are: no action goes on."""
        if env_index is None:
            self._held.clear()
        else:
            self._held.pop(env_index, None)

    def _random(self, observations: NDArray[np.generic]) -> NDArray[np.int64]:
        """Legal actions [L], each as likely as any other."""
        count = len(observations)
        if not self._masked:
            return self.rng.integers(self._n_actions, size=count)
        legal = observations[:, -self._n_actions :].astype(bool)  # [L, A]
        return np.where(legal, self.rng.random((count, self._n_actions)), -1.0).argmax(axis=1)

    def _lasting(self, observations: NDArray[np.generic], step: int, greedy: Greedy) -> NDArray[np.int64]:
        begins = self.rng.random(len(observations)) < self.epsilon(step)  # [L]
        random = self._random(observations)
        actions = np.where(begins, random, -1)
        for i in range(len(observations)):
            action, left = self._held.pop(i, (-1, 0))
            if left and self._is_legal(observations[i], action):
                actions[i] = action
                self._hold(i, action, left - 1)
            elif begins[i]:
                self._hold(i, int(random[i]), self._duration - 1)
        return actions if (actions >= 0).all() else np.where(actions >= 0, actions, greedy())

    def _hold(self, env_index: int, action: int, left: int) -> None:
        if left:
            self._held[env_index] = (action, left)

    def _is_legal(self, observation: NDArray[np.generic], action: int) -> bool:
        return not self._masked or bool(observation[action - self._n_actions])
