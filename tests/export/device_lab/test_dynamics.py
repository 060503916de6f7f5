"""The page's environments against gymnasium's own, whole episodes long."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import gymnasium
import numpy as np
import pytest

from edgedqn.export.devices.browser import page as browser_files

STEPS = 1_000
SCRIPT = """
import { environments } from %r;
import { readFileSync } from "node:fs";
const { id, episodes } = JSON.parse(readFileSync(0));
const rules = environments[id];
const played = episodes.map(({ state, actions }) => actions.map((action) => {
  const [next, reward, terminated] = rules.step(state, action);
  state = next;
  return [Array.from(rules.observe(state)), reward, terminated];
}));
let made = 7;
const random = () => (made = (made * 16807) %% 2147483647) / 2147483647;
const starts = Array.from({ length: 500 }, () => rules.reset(random));
console.log(JSON.stringify({ played, starts, limit: rules.timeLimit, names: rules.actions.length }));
"""


Answer = dict[str, Any]


@pytest.fixture
def ask_page(absent: Callable[[str], NoReturn]) -> Callable[[Answer], Answer]:
    """Runs the page's script outside a page."""
    node = shutil.which("node")
    if node is None:
        absent("needs Debian's nodejs, which comes with npm")

    def ask(question: Answer) -> Answer:
        script = SCRIPT % (Path(browser_files.__file__).parent / "dynamics.js").as_posix()
        command = [node, "--no-warnings", "--input-type=module", "--eval", script]
        done = subprocess.run(command, input=json.dumps(question), capture_output=True, text=True, timeout=60, check=True)
        answer: Answer = json.loads(done.stdout)
        return answer

    return ask


@pytest.mark.parametrize("env_id", ["CartPole-v1", "CartPole-v0", "MountainCar-v0", "Acrobot-v1"])
@pytest.mark.filterwarnings("ignore:.*CartPole-v0 is out of date")
def test_steps_rewards_and_ends_as_gymnasium_does(env_id: str, ask_page: Callable[[Answer], Answer]) -> None:
    env = gymnasium.make(env_id)
    rng = np.random.default_rng(5)
    episodes: list[dict[str, Any]] = []
    expected: list[list[tuple[Any, float, bool]]] = []
    while sum(map(len, expected)) < STEPS:
        env.reset(seed=len(episodes))
        episodes.append({"state": [float(value) for value in env.unwrapped.state], "actions": []})  # type: ignore[attr-defined]
        expected.append([])
        over = False
        while not over:
            # Random pushes that last: they get a car up a hill and a link into a swing, and so to all ends of an episode.
            if not expected[-1] or rng.random() < 0.1:
                action = int(rng.integers(env.action_space.n))  # type: ignore[attr-defined]
            observation, reward, terminated, truncated, _ = env.step(action)
            episodes[-1]["actions"].append(action)
            expected[-1].append((observation, float(reward), terminated))
            over = terminated or truncated
    found = ask_page({"id": env_id, "episodes": episodes})
    for ours, theirs in zip(found["played"], expected, strict=True):
        assert [step[1:] for step in ours] == [[reward, terminated] for _, reward, terminated in theirs]
        # Sine and cosine differ by a unit in the last place of a double; over an episode it grows, and stays below a float32's.
        np.testing.assert_allclose([step[0] for step in ours], [step[0] for step in theirs], rtol=1e-5, atol=1e-6)
    assert env.spec is not None and found["limit"] == env.spec.max_episode_steps
    assert found["names"] == env.action_space.n  # type: ignore[attr-defined]


@pytest.mark.parametrize("env_id", ["CartPole-v1", "MountainCar-v0", "Acrobot-v1"])
def test_begins_where_gymnasium_begins(env_id: str, ask_page: Callable[[Answer], Answer]) -> None:
    env = gymnasium.make(env_id)
    theirs = []
    for seed in range(500):
        env.reset(seed=seed)
        theirs.append([float(value) for value in env.unwrapped.state])  # type: ignore[attr-defined]
    starts = np.array(ask_page({"id": env_id, "episodes": []})["starts"])
    # Both are uniform over the same range: 500 draws come within a twentieth of its ends.
    width = np.ptp(theirs, axis=0).max()
    np.testing.assert_allclose(starts.min(axis=0), np.min(theirs, axis=0), atol=width / 20)
    np.testing.assert_allclose(starts.max(axis=0), np.max(theirs, axis=0), atol=width / 20)
