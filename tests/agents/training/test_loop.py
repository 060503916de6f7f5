"""A training from end to end, interrupted and going astray."""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError
from edgedqn.agents.playing.environments import BadTransitionError
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.build import build_dqn
from edgedqn.agents.training.checkpoints import Checkpoints, State
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.interaction import interact
from edgedqn.agents.training.loop import EpisodeRecord, TrainingLog, TrainingReport, TrainingSchedule, train
from edgedqn.agents.training.selection import CheckpointSelection

CONFIG = TrainingConfig(
    steps=1_000,
    hidden=(16,),
    learning_rate=5e-3,
    batch_size=32,
    buffer_size=500,
    learning_starts=100,
    target_update_interval=50,
    train_freq=10,
    gradient_steps=10,
    exploration_fraction=0.5,
    exploration_final=0.3,
    averaging_steps=100,
    evaluation_interval=300,
    checkpoint_interval=150,
)


NO_CHECKPOINTS = Checkpoints(Path("nowhere"), {})


class Recording(gymnasium.Wrapper):
    """Writes down what the environment was asked and what it said."""

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        self.resets: list[Any] = []
        self.log: list[Any] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed)
        self.resets.append((seed, observation))
        return observation, info

    def step(self, action: int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        found = self.env.step(action)
        self.log.append((action, *found[:4]))
        return found


class Log(TrainingLog):
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []

    def resume(self, env_steps: int, records: Sequence[EpisodeRecord], evaluations: Sequence[tuple[int, float]] = ()) -> None:
        self.told.append(("resume", env_steps, [record.env_steps for record in records]))

    def episode(self, record: EpisodeRecord, gradient_steps: int) -> None:
        self.told.append(("episode", record.env_steps, gradient_steps))

    def evaluation(self, env_steps: int, mean_return: float) -> None:
        self.told.append(("evaluation", env_steps, mean_return))

    def flush(self) -> None:
        self.told.append(("flush",))


class Training:
    """A training in a corridor, with all that hangs on it."""

    def __init__(
        self,
        env: Any,
        make_corridor: Callable[..., gymnasium.Env[Any, Any]],
        checkpoints: Checkpoints = NO_CHECKPOINTS,
        config: TrainingConfig = CONFIG,
    ) -> None:
        self.env, self.config, self.checkpoints = env, config, checkpoints
        self.agent = build_dqn(spec_of(env, "Corridor"), config, rng=np.random.default_rng(0))
        self.best: list[Any] = []
        self.log = Log()
        self.selection = CheckpointSelection(
            env=make_corridor(),
            seeds=lambda n: list(range(n)),
            episodes=2,
            finalists=3,
            n_actions=2,
            seed=0,
            on_best=self.best.append,
        )

    def run(self, steps: int | None = None) -> TrainingReport:
        config, saves = self.config, self.checkpoints is not NO_CHECKPOINTS
        schedule = TrainingSchedule(
            steps or config.steps, config.evaluation_interval, config.checkpoint_interval if saves else 0
        )
        return train(
            self.agent,
            partial(interact, env=self.env, env_id="Corridor"),
            label="train",
            schedule=schedule,
            reset_seeds=itertools.count(10),
            selection=self.selection,
            checkpoints=self.checkpoints,
            log=self.log,
        )


def newest(folder: Path) -> State:
    state = Checkpoints(folder, {}).newest()
    assert state is not None
    return state


def flat(weights: Any) -> NDArray[Any]:
    return np.concatenate([w.ravel() for w in weights])


def test_a_run_from_end_to_end(
    make_corridor: Callable[..., gymnasium.Env[Any, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    env = Recording(make_corridor())
    training = Training(env, make_corridor)
    agent, report = training.agent, training.run()
    assert capsys.readouterr() == ("", "")  # no terminal, no progress bar
    assert agent.env_steps == len(env.log) == CONFIG.steps
    # Evaluated as it went and at the end, and kept the best.
    assert [at for at, _ in report.evaluations] == [300, 600, 900, 1_000]
    assert report.best.mean_return == report.evaluations[-1][1] == 1.0
    assert training.best[-1].mean_return == 1.0
    policy = agent.policy(report.best.weights)
    assert policy.actions(np.eye(5, dtype=np.float32)).tolist() == [1] * 5
    assert report.gradient_steps == agent.gradient_steps == 900
    # Each episode is a record.
    ends = [i for i, (_, _, _, terminated, truncated) in enumerate(env.log, 1) if terminated or truncated]
    assert [episode.env_steps for episode in report.episodes] == ends
    assert [episode.episode_return for episode in report.episodes] == [env.log[i - 1][2] for i in ends]
    assert [episode.episode_length for episode in report.episodes] == np.diff([0, *ends]).tolist()
    assert all(np.isnan(e.loss) == (e.env_steps < 110) for e in report.episodes)
    assert report.episodes[0].epsilon > report.episodes[-1].epsilon == pytest.approx(0.3)
    assert report.episodes[-1].learning_rate == pytest.approx(5e-3)
    # The log heard of all of it, in its order.
    assert [at for kind, at, *_ in training.log.told[:-1] if kind == "episode"] == ends
    assert [tuple(rest) for kind, *rest in training.log.told[:-1] if kind == "evaluation"] == list(report.evaluations)
    assert [at for _, at, _ in training.log.told[:-1]] == sorted(at for _, at, _ in training.log.told[:-1])
    assert training.log.told[-1] == ("flush",)


class Stops(gymnasium.Wrapper):
    """Breaks down at a step of the training."""

    def __init__(self, env: gymnasium.Env[Any, Any], at: int) -> None:
        super().__init__(env)
        self.left = at

    def step(self, action: int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return self.env.step(action)


def test_a_run_that_was_interrupted_goes_on_from_its_newest_checkpoint_to_the_same_end(
    make_corridor: Callable[..., gymnasium.Env[Any, Any]], tmp_path: Path
) -> None:
    whole = Training(Recording(make_corridor()), make_corridor, Checkpoints(tmp_path / "whole", {}))
    expected = whole.run()
    broken = Training(Stops(make_corridor(), 710), make_corridor, Checkpoints(tmp_path / "broken", {}))
    with pytest.raises(KeyboardInterrupt):
        broken.run()
    assert sorted(path.name for path in (tmp_path / "broken").iterdir()) == ["step-000000000450.npz", "step-000000000600.npz"]
    resumed = Training(Recording(make_corridor()), make_corridor, Checkpoints(tmp_path / "broken", {}))
    report = resumed.run()
    assert len(resumed.env.log) == 400
    if Path("/proc/self/maps").exists():  # or the file it went on from would fill the disk until the end
        assert str(tmp_path / "broken") not in Path("/proc/self/maps").read_text()
    for ours, theirs in zip(resumed.agent.state(), whole.agent.state(), strict=True):
        np.testing.assert_equal(ours, theirs)
    np.testing.assert_array_equal(flat(report.best.weights), flat(expected.best.weights))
    assert report.evaluations == expected.evaluations
    np.testing.assert_equal([e[:-1] for e in report.episodes], [e[:-1] for e in expected.episodes])  # all but the seconds
    assert [e.seconds for e in report.episodes] == sorted(e.seconds for e in report.episodes)
    # Episodes begin anew at each checkpoint, in both; none of their seeds comes twice.
    seeds = [seed for seed, _ in whole.env.resets]
    assert seeds == list(range(10, 10 + len(seeds)))
    assert [seed for seed, _ in resumed.env.resets] == seeds[-len(resumed.env.resets) :]
    assert resumed.log.told[0] == ("resume", 600, [e.env_steps for e in expected.episodes if e.env_steps <= 600])
    assert [kind for kind, *_ in resumed.log.told].count("flush") == 3  # at 750, at 900 and at the end
    told = [entry for entry in whole.log.told if entry[0] != "flush"]
    after = [entry for entry in resumed.log.told[1:] if entry[0] != "flush"]
    assert after == told[-len(after) :]


def test_at_a_checkpoint_nothing_is_pending(make_corridor: Callable[..., gymnasium.Env[Any, Any]], tmp_path: Path) -> None:
    training = Training(make_corridor(), make_corridor, Checkpoints(tmp_path, {}, keep=9))
    training.run(steps=460)
    assert len(list(tmp_path.iterdir())) == 4  # at 150, 300, 450, and at the end
    arrays, values = newest(tmp_path)
    assert values["agent"]["env_steps"] == 460
    # 3-step transitions, and yet one per step: those of the episodes that were cut at 150, 300, 450 and 460 are among them.
    assert len(arrays["agent_replay_a_tm1"]) == 460


@pytest.mark.parametrize("bad", ["observation", "reward"])
def test_a_nan_stops_the_run_and_leaves_the_last_good_checkpoint(
    make_corridor: Callable[..., gymnasium.Env[Any, Any]], tmp_path: Path, bad: str
) -> None:
    training = Training(make_corridor(bad=bad, at=777), make_corridor, Checkpoints(tmp_path, {}))
    with pytest.raises(BadTransitionError, match=rf"^Corridor gave a bad {bad} at step 777: "):
        training.run()
    assert training.agent.env_steps == 776
    assert training.best[-1].env_steps in (300, 600)
    assert all(np.isfinite(w).all() for w in training.best[-1].weights)
    assert newest(tmp_path)[1]["agent"]["env_steps"] == 750


class Pays(gymnasium.Wrapper):
    """Pays so much for each step from one on."""

    def __init__(self, env: gymnasium.Env[Any, Any], at: int, reward: float) -> None:
        super().__init__(env)
        self.left, self.reward = at, reward

    def step(self, action: int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        observation, reward, *rest = self.env.step(action)
        self.left -= 1
        return observation, reward if self.left > 0 else self.reward, *rest


def test_a_loss_that_is_no_number_stops_the_run_and_leaves_the_last_good_checkpoint(
    make_corridor: Callable[..., gymnasium.Env[Any, Any]], tmp_path: Path
) -> None:
    env = Pays(make_corridor(), 703, 1e30)  # finite, and its square is not
    training = Training(env, make_corridor, Checkpoints(tmp_path, {}), replace(CONFIG, loss="mse", n_step=1))
    message = r"^Learning diverged at environment step 710\. The loss became (inf|nan) at gradient step \d+ of 10\.$"
    with pytest.raises(DivergedError, match=message):
        training.run()
    arrays, values = newest(tmp_path)
    assert values["agent"]["env_steps"] == 600
    assert all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f")
    assert training.best[-1].env_steps in (300, 600)


def test_values_that_explode_stop_the_run_and_leave_what_was_good(
    make_corridor: Callable[..., gymnasium.Env[Any, Any]], tmp_path: Path
) -> None:
    config = replace(CONFIG, learning_rate=10.0, max_gradient_norm=1e9, learning_starts=400, hidden=(64, 64))
    training = Training(make_corridor(), make_corridor, Checkpoints(tmp_path, {}), config)
    with pytest.raises(DivergedError, match=r"^Values exploded at environment step 410: .*A smaller learning rate may help\.$"):
        training.run()
    assert newest(tmp_path)[1]["agent"]["env_steps"] == 300


def test_a_run_too_short_to_learn_still_has_a_candidate(make_corridor: Callable[..., gymnasium.Env[Any, Any]]) -> None:
    training = Training(make_corridor(), make_corridor, config=replace(CONFIG, evaluation_interval=5))
    before = training.agent.network.get_weights()
    report = training.run(steps=20)
    assert [at for at, _ in report.evaluations] == [20]  # nothing was learned, so nothing was evaluated on the way
    assert report.best.env_steps == training.best[0].env_steps == 20
    np.testing.assert_array_equal(flat(report.best.weights), flat(before))
