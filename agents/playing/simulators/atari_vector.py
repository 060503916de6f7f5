"""Games of the Arcade Learning Environment side by side, in the emulator's own C++: a tenth faster a step than through
gymnasium's wrappers, and several at once."""

import importlib
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import Json
from edgedqn.agents.playing.simulators.atari import register
from edgedqn.agents.playing.spec import Atari, EnvironmentSpec, FrameStack

_KNOWN = {"game", "repeat_action_probability", "full_action_space", "frameskip", "max_num_frames_per_episode"}


def is_same(spec: EnvironmentSpec) -> bool:
    """Whether `AtariVector` shows a game as `simulators.atari.as_seen` and `environments.agent_view` do: an `ALE/` id with
    nothing around it, and no arguments beside `repeat_action_probability`, `full_action_space` and
    `max_num_frames_per_episode`."""
    source = spec.source
    register(source.name)
    kinds = [type(step) for step in spec.preprocessing]
    return (
        source.name.startswith("ALE/")
        and kinds == [Atari, FrameStack]
        and {*_arguments(spec)} <= _KNOWN
        and source.max_episode_steps is None
        and not (source.wrappers or source.reset_options or source.observe or source.action_mask)
    )


def _arguments(spec: EnvironmentSpec) -> Json:
    return {**gymnasium.registry[spec.source.name].kwargs, **spec.source.arguments}


class AtariVector(gymnasium.vector.VectorEnv[NDArray[np.uint8], NDArray[np.int64], NDArray[Any]]):
    """L games as gymnasium's SyncVectorEnv plays them with `AutoresetMode.DISABLED`: what `step` returns is the true last
    observation of an episode, and the caller resets those that are over with a mask and a seed for each.

    Frame by frame what gymnasium's AtariPreprocessing gives. The seed draws other sticky actions than there, of the same
    distribution, and 0 to 29 no-ops at the start, where gymnasium draws 1 to 30 (ale_py 0.12). An episode depends on its seed
    and its actions alone.
    """

    def __init__(self, spec: EnvironmentSpec, *, num_envs: int):
        """Takes a game of which `is_same`, and L."""
        arguments = _arguments(spec)
        self._games = importlib.import_module("ale_py.vector_env").AtariVectorEnv(
            arguments["game"],
            num_envs,
            num_threads=1,  # the other cores learn
            max_num_frames_per_episode=arguments["max_num_frames_per_episode"],
            repeat_action_probability=arguments["repeat_action_probability"],
            full_action_space=arguments["full_action_space"],
            stack_num=1,  # its own stacks begin with zeros
            reward_clipping=False,
            use_fire_reset=False,
        )
        self.num_envs = num_envs
        self.single_observation_space = gymnasium.spaces.Box(0, 255, spec.input_shape, np.uint8)  # [84, 84, K]
        self.observation_space = gymnasium.vector.utils.batch_space(self.single_observation_space, num_envs)
        self.single_action_space, self.action_space = self._games.single_action_space, self._games.action_space
        self.metadata = {"autoreset_mode": gymnasium.vector.AutoresetMode.DISABLED}
        self._frames = np.zeros((num_envs, 84, 84, spec.frame_stack), np.uint8)

    def reset(  # type: ignore[override] # SyncVectorEnv takes a list of seeds, too
        self, *, seed: list[int | None] | None = None, options: Json | None = None
    ) -> tuple[NDArray[np.uint8], Json]:
        """Begins episodes: all, or those of `options["reset_mask"]` [L], each with its seed."""
        begun = np.ones(self.num_envs, bool) if options is None else options["reset_mask"]
        seeds = None if seed is None else np.array([each for each in seed if each is not None])
        observations, info = self._games.reset(seed=seeds, options={"reset_mask": begun})
        self._frames[begun] = observations[begun, 0, ..., np.newaxis]  # a stack begins with its first frame repeated
        return self._observations(), info

    def step(
        self, actions: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[Any], NDArray[np.bool_], NDArray[np.bool_], Json]:
        """Takes an action [L] in each."""
        observations, rewards, terminated, truncated, info = self._games.step(actions)
        self._frames = np.roll(self._frames, -1, axis=-1)
        self._frames[..., -1] = observations[:, 0]
        return self._observations(), rewards, terminated, truncated, info

    def close_extras(self, **_: object) -> None:
        """Frees the emulators, which goes by forgetting them."""
        del self._games

    def _observations(self) -> NDArray[np.uint8]:
        return self._frames.copy()
