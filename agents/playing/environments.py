"""gymnasium environments: made as a device sees them, wrapped for a network, and checked for NaNs and infinities."""

import importlib
import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, nearest, one_line, require, tell
from edgedqn.agents.files import Json
from edgedqn.agents.playing.actions import indexed
from edgedqn.agents.playing.checks import CheckedEnvironment, told
from edgedqn.agents.playing.legal import LegalActions, MaskFromObservation, WithMask, mask_in
from edgedqn.agents.playing.observations import Convert, one_array, undone
from edgedqn.agents.playing.simulators import atari
from edgedqn.agents.playing.simulators.atari_vector import AtariVector, is_same
from edgedqn.agents.playing.simulators.old_gym import OLD_GYM, is_old, make_old
from edgedqn.agents.playing.source import EnvironmentSource, format_arguments
from edgedqn.agents.playing.spec import ActionMask, Atari, EnvironmentSpec, Flatten, FrameStack, OneHot, Step, spec_of

# Where an environment sets no limit of its own, a policy that never ends an episode would be played for ever. Half an hour of
# play at 15 decisions a second, as for Atari games (Mnih et al. 2015).
LONGEST_EPISODE = 27_000
Vector = gymnasium.vector.SyncVectorEnv | AtariVector
_of_users: set[str] = set()  # the ids that `register_factory` has registered


class BadTransitionError(InputError):
    """The environment gave a number no agent can learn from: a NaN or an infinity."""


def check_transition(env_id: str, step: int, *, observation: NDArray[Any], reward: float) -> None:
    """Raises BadTransitionError where the observation or the reward is NaN or infinite, with `step`, the steps taken so far."""
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


def make_environment(source: str | EnvironmentSource, render_mode: str | None = None) -> gymnasium.Env[Any, Any]:
    """Makes an environment EdgeDQN can learn, as a device would see it; see `agent_view` for the network's side.

    Its observations are one array or the number of a state, its actions numbers from 0; see `observations.one_array` and
    `actions.indexed`. It gives what it declares, or raises InputError. Games of the Arcade Learning Environment are seen as
    `simulators.atari` says. MinAtar is registered when it is asked for, and its leak between episodes closed. Episodes end
    after 27,000 steps where the environment sets no limit.

    The id is gymnasium's, or `module:Id`, which imports `module` first.

    Raises:
      InputError: the id is unknown (the nearest names are given), its module cannot be imported, it does not take what the
        source gives it, it cannot be rendered this way, or a space is not one this version handles.
    """
    source = EnvironmentSource.of(source)
    _find(source.id)
    env = _made(source, render_mode)
    try:
        if render_mode is not None and render_mode not in env.metadata.get("render_modes", ()):
            expected = env.metadata.get("render_modes")
            require(not expected, f"{source.id} cannot be rendered as {render_mode!r}: expected one of {expected}.")
            raise _undrawn(source.id, render_mode, "none there")
        if source.name.startswith("MinAtar/"):
            env = ForgetLastAction(env)
        if atari.is_atari(source.name):
            env = atari.as_seen(env, source.name)
            if source.max_episode_steps is not None:  # of four frames each
                env = gymnasium.wrappers.TimeLimit(env, source.max_episode_steps)
        elif source.max_episode_steps is None and (env.spec is None or env.spec.max_episode_steps is None):
            env = LastResort(env, source.id)
        for wrapper in source.wrappers:
            env = wrapper.wrap(env)
        env = CheckedEnvironment(env, source.id, options=dict(source.reset_options))
        env = indexed(env, source.id, source.action_levels)
        n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
        if mask_in(env.observation_space, n_actions):
            env = MaskFromObservation(env)
        env = one_array(env, source.id, source.observe)
        if source.action_mask:
            env = LegalActions(env, source.id, n_actions)
        spec_of(env, source, flatten=True)
    except BaseException:
        env.close()
        raise
    return env


def register_factory(env_id: str, make: Callable[..., gymnasium.Env[Any, Any]]) -> None:
    """Has gymnasium make an environment of this id by a function of the user's, in this process, in place of an earlier one.

    Raises:
      InputError: somebody else has registered the id, or it is none.
    """
    if env_id in gymnasium.registry and env_id not in _of_users:
        raise InputError(f"{env_id!r} is registered already: expected another name for what make_env makes.")
    gymnasium.registry.pop(env_id, None)  # as a notebook runs a cell again
    try:
        gymnasium.register(env_id, entry_point=make)
    except gymnasium.error.Error as error:
        raise InputError(f"Expected a name such as Mine-v0 for what make_env makes. Got {env_id!r}: {error}") from error
    _of_users.add(env_id)


def _find(env_id: str) -> None:
    """Has an id registered, or says why it is not."""
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except Exception as error:  # the user's module may raise anything
            what = told(error, type(None)) if not isinstance(error, ImportError | ValueError) else str(error)
            if isinstance(error, ModuleNotFoundError) and error.name in ("gym", "shimmy"):
                what += f". {OLD_GYM}"
            expected = "module:Id"
            missing = error.name if isinstance(error, ModuleNotFoundError) else None
            if missing and missing.isidentifier() and missing == module.partition(".")[0]:
                expected = f"{missing}.py in the current folder or on PYTHONPATH"
            raise InputError(
                f"The module of {env_id!r} cannot be imported: {what.rstrip('.')}. Expected {expected}."
            ) from error
    _register(name)
    if name not in gymnasium.registry and not is_old(name):
        ale = f"ALE/{name}"
        near = [ale] if ale in gymnasium.registry else [f"{module}{colon}{each}" for each in nearest(name, gymnasium.registry)]
        hint = f"Nearest: {', '.join(near)}." if near else "A gymnasium id is expected."
        own = "" if colon else " One of your own is module:Id."
        raise InputError(f"Unknown environment {env_id!r}. {hint}{own}")


def _made(source: EnvironmentSource, render_mode: str | None) -> gymnasium.Env[Any, Any]:
    """The environment as gymnasium makes it."""
    settings: Json = dict(source.arguments)
    if atari.is_atari(source.name):
        settings["frameskip"] = 1
    elif source.max_episode_steps is not None:
        settings["max_episode_steps"] = source.max_episode_steps
    if render_mode is not None:  # many a user's environment does not take the argument
        settings["render_mode"] = render_mode
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on stdout else, which --json keeps for itself
    # What gymnasium's checker would warn of is checked by `CheckedEnvironment`; it would cost a third of CartPole's step.
    try:
        if is_old(source.name):
            return make_old(source.name, **settings)
        try:
            return gymnasium.make(source.id, disable_env_checker=True, **settings)
        except TypeError as error:
            if "render_mode" in settings or "'render_mode'" not in str(error):
                raise
            return gymnasium.make(source.id, disable_env_checker=True, render_mode=None, **settings)  # it insists on one
    except InputError:
        raise
    except (ImportError, gymnasium.error.DependencyNotInstalled) as error:
        raise InputError(f"{source.id} needs a package that is not installed: {one_line(error)}") from error
    except Exception as error:
        if render_mode is not None and isinstance(error, TypeError):
            raise _undrawn(source.id, render_mode, one_line(error).rstrip(".")) from error
        given = f" with {', '.join(format_arguments(source.arguments))}" if source.arguments else ""
        raise InputError(f"{source.id} cannot be made{given}: {told(error, type(None))}.") from error


def _undrawn(env_id: str, render_mode: str, got: str) -> InputError:
    expected = 'expected an environment that takes `render_mode`, and names it in metadata["render_modes"]'
    return InputError(f"{env_id} cannot be rendered as {render_mode!r}: {expected}. Got {got}.")


def agent_view(env: gymnasium.Env[Any, Any], spec: EnvironmentSpec) -> gymnasium.Env[Any, Any]:
    """`env`, as `make_environment` makes it, as the network sees it: its observations are arrays of `spec.input_shape`, by
    gymnasium's own wrappers."""
    for step in spec.preprocessing:
        env = _preprocessed(env, step)
    return env


def as_given(env: gymnasium.Env[Any, Any], spec: EnvironmentSpec) -> Convert:
    """What turns a frame [*spec.input_shape] as the network sees it to what the simulator gives; see `observations.undone`.

    It leaves an observation as it is where the simulator gives more than is looked at, or says which actions are legal.

    Args:
      env: as `make_environment` makes it.
      spec: of it.
    """
    inner, as_it_is = env, spec.masked or bool(spec.source.observe)
    while isinstance(inner, gymnasium.Wrapper) and not isinstance(inner, CheckedEnvironment):
        as_it_is |= isinstance(inner, MaskFromObservation)
        inner = inner.env
    back = None if as_it_is else undone(inner.observation_space)
    return back or (lambda observation: observation)


def make_vector(spec: EnvironmentSpec, *, num_envs: int) -> Vector:
    """Several environments at once, as the network sees them, stepped one after the other in this process; games of the Arcade
    Learning Environment in C++, where that shows the same.

    An episode that ends is not reset by itself (`AutoresetMode.DISABLED`): what `step` returns is its true last observation,
    and the caller resets those that are over with `options={"reset_mask": mask}` and a reset seed of its own for each.
    """
    if is_same(spec):
        return AtariVector(spec, num_envs=num_envs)
    return gymnasium.vector.SyncVectorEnv(
        [lambda: agent_view(make_environment(spec.source), spec)] * num_envs,
        autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED,
    )


class LastResort(gymnasium.wrappers.TimeLimit):
    """Cuts episodes off that would perhaps never end, and says so."""

    def __init__(self, env: gymnasium.Env[Any, Any], env_id: str):
        super().__init__(env, LONGEST_EPISODE)
        self._id = env_id

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = super().step(action)
        if cast(int, self._elapsed_steps) == LONGEST_EPISODE and not result[2]:  # else the environment ended the episode
            tell(
                f"{self._id}: an episode did not end by itself and is cut off after {LONGEST_EPISODE:,} steps, which takes its "
                "time. Set a limit: max_episode_steps, or gymnasium's TimeLimit."
            )
        return result


class ForgetLastAction(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Makes a MinAtar episode depend on its reset seed alone: MinAtar repeats the last action now and then, across resets."""

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.env.unwrapped.game.last_action = 0  # type: ignore[attr-defined]
        return self.env.reset(seed=seed, options=options)


def _preprocessed(env: gymnasium.Env[Any, Any], step: Step) -> gymnasium.Env[Any, Any]:
    """`env` with one more step done to its observations."""
    match step:
        case Atari():  # done already, by `make_environment`
            return env
        case OneHot() | Flatten():
            return gymnasium.wrappers.FlattenObservation(env)
        case ActionMask():
            return WithMask(env)
        case FrameStack(count):
            # A copy first: the wrapper keeps references, and some environments go on writing to the array they gave.
            env = gymnasium.wrappers.TransformObservation(env, np.array, env.observation_space)
            env = gymnasium.wrappers.FrameStackObservation(env, count)
            space = env.observation_space
            assert isinstance(space, gymnasium.spaces.Box)
            join = partial(_stack_last, rank=len(space.shape) - 1)
            joined = gymnasium.spaces.Box(join(space.low), join(space.high), dtype=space.dtype.type)
            return gymnasium.wrappers.TransformObservation(env, join, joined)


def _stack_last(frames: NDArray[Any], rank: int) -> NDArray[Any]:
    """[K, F] -> [K F], [K, H, W] -> [H, W, K], [K, H, W, C] -> [H, W, K C]."""
    if rank == 2:
        return np.ascontiguousarray(np.moveaxis(frames, 0, -1))
    return np.concatenate(frames, axis=-1)


def _register(name: str) -> None:
    """Has the packages register their environments that do so on demand only."""
    if name.startswith("MinAtar/") and not any(known.startswith("MinAtar/") for known in gymnasium.registry):
        try:
            importlib.import_module("minatar.gym").register_envs()
        except ImportError as error:
            raise InputError(f"{name} needs the extra 'minatar': pip install edgedqn[minatar]. Got: {error}.") from error
    atari.register(name)
