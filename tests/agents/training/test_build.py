"""A configuration becomes an agent, or the reason why it cannot."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.dqn import LearningSchedule
from edgedqn.agents.errors import InputError
from edgedqn.agents.losses import TemporalDifference
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, OneHot, spec_of
from edgedqn.agents.prioritized import Prioritized
from edgedqn.agents.reader import PlainReader
from edgedqn.agents.replay import Sampler
from edgedqn.agents.training.build import LinearDecay, build_dqn, build_q_learning
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig

CONFIG = TrainingConfig(
    steps=3_000,
    hidden=(32,),
    learning_rate=5e-3,
    batch_size=32,
    buffer_size=1_000,
    learning_starts=100,
    discount=0.9,
    double=False,
    n_step=1,
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.1,
    exploration_final=0.3,
    averaging_steps=300,
)


class Noise(gymnasium.Env):
    """Random observations, and episodes of random lengths."""

    action_space = gymnasium.spaces.Discrete(3)

    def __init__(self, shape: tuple[int, ...], dtype: Any) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 1 if dtype == "bool" else 200, shape, dtype, seed=4)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return self.observation_space.sample(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        over, cut = self.np_random.random(2) < 0.05
        return self.observation_space.sample(), 0.0, bool(over), bool(cut), {}


def test_build_dqn_follows_the_configuration(corridor: gymnasium.Env[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    built = SimpleNamespace()
    monkeypatch.setattr(
        "edgedqn.agents.training.build.DQN", lambda networks, **objects: built.__dict__.update(objects, networks=networks)
    )
    spec = spec_of(corridor, "Corridor")
    build_dqn(spec, CONFIG, rng=np.random.default_rng(0))
    network, target, reader = built.networks
    assert isinstance(reader, PlainReader)
    assert (
        [w.shape for w in network.get_weights()] == [w.shape for w in target.get_weights()] == [(5, 32), (32,), (32, 2), (2,)]
    )
    assert network is not target
    assert float(built.optimizer.learning_rate) == pytest.approx(5e-3)
    assert (built.optimizer.global_clipnorm, built.optimizer.epsilon) == (10.0, 1e-7)
    assert built.exploration.epsilon == LinearDecay(1.0, 0.3, 300)
    assert built.schedule == LearningSchedule(
        learning_starts=100,
        train_freq=10,
        gradient_steps=10,
        batch_size=32,
        target_update_interval=50,
        averaging=pytest.approx(1 - 10 / 300),  # type: ignore[arg-type]
    )
    assert built.loss == TemporalDifference(n_step=1, discount=0.9, double=False, square=False)
    assert type(built.replay.sampler) is Sampler
    other = replace(
        CONFIG,
        averaging_steps=0,
        double=True,
        loss="mse",
        n_step=3,
        prioritized=True,
        target_update_rate=0.1,
        adam_epsilon=1e-4,
    )
    build_dqn(spec, other, rng=np.random.default_rng(0))
    assert (built.schedule.averaging, built.schedule.target_update_rate) == (0, 0.1)
    assert built.loss == TemporalDifference(n_step=3, discount=0.9, double=True, square=True)
    assert isinstance(built.replay.sampler, Prioritized)
    assert built.optimizer.epsilon == 1e-4
    build_dqn(spec, replace(CONFIG, quantiles=4, dueling=True), rng=np.random.default_rng(0))
    assert built.networks[0].output_shape == (None, 2, 4)
    assert built.networks[0].get_layer("dueling")


def test_bytes_are_scaled_and_what_does_not_fit_is_refused() -> None:
    rng = np.random.default_rng(0)
    config = TrainingConfig(hidden=(4,), buffer_size=1_000)
    scaled = build_dqn(spec_of(Noise((128,), "uint8"), "Noise"), config, rng=rng)
    assert scaled.network.get_layer("image_scale").scale == pytest.approx(1 / 255)
    with pytest.raises(
        InputError, match=r"^The nature network looks at images from 36x36\. Got observations of \(5, 4, 1\)\.$"
    ):
        build_dqn(spec_of(Noise((5, 4), "uint8"), "Noise"), replace(config, network="nature"), rng=rng)
    with pytest.raises(InputError, match=r"^An MLP takes vectors\."):
        build_dqn(spec_of(Noise((5, 4), "uint8"), "Noise"), replace(config, network="mlp"), rng=rng)


def test_a_replay_that_would_not_fit_in_memory_is_refused_when_the_agent_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedqn.agents.replay.available_bytes", lambda: 2 * 10**9)
    config = TrainingConfig(hidden=(4,), buffer_size=10**6)
    with pytest.raises(
        InputError, match=r"^A replay of 1,000,000 transitions needs 7\.4 GB of memory, and 2\.0 GB are available\."
    ):
        build_dqn(spec_of(Noise((84, 84), "uint8"), "Noise"), config, rng=np.random.default_rng(0))


def test_observations_that_are_no_number_of_a_state_are_refused(corridor: gymnasium.Env[Any, Any]) -> None:
    with pytest.raises(InputError, match=r"^A Q-table takes the number of a state: .* Got Corridor with .* shape \(5,\)"):
        build_q_learning(spec_of(corridor, "Corridor"), QLearningConfig(), rng=np.random.default_rng(0))


def test_a_table_that_would_not_fit_is_refused() -> None:
    spec = EnvironmentSpec(
        source=EnvironmentSource("Go-v0"),
        observation_shape=(),
        observation_dtype="int64",
        observation_low=(0.0,),
        observation_high=(1e9,),
        n_actions=361,
        preprocessing=(OneHot(),),
    )
    with pytest.raises(InputError, match=r"^The Q-table would not fit: .* Got Go-v0 with 1,000,000,001 states and 361"):
        build_q_learning(spec, QLearningConfig(), rng=np.random.default_rng(0))


def test_a_decay_falls_and_then_stays() -> None:
    decay = LinearDecay(1.0, 0.1, 10)
    assert [decay(step) for step in (0, 5, 10, 11, 10_000)] == pytest.approx([1.0, 0.55, 0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match=r"at least one step\. Got steps=0"):
        LinearDecay(1.0, 0.1, 0)
