"""gymnasium environments: what EdgeDQN can learn, what it refuses, and how one is written down."""

import contextlib
import difflib
import importlib
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a policy must know of its environment, and nothing of how it is simulated. Round-trips through JSON.

    Attributes:
      id: the gymnasium id, or `module:Id` for an environment that registers itself when `module` is imported.
      observation_shape: without the batch. A vector, [F].
      observation_dtype: NumPy's name of the dtype the environment gives.
      observation_low: per feature, None where it is unbounded.
      observation_high: per feature, None where it is unbounded.
      n_actions: actions are 0 .. n_actions - 1.
      preprocessing: the steps between the environment's observation and the network's input that the device must repeat, in
        order. None are needed for vectors.
    """

    id: str
    observation_shape: tuple[int, ...]
    observation_dtype: str
    observation_low: tuple[float | None, ...]
    observation_high: tuple[float | None, ...]
    n_actions: int
    preprocessing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "EnvironmentSpec":
        """Reads what `to_json` wrote."""
        fields: dict[str, Any] = {key: tuple(field) if isinstance(field, list) else field for key, field in value.items()}
        return cls(**fields)


class BadTransitionError(InputError):
    """The environment gave a number no agent can learn from: a NaN or an infinity."""


def check_transition(env_id: str, step: int, observation: NDArray[Any], reward: float) -> None:
    """Stops at the first NaN or infinite observation or reward; a NaN is never repaired.

    Args:
      env_id: for the message.
      step: environment steps taken so far, 0 at the first reset.
      observation: [F].
      reward: in reward units.
    Raises:
      BadTransitionError: with the step in the message.
    """
    # One dot product is several times cheaper than isfinite().all(), and this runs on every step. It can overflow on huge but
    # finite numbers (vdot does so without a warning), so a second look decides.
    if not math.isfinite(np.vdot(observation, observation)) and not np.isfinite(observation).all():
        i = int(np.argmin(np.isfinite(observation)))
        got = f"{np.ravel(observation)[i]} in feature {i}"
        raise BadTransitionError(f"{env_id} gave a bad observation at step {step}: expected finite numbers. Got {got}.")
    if not math.isfinite(reward):
        raise BadTransitionError(f"{env_id} gave a bad reward at step {step}: expected a finite number. Got {reward}.")


def make_environment(env_id: str) -> gymnasium.Env[Any, Any]:
    """Makes an environment EdgeDQN can learn: one vector in, one of n actions out.

    Args:
      env_id: a registered gymnasium id, or `module:Id`, which imports `module` first.
    Raises:
      InputError: the id is unknown (the nearest names are given), its module cannot be imported, or a space is not one
        this version handles.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except (ImportError, SyntaxError, TypeError, ValueError) as error:  # the last two: a relative or an empty name
            raise InputError(f"The module of {env_id!r} cannot be imported: {error}. Expected module:Id.") from error
    if name not in gymnasium.registry:
        raise InputError(_unknown(env_id, name))
    try:
        # gymnasium's pygame imports greet on stdout, which --json keeps for itself.
        with contextlib.redirect_stdout(io.StringIO()):
            env = gymnasium.make(env_id)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(f"{env_id} needs a package that is not installed: {error}") from error
    try:
        spec_of(env, env_id)
    except InputError:
        env.close()
        raise
    return env


def spec_of(env: gymnasium.Env[Any, Any], env_id: str) -> EnvironmentSpec:
    """Describes `env`, or says why it cannot be learned.

    Raises:
      InputError: the action space is not Discrete from 0, or the observation space is not a Box of rank 1.
    """
    actions, observations = env.action_space, env.observation_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise InputError(f"{env_id} has an action space DQN cannot rank: expected Discrete(n). Got {_short(actions)}.")
    if actions.n < 2:
        raise InputError(f"{env_id} leaves nothing to decide: expected two actions or more. Got {actions.n}.")
    if actions.start != 0:
        raise InputError(f"{env_id} numbers its actions from {actions.start}: expected from 0. Wrap the environment.")
    if not isinstance(observations, gymnasium.spaces.Box):
        raise InputError(
            f"{env_id} has observations that are no single vector: expected a Box. Got {_short(observations)}. "
            "gymnasium.wrappers.FlattenObservation makes one of a Dict or Tuple."
        )
    if len(observations.shape) != 1:
        raise InputError(
            f"{env_id} has observations of rank {len(observations.shape)}: expected a vector. Got {_short(observations)}."
        )
    return EnvironmentSpec(
        id=env_id,
        observation_shape=tuple(observations.shape),
        observation_dtype=str(observations.dtype),
        observation_low=_bounds(observations.low),
        observation_high=_bounds(observations.high),
        n_actions=int(actions.n),
    )


def _bounds(values: NDArray[Any]) -> tuple[float | None, ...]:
    # gymnasium writes "unbounded" as an infinity or as the largest float; JSON has neither.
    return tuple(float(v) if abs(v) < np.finfo(np.float32).max else None for v in values.ravel())


def _short(space: gymnasium.Space[Any]) -> str:
    text = " ".join(str(space).split())  # NumPy breaks the lines of long bounds
    return text if len(text) <= 80 else f"{text[:77]}..."


def _unknown(env_id: str, name: str) -> str:
    near = _nearest(name, gymnasium.registry)
    hint = f" Nearest: {', '.join(near)}." if near else " A gymnasium id, or module:Id, is expected."
    return f"Unknown environment {env_id!r}.{hint}"


def _nearest(name: str, known: Iterable[str]) -> list[str]:
    lowered = {k.lower(): k for k in known}
    return [lowered[k] for k in difflib.get_close_matches(name.lower(), lowered, n=3, cutoff=0.5)]
