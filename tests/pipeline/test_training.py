"""From an environment's name to a trained agent in a folder."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import DivergedError, InputError
from edgedqn.agents.files import load_arrays
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.checkpoints import Checkpoints, State
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.pipeline import training
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import ON_POLICY_STATES, outcome_of, train_agent

QUICK = TrainingConfig(
    steps=900,
    hidden=(8,),
    batch_size=16,
    learning_starts=100,
    evaluation_interval=300,
    evaluation_episodes=2,
    finalists=2,
    checkpoint_interval=400,
)
GAME = replace(
    QUICK,
    steps=400,
    network="nips",
    frame_stack=2,
    train_freq=8,
    num_envs=2,
    evaluation_interval=400,
    evaluation_episodes=1,
    finalists=1,
    checkpoint_interval=200,
)
TABLE = QLearningConfig(steps=3_000, evaluation_interval=1_000, evaluation_episodes=5, finalists=2, checkpoint_interval=1_000)


def test_the_agent_brings_on_policy_observations(tiny_run: RunResult) -> None:
    (observations,) = load_arrays(tiny_run.folder / "agent" / "observations.npz")
    assert observations.shape == (ON_POLICY_STATES, 4) and observations.dtype == np.float32
    assert len(np.unique(observations, axis=0)) > 1_000


@pytest.mark.parametrize(
    ("scores", "best", "rises"),
    [
        ((-200.0, -190.0, -180.0), 300, True),
        ((-200.0, -180.0, -185.0), 200, True),
        ((-200.0, -170.0, -180.0, -175.0), 200, False),
        ((500.0, 400.0, 500.0), 300, False),  # no better than before
        ((-200.0, -190.0), 200, False),
    ],
)
def test_it_is_said_what_a_training_came_to(scores: tuple[float, ...], best: int, rises: bool) -> None:
    evaluations = [[100 * (i + 1), mean] for i, mean in enumerate(scores)]
    said = outcome_of({"checkpoint": {"env_steps": best, "mean_return": -9.876}, "evaluations": evaluations})
    assert said == ("return -9.88, still rising: more --steps may help" if rises else "return -9.88")


@pytest.mark.parametrize(
    ("env_id", "config", "input_shape"),
    [
        ("CartPole-v1", replace(QUICK, num_envs=2, frame_stack=2, dueling=True, quantiles=5, prioritized=True), (8,)),
        ("MinAtar/Breakout-v1", replace(QUICK, batch_size=8), (10, 10, 4)),
        ("MinAtar/Breakout-v1", replace(QUICK, network="mlp"), (400,)),
        ("FrozenLake-v1", replace(QUICK, num_envs=2), (16,)),
        ("FrozenLake-v1", TABLE, (16,)),
    ],
)
def test_every_kind_of_agent_is_trained_and_can_be_loaded(
    env_id: str, config: Any, input_shape: tuple[int, ...], tmp_path: Path
) -> None:
    agent = train_agent(EnvironmentSource(env_id), config, streams=SeedStreams(3), folder=tmp_path)
    loaded = TrainedAgent.load(tmp_path)
    assert loaded.spec == agent.spec and loaded.spec.input_shape == input_shape
    assert loaded.observations.shape == (ON_POLICY_STATES, *input_shape)
    np.testing.assert_array_equal(
        loaded.policy.q_values(loaded.observations[:50]), agent.policy.q_values(agent.observations[:50])
    )
    assert loaded.statistics["env_steps"] == config.steps
    assert {path.name for path in tmp_path.iterdir()} >= {"agent.json", "training.csv", "checkpoints"}
    assert (tmp_path / "checkpoints" / "best" / "agent.json").exists()


@pytest.mark.parametrize(
    ("env_id", "config"),
    [
        ("CartPole-v1", QUICK),
        ("FrozenLake-v1", TABLE),
        ("CartPole-v1", replace(QUICK, overlap=True, num_envs=2, learning_rate_decay=0.5, prioritized=True)),
        ("ALE/Pong-v5", replace(GAME, overlap=True)),
    ],
)
def test_what_was_interrupted_ends_as_if_it_had_not_been(
    env_id: str, config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "ON_POLICY_STATES", 100)
    whole = train_agent(EnvironmentSource(env_id), config, streams=SeedStreams(3), folder=tmp_path / "whole")
    save, saved = Checkpoints.save, []

    def die_after_the_first(self: Checkpoints, env_steps: int, state: State) -> None:
        # What earlier versions did not have is left out, so that their checkpoints are gone on from.
        assert ("overlap" in self.identity["config"]) == getattr(config, "overlap", False)
        save(self, env_steps, state)
        saved.append(env_steps)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", die_after_the_first)
    with pytest.raises(KeyboardInterrupt):
        train_agent(EnvironmentSource(env_id), config, streams=SeedStreams(3), folder=tmp_path / "cut")
    assert saved == [config.checkpoint_interval]
    monkeypatch.setattr(Checkpoints, "save", save)
    resumed = train_agent(EnvironmentSource(env_id), config, streams=SeedStreams(3), folder=tmp_path / "cut")
    for ours, theirs in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert resumed.statistics["evaluations"] == whole.statistics["evaluations"]
    without_seconds = [
        [line.rpartition(",")[0] for line in (tmp_path / name / "training.csv").read_text().splitlines()]
        for name in ("whole", "cut")
    ]
    assert without_seconds[0] == without_seconds[1]


def test_as_many_checkpoints_as_asked_for_are_kept_and_their_size_is_foreseen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    require_space = Checkpoints.require_space

    def remember(self: Checkpoints, size: int) -> None:
        asked.append(size)
        require_space(self, size)

    monkeypatch.setattr(Checkpoints, "require_space", remember)
    config = replace(QUICK, buffer_size=300, checkpoint_interval=128, keep_checkpoints=3, prioritized=True)
    train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(3), folder=tmp_path)
    found = sorted((tmp_path / "checkpoints").glob("step-*.npz"))
    assert [path.stem for path in found] == ["step-000000000768", "step-000000000896", "step-000000000900"]
    # Beside the arrays: their headers, and the record of the episodes.
    assert 0 < found[-1].stat().st_size - asked[0] < 60_000


def test_a_network_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_torsos.py").write_text(
        "import tf_keras\n"
        "def narrow(x, rng):\n"
        "    return tf_keras.layers.Dense(3, 'relu', name='mine')(x)\n"
        "def branched(x, rng):\n"
        "    y = tf_keras.layers.Dense(3, name='side')(x)\n"
        "    return tf_keras.layers.Concatenate(name='joined')([x, y])\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    agent = train_agent(
        EnvironmentSource("CartPole-v1"),
        replace(QUICK, network="own_torsos:narrow"),
        streams=SeedStreams(0),
        folder=tmp_path / "run",
    )
    assert [w.shape for w in agent.network.get_weights()[:2]] == [(4, 3), (3,)]
    # What could not be compressed and exported is refused before it is trained.
    with pytest.raises(InputError, match="'joined'"):
        train_agent(
            EnvironmentSource("CartPole-v1"),
            replace(QUICK, network="own_torsos:branched"),
            streams=SeedStreams(0),
            folder=tmp_path / "other",
        )
    with pytest.raises(InputError, match=r"No network 'own_torsos:gone': expected .*module:function"):
        train_agent(
            EnvironmentSource("CartPole-v1"),
            replace(QUICK, network="own_torsos:gone"),
            streams=SeedStreams(0),
            folder=tmp_path / "other",
        )


def test_a_network_that_was_edited_does_not_go_on_from_the_old_ones_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "import tf_keras\ndef torso(x, rng):\n    return tf_keras.layers.Dense({}, 'relu')(x)\n"
    (tmp_path / "edited_torso.py").write_text(code.format(3))
    monkeypatch.syspath_prepend(tmp_path)
    save = Checkpoints.save

    def die_after(self: Checkpoints, env_steps: int, state: State) -> None:
        save(self, env_steps, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", die_after)
    config = replace(QUICK, network="edited_torso:torso")
    with pytest.raises(KeyboardInterrupt):
        train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path / "run")
    monkeypatch.setattr(Checkpoints, "save", save)
    (tmp_path / "edited_torso.py").write_text(code.format(5))
    monkeypatch.delitem(sys.modules, "edited_torso")
    importlib.invalidate_caches()
    with pytest.warns(UserWarning, match="passed over: .* is of another training"):
        agent = train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path / "run")
    assert agent.network.get_weights()[0].shape == (4, 5)


def test_a_network_of_ones_own_goes_on_in_the_same_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras counts the names of layers over the life of a process; a notebook's second call sees others."""
    (tmp_path / "nameless_torso.py").write_text(
        "import tf_keras\ndef torso(x, rng):\n    return tf_keras.layers.Dense(3, 'relu')(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = replace(QUICK, network="nameless_torso:torso")
    whole = train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path / "whole")
    save = Checkpoints.save

    def die_after(self: Checkpoints, env_steps: int, state: State) -> None:
        save(self, env_steps, state)
        raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoints, "save", die_after)
    with pytest.raises(KeyboardInterrupt):
        train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path / "cut")
    monkeypatch.setattr(Checkpoints, "save", save)
    resumed = train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path / "cut")
    for ours, theirs in zip(resumed.network.get_weights(), whole.network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_a_training_that_diverges_says_how_to_go_on(tmp_path: Path) -> None:
    config = replace(QUICK, learning_rate=10.0, max_gradient_norm=1e30, hidden=(32, 32))
    with pytest.raises(DivergedError, match=r"at environment step \d+.* expected other settings and another --out, or --force"):
        train_agent(EnvironmentSource("CartPole-v1"), config, streams=SeedStreams(0), folder=tmp_path)
