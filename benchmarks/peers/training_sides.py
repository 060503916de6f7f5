"""The two sides of the training race, what both are given, and what counts of it."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from edgedqn.agents.errors import require
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.first_look import with_scale
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.agents.training.config import TrainingConfig

# RL Baselines3 Zoo's values, the vanilla DQN that Stable-Baselines3 has, and its default gradient clipping.
_CARTPOLE = TrainingConfig(
    steps=20_000,
    hidden=(256, 256),
    learning_rate=2.3e-3,
    batch_size=64,
    buffer_size=100_000,
    learning_starts=1_000,
    discount=0.99,
    target_update_interval=10,
    train_freq=256,
    gradient_steps=128,
    exploration_fraction=0.16,
    exploration_final=0.04,
    max_gradient_norm=10.0,
    double=False,
    n_step=1,
)
_LUNAR_LANDER = replace(
    _CARTPOLE,
    steps=12_000,
    learning_rate=6.3e-4,
    batch_size=128,
    buffer_size=50_000,
    learning_starts=0,
    target_update_interval=250,
    train_freq=4,
    gradient_steps=4,
    exploration_fraction=0.12,
    exploration_final=0.1,
)
# Not in the zoo: Young and Tian's network, learning every fourth step from 32 transitions.
_BREAKOUT = replace(
    _CARTPOLE,
    hidden=(128,),
    learning_rate=2.5e-4,
    batch_size=32,
    target_update_interval=1_000,
    train_freq=32,
    gradient_steps=8,
    exploration_fraction=0.1,
    exploration_final=0.1,
)
# What is timed is as nine of the zoo's ten million steps are: one action in a hundred is random. Its exploration is cut short.
_PONG = replace(
    _CARTPOLE,
    steps=103_000,
    frame_stack=4,
    hidden=(512,),
    learning_rate=1e-4,
    batch_size=32,
    learning_starts=100_000,
    target_update_interval=1_000,
    train_freq=4,
    gradient_steps=1,
    exploration_fraction=0.9,
    exploration_final=0.01,
)
ZOO = {"CartPole-v1": _CARTPOLE, "LunarLander-v3": _LUNAR_LANDER, "MinAtar/Breakout-v1": _BREAKOUT, "ALE/Pong-v5": _PONG}
# Settings that Stable-Baselines3 calls as we do.
SHARED = (
    *("learning_rate", "batch_size", "buffer_size", "learning_starts", "train_freq", "gradient_steps"),
    *("target_update_interval", "exploration_fraction"),
)
# Nothing is evaluated or saved here, on either side.
UNUSED = ("evaluation_interval", "evaluation_episodes", "finalists", "checkpoint_interval", "keep_checkpoints")

clock = time.perf_counter


@dataclass(frozen=True)
class Settings:
    """What both sides are given.

    Attributes:
      env_id: made for both by `make_environment`.
      config: `averaging_steps` is ours alone; it is part of our training and costs us.
      threads: of each numerical library.
      seed: of the training.
    """

    env_id: str = "CartPole-v1"
    config: TrainingConfig = ZOO["CartPole-v1"]
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        require(self.threads >= 1, f"A side runs on at least one thread. Got threads={self.threads}.")
        steps, window = self.config.steps, self.config.train_freq
        require(
            steps >= self.settled_at + 2 * window,
            f"The steady state begins after {self.settled_at} steps. Expected at least two windows of {window} steps each "
            f"after that. Got steps={steps}.",
        )

    @property
    def settled_at(self) -> int:
        """Environment steps after which the agent learns and explores no more than it will for the rest of the training."""
        return max(self.config.learning_starts + 1, round(self.config.exploration_fraction * self.config.steps))

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        config = {key: value for key, value in asdict(self.config).items() if key not in UNUSED}
        return {**asdict(self), "config": {**config, "hidden": list(self.config.hidden)}}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Settings":
        """Reads what `to_json` wrote."""
        config = value["config"]
        return cls(**{**value, "config": TrainingConfig(**{**config, "hidden": tuple(config["hidden"])})})


class Mark(NamedTuple):
    """The clock at the end of a window of `train_freq` environment steps."""

    env_steps: int
    collected_s: float  # before learning
    learned_s: float  # after it
    cpu_s: float  # the process's processor time, then


@dataclass(frozen=True, kw_only=True)
class SteadyState:
    """Training once everything is compiled and exploration has settled.

    Attributes:
      steps_per_s: environment steps per second over all steady windows.
      gradient_step_us: median over the windows of the time of learning, per gradient step, replay sampling included.
      compile_s: what the very first time of learning took beyond a steady one.
      cpu_share: processor time / wall time; about 1 on one undisturbed thread.
      windows: how many were counted, each of `train_freq` steps.
    """

    steps_per_s: float
    gradient_step_us: float
    compile_s: float
    cpu_share: float
    windows: int


def steady_state(marks: Sequence[Mark], settings: Settings) -> SteadyState:
    """The rates over the whole windows, one mark each, that begin after `settled_at` and after a first time of learning."""
    first = next(i for i, mark in enumerate(marks) if mark.env_steps >= settings.settled_at)
    begin, steady, end = marks[first], marks[first + 1 :], marks[-1]
    learning_s = statistics.median(mark.learned_s - mark.collected_s for mark in steady)
    compiling = next(mark for mark in marks if mark.env_steps > settings.config.learning_starts)
    seconds = end.learned_s - begin.learned_s
    return SteadyState(
        steps_per_s=(end.env_steps - begin.env_steps) / seconds,
        gradient_step_us=1e6 * learning_s / settings.config.gradient_steps,
        compile_s=compiling.learned_s - compiling.collected_s - learning_s,
        cpu_share=(end.cpu_s - begin.cpu_s) / seconds,
        windows=len(steady),
    )


def made_for(settings: Settings) -> tuple[gymnasium.Env[Any, Any], EnvironmentSpec]:
    """The environment as a network sees it, on both sides, and its spec."""
    env = make_environment(settings.env_id)
    spec = with_scale(spec_of(env, settings.env_id, frame_stack=settings.config.frame_stack))
    return agent_view(env, spec), spec


def train_edgedqn(settings: Settings, on_mark: Callable[[Mark], object]) -> None:
    """Trains as `agents.training.loop.train` does, without its evaluations."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    from edgedqn.agents.training.build import build_dqn
    from edgedqn.agents.training.interaction import interact

    env, spec = made_for(settings)
    config = settings.config
    agent = build_dqn(spec, config, rng=np.random.default_rng(settings.seed))
    stream = interact(env=env, env_id=settings.env_id, agent=agent, reset_seeds=itertools.count(settings.seed))
    for step in itertools.islice(stream, config.steps):
        window_ends = (agent.env_steps + 1) % config.train_freq == 0
        if window_ends:
            collected_s = clock()
        agent.observe(step)
        if window_ends:
            on_mark(Mark(agent.env_steps, collected_s, clock(), time.process_time()))


def train_stable_baselines3(settings: Settings, on_mark: Callable[[Mark], object]) -> None:
    """Trains with `model.learn`; a callback reads the clock where a window's collecting and its learning end."""
    import torch
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(settings.threads)
    torch.set_num_interop_threads(settings.threads)

    class ReadClock(BaseCallback):  # type: ignore[misc] # SB3 takes only its own, and ships no types
        collected_s: float | None = None

        def _on_step(self) -> bool:
            return True

        def _on_rollout_end(self) -> None:
            self.collected_s = clock()

        def _on_rollout_start(self) -> None:
            if self.collected_s is not None:
                on_mark(Mark(self.num_timesteps, self.collected_s, clock(), time.process_time()))

        _on_training_end = _on_rollout_start

    config = settings.config
    stable_baselines3_dqn(settings).learn(config.steps // config.train_freq * config.train_freq, callback=ReadClock())


def stable_baselines3_dqn(settings: Settings) -> Any:
    """Its DQN, with these settings."""
    from stable_baselines3 import DQN

    config = settings.config
    env, spec = made_for(settings)
    network = config.network_for(spec.input_shape)
    policy: dict[str, Any] = {"net_arch": list(config.hidden)}
    if network == "minatar":
        policy |= {"features_extractor_class": _minatar_extractor(), "normalize_images": False}
    elif network == "nature":  # its own, whose features are the first hidden layer
        policy = {"net_arch": list(config.hidden[1:]), "features_extractor_kwargs": {"features_dim": config.hidden[0]}}
    return DQN(
        "MlpPolicy" if network == "mlp" else "CnnPolicy",
        env,
        **{name: getattr(config, name) for name in SHARED},
        gamma=config.discount,
        exploration_final_eps=config.exploration_final,
        max_grad_norm=config.max_gradient_norm,
        policy_kwargs=policy,
        seed=settings.seed,
        device="cpu",
    )


def _minatar_extractor() -> type:
    """The MinAtar convolution for Stable-Baselines3's CnnPolicy: [B, H, W, C] -> [B, 16 (H - 2) (W - 2)]."""
    import torch
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

    class MinAtarExtractor(BaseFeaturesExtractor):  # type: ignore[misc] # SB3 takes only its own, and ships no types
        def __init__(self, space: gymnasium.spaces.Box):
            height, width, channels = space.shape
            super().__init__(space, 16 * (height - 2) * (width - 2))
            self.net = torch.nn.Sequential(torch.nn.Conv2d(channels, 16, 3), torch.nn.ReLU(), torch.nn.Flatten())

        def forward(self, observations: Any) -> Any:
            return self.net(observations.permute(0, 3, 1, 2))

    return MinAtarExtractor


SIDES = {"edgedqn": train_edgedqn, "stable_baselines3": train_stable_baselines3}
