"""Tabular Q-learning, for environments whose observation is the number of a state. S is the states, A the actions."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError, InputError
from edgedqn.agents.files import Json
from edgedqn.agents.training.checkpoints import State, Weights
from edgedqn.agents.training.interaction import Step

StateNumber = NDArray[Any] | int  # an int, a NumPy integer or an array without dimensions
Legal = NDArray[np.bool_] | None  # [A]

LARGEST_VALUE = float(np.finfo(np.float32).max)  # what is kept and deployed is float32


class QLearning:
    """Q-learning on a table [S, A] that learns at each step; an `interaction.Agent`.

    Difference from Watkins and Dayan (1992): the learning rate follows the steps of the training, not the visits of each state
    and action.

    Source: Watkins (1989), "Learning from delayed rewards"; Watkins and Dayan (1992), "Q-learning".
    """

    def __init__(
        self,
        n_states: int,
        n_actions: int,
        *,
        exploration: Callable[[int], float],
        learning_rate: Callable[[int], float],
        discount: float,
        initial_value: float,
        rng: np.random.Generator,
        masked: bool = False,
    ):
        """Takes the table's size, S >= 1 and A >= 1, the value all of it starts with, and two schedules: environment step ->
        the probability of a random action, and -> the share of the temporal-difference error that is corrected, in [0, 1].
        `masked`: its network is told which actions are legal, and makes nothing of it.
        """
        self._blind = n_actions if masked else 0  # features of that network that change nothing
        self.env_steps = 0
        self.gradient_steps = 0  # updates of the table
        self.last_loss = float("nan")  # a running mean of the absolute temporal-difference error
        # Python floats in lists: one value at a time they are several times faster than an array.
        self._table = [[float(initial_value)] * n_actions for _ in range(n_states)]
        self._n_actions = n_actions
        self._exploration = exploration
        self._learning_rate = learning_rate
        self._rng = rng
        self._discount = discount

    @property
    def epsilon(self) -> float:
        """The probability that the next action is random."""
        return self._exploration(self.env_steps)

    @property
    def learning_rate(self) -> float:
        """The share of the next error that is corrected."""
        return self._learning_rate(self.env_steps)

    def averaged_weights(self) -> Weights:
        """A copy of the table [S, A], all there is, as a kernel. Nothing is averaged: its learning rate falls instead."""
        return [np.pad(np.array(self._table, np.float32), ((0, self._blind), (0, 0)))]

    def policy(self, weights: Weights) -> Callable[..., int]:
        """The greedy policy of such a table as it is now: the number of a state -> an action, the lowest index among equals."""
        table = weights[0]
        actions: list[int] = table.argmax(axis=1).tolist()  # [S]

        def greedy(observation: StateNumber, legal: Legal = None, /) -> int:
            state = int(observation)
            return actions[state] if legal is None else int(np.where(legal, table[state], -np.inf).argmax())

        return greedy

    def act(self, observation: StateNumber, legal: Legal = None, /) -> int:
        """Epsilon-greedy: the number of a state -> an action, one of the `legal`, [A], where that is given; the greedy one is
        the lowest index among equals.

        Raises:
          InputError: there is no such state.
        """
        if self._rng.random() < self._exploration(self.env_steps):
            return int(self._rng.integers(self._n_actions) if legal is None else self._rng.choice(np.flatnonzero(legal)))
        values = self._values(observation, legal)  # [A]
        return values.index(max(values))

    def act_in_all(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        """Epsilon-greedy: numbers of states [L] -> actions [L]."""
        return np.array([self.act(observation) for observation in observations], np.int64)

    def observe(self, step: Step) -> None:
        """Learns from one step of an environment, whose observations are the numbers of states; all share the table.

        Raises:
          InputError: there is no such state.
          DivergedError: a value is NaN, or too large for the float32 table that is kept.
        """
        a_tm1 = step.a_tm1
        future = 0.0 if step.terminated else max(self._values(step.s_t, step.legal_t))
        values = self._values(step.s_tm1)  # [A]
        error = step.r_t + self._discount * future - values[a_tm1]
        value = values[a_tm1] + self._learning_rate(self.env_steps) * error
        self.env_steps += 1
        if not -LARGEST_VALUE <= value <= LARGEST_VALUE:
            raise DivergedError(
                f"The Q-table exploded at environment step {self.env_steps}: expected values up to {LARGEST_VALUE:.2g} either "
                f"way. Got {value:.4g} for action {a_tm1} in state {int(step.s_tm1)}. Scale the rewards down."
            )
        values[a_tm1] = value
        self.last_loss = self.last_loss + 0.01 * (abs(error) - self.last_loss) if self.gradient_steps else abs(error)
        self.gradient_steps += 1

    def cut_episodes(self) -> None:
        """Nothing to do: each step is learned at once, so that nothing is pending at a checkpoint."""

    @property
    def state_bytes(self) -> int:
        """How large `state` becomes."""
        return 8 * len(self._table) * self._n_actions

    def state(self) -> State:
        """All that decides the future, as arrays and JSON for `restore`."""
        values = {name: getattr(self, name) for name in _COUNTERS}
        return {"table": np.array(self._table)}, {**values, "rng": self._rng.bit_generator.state}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on exactly where `state` was taken. Raises KeyError or ValueError where the agent was built otherwise."""
        table, shape = arrays["table"], (len(self._table), self._n_actions)
        if table.shape != shape:
            raise ValueError(f"The table is of another environment: expected the shape {shape}. Got {table.shape}.")
        for name in _COUNTERS:
            setattr(self, name, values[name])
        self._rng.bit_generator.state = values["rng"]
        self._table = table.tolist()

    def _values(self, observation: StateNumber, legal: Legal = None) -> list[float]:
        """The row of a state, which is the table's own; or a copy with minus infinity where an action is not legal."""
        state = int(observation)
        if not 0 <= state < len(self._table):  # a list would take -1 for its last element
            expected = f"expected 0 to {len(self._table) - 1}"
            raise InputError(f"The environment gave an unknown state near step {self.env_steps}: {expected}. Got {state}.")
        row = self._table[state]
        return row if legal is None else [value if is_legal else -math.inf for value, is_legal in zip(row, legal, strict=True)]


_COUNTERS = ("env_steps", "gradient_steps", "last_loss")
