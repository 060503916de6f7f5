"""A real training of our side that is looked at; when the looks end it."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from numpy.typing import NDArray

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.agents.errors import DivergedError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.peers import time_to_score_job
from edgedqn.benchmarks.peers.time_to_score_job import GOALS, SIDES, Looks, measure


def left(_: NDArray[Any]) -> int:
    """Falls after nine or ten steps."""
    return 0


def test_looks_end_a_training_at_its_score_or_after_twice_the_zoos_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    goal = GOALS["CartPole-v1"]
    now = iter((0.0, 3.0, 3.0, 10.0, 12.0, 12.0, 20.0, 21.0, 21.0, 30.0))
    monkeypatch.setattr(time_to_score_job, "clock", lambda: next(now))
    with closing(make_environment("CartPole-v1")) as env:
        looks = Looks(goal, env)
        assert looks(1_000, left)
        assert not looks(100_000, left)
        looks._goal = replace(goal, score=9.0)
        assert not looks(1_000, left)
    assert [(steps, seconds) for steps, seconds, _ in looks.rows] == [(1_000, 3.0), (100_000, 5.0), (1_000, 6.0)]
    assert all(9 <= mean <= 10 for *_, mean in looks.rows)
    assert len({mean for *_, mean in looks.rows}) > 1  # other episodes each time


@pytest.mark.usefixtures("one_thread")
def test_our_side_really_trains_up_to_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GOALS, "CartPole-v1", replace(GOALS["CartPole-v1"], score=40.0))
    found = measure("edgedqn", "CartPole-v1", 10)
    *before, (env_steps, seconds, mean) = found["looks"]
    assert found["reached"] and mean >= 40 > max([mean for *_, mean in before], default=0.0)
    assert (found["env_steps"], found["seconds"]) == (env_steps, seconds) and env_steps % 512 == 0 and seconds > 0
    assert found["import_s"] >= 0 and found["cpu_share"] > 0


@pytest.mark.usefixtures("one_thread")
def test_a_training_that_diverges_has_not_arrived(monkeypatch: pytest.MonkeyPatch) -> None:
    def diverge(*_: object) -> None:
        raise DivergedError("The loss is NaN.")

    monkeypatch.setitem(SIDES, "edgedqn", lambda: diverge)
    found = measure("edgedqn", "CartPole-v1", 0)
    assert (found["reached"], found["env_steps"], found["diverged"]) == (False, 0, "The loss is NaN.")
    assert found["seconds"] >= 0


def test_the_zoo_is_the_zoos() -> None:
    """RL Baselines3 Zoo, hyperparams/dqn.yml."""
    expected = {
        "CartPole-v1": (50_000, 2.3e-3, 64, 100_000, 1_000, 0.99, 10, 256, 128, 0.16, 0.04),
        "Acrobot-v1": (100_000, 6.3e-4, 128, 50_000, 0, 0.99, 250, 4, 4, 0.12, 0.1),
        "MountainCar-v0": (120_000, 4e-3, 128, 10_000, 1_000, 0.98, 600, 16, 8, 0.2, 0.07),
        "LunarLander-v3": (100_000, 6.3e-4, 128, 50_000, 0, 0.99, 250, 4, 4, 0.12, 0.1),
    }
    names = (
        *("steps", "learning_rate", "batch_size", "buffer_size", "learning_starts", "discount", "target_update_interval"),
        *("train_freq", "gradient_steps", "exploration_fraction", "exploration_final"),
    )
    assert {env_id: tuple(getattr(goal.zoo, name) for name in names) for env_id, goal in GOALS.items()} == expected
    for goal in GOALS.values():
        assert (goal.zoo.hidden, goal.zoo.double, goal.zoo.n_step) == ((256, 256), False, 1)
        assert goal.most_steps == 2 * goal.zoo.steps and goal.look % goal.zoo.train_freq == 0
