"""What a policy must do to teach: say how it ranks actions. And any function made one."""

import importlib
from collections.abc import Callable
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.playing.actions import ActionLevels
from edgedqn.agents.playing.checks import told
from edgedqn.agents.playing.observations import Convert

Answer = Literal["values", "probabilities", "action"]
Policy = Callable[[NDArray[Any]], ArrayLike]  # of an observation; see `FunctionTeacher`
LEAST_PROBABILITY = 1e-6


class Teacher(Protocol):
    """A greedy policy that ranks actions."""

    def q_values(self, observations: NDArray[np.generic], /) -> NDArray[np.float32]:
        """How it ranks actions [..., A] in observations [..., *observation_shape]; differences are all that counts."""

    def __call__(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        """[*observation_shape] -> an action."""

    def actions(self, observations: NDArray[np.generic], /) -> NDArray[np.int64]:
        """[B, *observation_shape] -> actions [B]."""


class FunctionTeacher:
    """A function of one observation, as the environment gives it: a network of another library, a tree, a controller."""

    def __init__(
        self,
        function: Policy,
        name: str,
        *,
        n_actions: int,
        gives: Answer = "values",
        as_given: Convert = lambda observation: observation,
        actions: ActionLevels | None = None,
    ):
        """Takes what it gives, for actions 0 .. n_actions - 1.

        Args:
          function: of what `as_given` makes of an observation; it should keep nothing of earlier ones.
          name: as messages name it.
          n_actions: A.
          gives: Q-values, logits or other `values` [A] whose largest is the action; `probabilities` [A]; or the `action`.
          as_given: makes of an observation [*input_shape], as a network sees it, what the environment gives.
          actions: the environment's own, where they are not 0 .. A - 1: an `action` is one of these, or where they are levels
            of continuous ones, any, of which the nearest is taken.
        Raises:
          InputError: `gives` is none of these.
        """
        require(gives in get_args(Answer), f"Expected gives of {', '.join(get_args(Answer))}. Got {gives!r}.")
        self._function, self._name, self._n_actions, self._gives = function, name, n_actions, gives
        self._as_given = as_given
        self._table = np.arange(n_actions) if actions is None else actions.table  # [A, *shape of an action]

    def q_values(self, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        if observations.ndim == 0 or not len(observations):
            raise ValueError("Expected a batch of observations. Got none.")
        return np.stack([self._ranks(observation) for observation in observations])

    def __call__(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        ranks = self._ranks(observation)
        return int((ranks if legal is None else np.where(legal, ranks, -np.inf)).argmax())

    def actions(self, observations: NDArray[np.generic]) -> NDArray[np.int64]:
        return self.q_values(observations).argmax(axis=-1)

    def _ranks(self, observation: NDArray[Any]) -> NDArray[np.float32]:
        """[A]."""
        try:
            given = np.asarray(self._function(self._as_given(observation)))
        except Exception as error:  # the user's function may raise anything
            raise InputError(f"{self._name} failed: {told(error, type(None))}") from error
        if self._gives == "action":
            return np.eye(self._n_actions, dtype=np.float32)[self._index_of(given)]
        values = given.reshape(-1).astype(np.float32) if given.dtype.kind in "iufb" else np.zeros(0, np.float32)
        if values.shape != (self._n_actions,) or not np.isfinite(values).all():
            expected = f"{self._n_actions} finite numbers, one for each action"
            expected += ', or gives="action"' if values.size == 1 else ""
            raise InputError(f"{self._name} gave bad {self._gives}: expected {expected}. Got {str(given)[:80]}.")
        if self._gives == "probabilities":
            if values.min() < 0 or abs(values.sum() - 1) > 1e-3:
                raise InputError(f"{self._name} gave bad probabilities: expected a sum of 1. Got {str(given)[:80]}.")
            return np.log(np.maximum(values, np.float32(LEAST_PROBABILITY)))
        return values

    def _index_of(self, given: NDArray[Any]) -> int:
        """The index of an action."""
        table = self._table.reshape(self._n_actions, -1).astype(np.float64)  # [A, numbers of an action]
        if given.size == table.shape[1] and given.dtype.kind in "iufb":
            distances = np.square(table - given.reshape(-1)).sum(axis=1)  # [A]; NaN is not 0 either
            nearest = int(distances.argmin())
            if distances[nearest] == 0 or (self._table.dtype.kind == "f" and np.isfinite(distances).all()):
                return nearest
        expected = f"{self._table[0]} to {self._table[-1]}, as the environment takes it"
        raise InputError(f"{self._name} gave a bad action: expected {expected}. Got {str(given)[:80]}.")


def find_function(name: str) -> Policy:
    """The function `module:function` names. Raises InputError where there is none; the module may raise what it likes."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        raise InputError(f"No function {name!r}: expected module:function. Got: {told(error, type(None))}") from error
    if not callable(found):
        raise InputError(f"{name} is no function: expected one of an observation. Got a {type(found).__name__}.")
    return found
