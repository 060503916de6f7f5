"""The environments that people copy from: what they are is what gymnasium asks, and their rules of thumb beat chance."""

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

FOLDER = Path(__file__).parents[2] / "examples" / "environments"


def module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None and spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def played(env: gymnasium.Env[Any, Any], policy: Any) -> float:
    returns = []
    for seed in range(20):
        observation, _ = env.reset(seed=seed)
        total, over = 0.0, False
        while not over:
            observation, reward, terminated, truncated, _ = env.step(policy(observation))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


@pytest.mark.filterwarnings("ignore:.*action space low and high.*:UserWarning")  # a heater's share is 0 to 1
@pytest.mark.parametrize(("name", "env_id"), [("heating", "Heating"), ("line_follower", "LineFollower"), ("shop", "Shop")])
def test_each_is_an_environment_that_can_be_mastered(name: str, env_id: str) -> None:
    found = module(name)
    env = gymnasium.make(f"{env_id}-v0")
    check_env(env.unwrapped, skip_render_check=True)
    env.action_space.seed(0)
    rules = {
        "heating": lambda seen: np.array([found.thermostat(seen)], np.float32),
        "line_follower": lambda seen: int(np.clip(np.rint(seen @ np.arange(-1.5, 6.5) / max(seen.sum(), 1)), 0, 4)),
        "shop": lambda stock: 10 - stock if stock < 4 else 0,
    }
    by_chance = played(env, lambda _: env.action_space.sample())
    assert played(env, rules[name]) > by_chance + 0.1 * abs(by_chance)
