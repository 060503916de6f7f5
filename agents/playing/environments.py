"""gymnasium environments: what EdgeDQN can learn, what it refuses, and how one is written down.

An environment is seen from two sides. A *device* gets what the environment gives: one frame, the number of a state. The
network wants a float array: frames stacked, a state one-hot. The steps between the two are the spec's `preprocessing`;
`EdgePolicy` does them on the device, `agent_view` with gymnasium's own wrappers where an agent is trained.
"""

import contextlib
import difflib
import importlib
import io
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError

# Where an environment sets no limit of its own, a policy that never ends an episode would be played for ever. Half an hour of
# play at 15 decisions a second, as for Atari games (Mnih et al. 2015).
LONGEST_EPISODE = 27_000


@dataclass(frozen=True)
class EnvironmentSpec:
    """What a policy must know of its environment, and nothing of how it is simulated. Round-trips through JSON.

    Attributes:
      id: the gymnasium id, or `module:Id` for an environment that registers itself when `module` is imported.
      observation_shape: as the device gets it, without the batch: [F], [H, W] or [H, W, C]; () for the number of a state.
      observation_dtype: NumPy's name of the dtype the environment gives.
      observation_low: per feature, or one number where all are the same; None where it is unbounded.
      observation_high: per feature, or one number where all are the same; None where it is unbounded.
      n_actions: actions are 0 .. n_actions - 1.
      preprocessing: the steps between the simulator's observation and the network's input, in order:
        `atari`: the caller's part, gymnasium's AtariPreprocessing: every 4th frame, the brighter of two, 84x84 gray bytes;
        `frame_stack:K`: the last K observations along the last axis, oldest first; the first of an episode K times;
        `one_hot`: the number of a state as a vector;
        `flatten`: an array as a vector, in C order.
    """

    id: str
    observation_shape: tuple[int, ...]
    observation_dtype: str
    observation_low: tuple[float | None, ...]
    observation_high: tuple[float | None, ...]
    n_actions: int
    preprocessing: tuple[str, ...] = ()

    @property
    def frame_stack(self) -> int:
        """How many observations the network sees at once."""
        return next((int(step.partition(":")[2]) for step in self.preprocessing if step.startswith("frame_stack:")), 1)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of what the network takes, without the batch."""
        shape = self.observation_shape
        for step in self.preprocessing:
            name, _, count = step.partition(":")
            if name == "frame_stack":
                *lead, channels = shape if len(shape) != 2 else (*shape, 1)
                shape = (*lead, channels * int(count))
            elif name == "one_hot":
                assert self.observation_high[0] is not None
                shape = (int(self.observation_high[0]) + 1,)
            elif name == "flatten":
                shape = (math.prod(shape),)
        return shape

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
      observation: of any shape.
      reward: in reward units.
    Raises:
      BadTransitionError: with the step in the message.
    """
    # One dot product is several times cheaper than isfinite().all(), and this runs on every step. It can overflow on huge but
    # finite numbers (vdot does so without a warning), so a second look decides. Integers are always finite.
    dtype = getattr(observation, "dtype", None)  # the number of a state has none
    if (
        dtype is not None
        and dtype.kind == "f"
        and not math.isfinite(np.vdot(observation, observation))
        and not np.isfinite(observation).all()
    ):
        i = int(np.argmin(np.isfinite(observation)))
        got = f"{np.ravel(observation)[i]} in feature {i}"
        raise BadTransitionError(f"{env_id} gave a bad observation at step {step}: expected finite numbers. Got {got}.")
    if not math.isfinite(reward):
        raise BadTransitionError(f"{env_id} gave a bad reward at step {step}: expected a finite number. Got {reward}.")


def make_environment(env_id: str, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Makes an environment EdgeDQN can learn, as a device would see it; see `agent_view` for the network's side.

    Games of the Arcade Learning Environment get gymnasium's AtariPreprocessing. MinAtar is registered when it is asked for,
    and its leak between episodes closed. Episodes end after 27,000 steps where the environment sets no limit.

    Args:
      env_id: a registered gymnasium id, or `module:Id`, which imports `module` first.
      render_mode: gymnasium's, for example "rgb_array" or "human".
    Raises:
      InputError: the id is unknown (the nearest names are given), its module cannot be imported, it cannot be rendered this
        way, or a space is not one this version handles.
    """
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except (ImportError, SyntaxError, TypeError, ValueError) as error:  # the last two: a relative or an empty name
            raise InputError(f"The module of {env_id!r} cannot be imported: {error}. Expected module:Id.") from error
    _register(name)
    if name not in gymnasium.registry:
        raise InputError(_unknown(env_id, name))
    is_atari = name.startswith("ALE/")
    try:
        # gymnasium's pygame imports greet on stdout, which --json keeps for itself. What its checker would warn of is checked
        # here: each transition by `check_transition`, the spaces by `spec_of`; it would cost a third of CartPole's step.
        with contextlib.redirect_stdout(io.StringIO()):
            settings: dict[str, Any] = {"frameskip": 1} if is_atari else {}
            if render_mode is not None:  # many an environment of a user's does not know the word
                settings["render_mode"] = render_mode
            env = gymnasium.make(env_id, disable_env_checker=True, **settings)
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(f"{env_id} needs a package that is not installed: {error}") from error
    except TypeError as error:
        if render_mode is None:
            raise
        raise InputError(f"{env_id} cannot be rendered as {render_mode!r}: {error}.") from error
    if render_mode is not None and render_mode not in env.metadata.get("render_modes", ()):
        env.close()
        raise InputError(f"{env_id} cannot be rendered as {render_mode!r}: expected one of {env.metadata.get('render_modes')}.")
    if name.startswith("MinAtar/"):
        env = ForgetLastAction(env)
    if is_atari:
        env = gymnasium.wrappers.AtariPreprocessing(env)
    elif env.spec is not None and env.spec.max_episode_steps is None:
        env = gymnasium.wrappers.TimeLimit(env, LONGEST_EPISODE)
    try:
        spec_of(env, env_id, flatten=True)
    except InputError:
        env.close()
        raise
    return env


def is_beyond_images(env: gymnasium.Env[Any, Any]) -> bool:
    """Whether its observations are arrays of more axes than an image has, so that they are only learned from as vectors."""
    return len(env.observation_space.shape or ()) > 3


def spec_of(env: gymnasium.Env[Any, Any], env_id: str, frame_stack: int = 1, flatten: bool = False) -> EnvironmentSpec:
    """Describes `env` as `make_environment` makes it, or says why it cannot be learned.

    Args:
      env: the device's view.
      env_id: as it was asked for.
      frame_stack: how many observations the network is to see at once.
      flatten: whether the network wants arrays of rank 2 and more as vectors.
    Raises:
      InputError: the action space is not Discrete from 0, or the observation space neither a Box that is a vector, an image or
        to be flattened, nor Discrete from 0.
    """
    actions, observations = env.action_space, env.observation_space
    if not isinstance(actions, gymnasium.spaces.Discrete):
        raise InputError(f"{env_id} has an action space DQN cannot rank: expected Discrete(n). Got {_short(actions)}.")
    if actions.n < 2:
        raise InputError(f"{env_id} leaves nothing to decide: expected two actions or more. Got {actions.n}.")
    if actions.start != 0:
        raise InputError(f"{env_id} numbers its actions from {actions.start}: expected from 0. Wrap the environment.")
    if frame_stack < 1:
        raise InputError(f"A network sees one observation at least. Expected frame_stack of 1 or more. Got {frame_stack}.")
    if isinstance(observations, gymnasium.spaces.Discrete):
        if observations.start != 0:
            raise InputError(f"{env_id} numbers its states from {observations.start}: expected from 0. Wrap the environment.")
        if frame_stack > 1:
            raise InputError(f"{env_id} gives the number of a state, which cannot be stacked. Got frame_stack={frame_stack}.")
        low, high = (0.0,), (float(observations.n - 1),)
        return EnvironmentSpec(env_id, (), str(observations.dtype), low, high, int(actions.n), ("one_hot",))
    if not isinstance(observations, gymnasium.spaces.Box):
        raise InputError(
            f"{env_id} has observations that are no single array: expected a Box or Discrete. Got {_short(observations)}. "
            "gymnasium.wrappers.FlattenObservation makes one of a Dict or Tuple."
        )
    shape = tuple(observations.shape)
    if not shape:
        raise InputError(f"{env_id} has single numbers as observations: expected an array. Got {_short(observations)}.")
    if len(shape) > 3 and not flatten:
        raise InputError(
            f"{env_id} has observations of rank {len(shape)}: expected a vector or an image, or the network mlp, which takes "
            f"them as a vector. Got {_short(observations)}."
        )
    preprocessing = ["atari"] if _is_wrapped(env, gymnasium.wrappers.AtariPreprocessing) else []
    flatten = flatten and len(shape) > 1
    if flatten:  # first, so that the frames of a stack stay in one piece each
        preprocessing.append("flatten")
    if frame_stack > 1 or (len(shape) == 2 and not flatten):  # a convolution wants channels: [H, W] becomes [H, W, 1]
        preprocessing.append(f"frame_stack:{frame_stack}")
    return EnvironmentSpec(
        id=env_id,
        observation_shape=shape,
        observation_dtype=str(observations.dtype),
        observation_low=_bounds(observations.low),
        observation_high=_bounds(observations.high),
        n_actions=int(actions.n),
        preprocessing=tuple(preprocessing),
    )


def agent_view(env: gymnasium.Env[Any, Any], spec: EnvironmentSpec) -> gymnasium.Env[Any, Any]:
    """`env` as the network sees it: its observations are arrays of `spec.input_shape`, by gymnasium's own wrappers.

    Args:
      env: as `make_environment` makes it; closed with what is returned.
      spec: of it.
    """
    for step in spec.preprocessing:
        name, _, count = step.partition(":")
        if name == "frame_stack":
            # A copy first: the wrapper keeps references, and some environments go on writing to the array they gave.
            env = gymnasium.wrappers.TransformObservation(env, np.array, env.observation_space)
            env = gymnasium.wrappers.FrameStackObservation(env, int(count))
            space = env.observation_space
            assert isinstance(space, gymnasium.spaces.Box)
            join = partial(_stack_last, rank=len(space.shape) - 1)
            env = gymnasium.wrappers.TransformObservation(
                env, join, gymnasium.spaces.Box(join(space.low), join(space.high), dtype=space.dtype.type)
            )
        elif name in ("one_hot", "flatten"):
            env = gymnasium.wrappers.FlattenObservation(env)
    return env


def make_vector(env_id: str, spec: EnvironmentSpec, num_envs: int) -> gymnasium.vector.SyncVectorEnv:
    """Several environments at once, as the network sees them, stepped one after the other in this process.

    An episode that ends is not reset by itself (`AutoresetMode.DISABLED`): what `step` returns is its true last observation,
    and the caller resets those that are over with `options={"reset_mask": mask}` and a reset seed of its own for each.
    """
    return gymnasium.vector.SyncVectorEnv(
        [lambda: agent_view(make_environment(env_id), spec)] * num_envs,
        autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
    )


class ForgetLastAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Makes a MinAtar episode depend on its reset seed alone.

    MinAtar repeats the last action now and then, and keeps it over a reset: the first steps of an episode would depend on
    the end of the one before.
    """

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.env.unwrapped.game.last_action = 0  # type: ignore[attr-defined]
        return self.env.reset(seed=seed, options=options)


def _stack_last(frames: NDArray[Any], rank: int) -> NDArray[Any]:
    """[K, F] -> [K F], [K, H, W] -> [H, W, K], [K, H, W, C] -> [H, W, K C]."""
    if rank == 2:
        return np.ascontiguousarray(np.moveaxis(frames, 0, -1))
    return np.concatenate(frames, axis=-1)


def _register(name: str) -> None:
    """Has the packages register their environments that do so on demand only."""
    prefix = name.partition("/")[0] + "/"
    package = {"MinAtar/": "minatar", "ALE/": "ale_py"}.get(prefix)
    if package is None or any(known.startswith(prefix) for known in gymnasium.registry):
        return
    try:
        if package == "minatar":
            importlib.import_module("minatar.gym").register_envs()
        else:
            ale = importlib.import_module(package)
            ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # it greets on stderr else
            gymnasium.register_envs(ale)
    except ImportError as error:
        extra = {"minatar": "minatar", "ale_py": "atari"}[package]
        raise InputError(f"{name} needs the extra {extra!r}: pip install edgedqn[{extra}]. Got: {error}.") from error


def _is_wrapped(env: gymnasium.Env[Any, Any], wrapper: type) -> bool:
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, wrapper):
            return True
        env = env.env
    return False


def _bounds(values: NDArray[Any]) -> tuple[float | None, ...]:
    # gymnasium writes "unbounded" as an infinity or as the largest float; JSON has neither.
    flat = values.ravel().astype(np.float64)
    bounds = flat[:1] if flat.size > 1 and values.ndim > 1 and (flat == flat[0]).all() else flat
    return tuple(float(v) if abs(v) < np.finfo(np.float32).max else None for v in bounds)


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
