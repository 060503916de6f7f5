"""The controller lands, most of the time."""

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.benchmarks.peers.lunar_lander import LEFT_ENGINE, MAIN_ENGINE, RIGHT_ENGINE, WAIT, land

RESTING = [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0]


def test_each_engine_has_its_work() -> None:
    falls, drifts = [0.0, 1.0, 0.0, -2.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    cases = (
        (RESTING, WAIT),
        (falls, MAIN_ENGINE),
        (drifts, LEFT_ENGINE),
        (np.multiply(drifts, [1, 1, -1, *[1] * 5]), RIGHT_ENGINE),
    )
    for observation, action in cases:
        assert land(np.array(observation, np.float32)) == action


def test_it_lands() -> None:
    pytest.importorskip("Box2D", reason="needs the extra box2d")
    env = gymnasium.make("LunarLander-v3")
    returns = evaluate(land, env, seeds=range(6_000_000, 6_000_020)).returns
    env.close()
    assert np.mean(returns) > 250 and np.mean(np.array(returns) > 200) >= 0.8
