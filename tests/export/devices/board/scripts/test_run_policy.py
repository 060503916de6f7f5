"""The loop of a bundle."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import gymnasium
import pytest

from edgedqn.agents.errors import EnvironmentWarning
from edgedqn.agents.playing.environments import LONGEST_EPISODE, make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.export.devices.board.bundle import TWIN
from edgedqn.export.edge_policy import EdgePolicy, Feature, read_verified
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.reader import stripped

OnTheBoard = Callable[..., str]
Files = tuple[Path, Path]

ENDLESS = """
import gymnasium, numpy as np
class Endless(gymnasium.Env):
    observation_space, action_space = gymnasium.spaces.Box(-1, 1, (4,), np.float32), gymnasium.spaces.Discrete(2)
    def reset(self, **how):
        return np.zeros(4, np.float32), {}
    def step(self, action):
        return np.zeros(4, np.float32), 1.0, False, False, {}
gymnasium.register("Endless-v0", Endless)
"""

TANK = """
import gymnasium, numpy as np
from gymnasium import spaces
class Tank(gymnasium.Env):
    observation_space = spaces.Dict({"speed": spaces.Box(-9, 9, (2,)), "mode": spaces.Discrete(2), "label": spaces.Text(4)})
    action_space = spaces.Discrete(2)
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.seen(), {}
    def seen(self):
        return {"label": "a", "mode": int(self.np_random.integers(2)), "speed": self.np_random.normal(size=2).astype("f")}
    def step(self, action):
        return self.seen(), float(action), bool(self.np_random.random() < .02), False, {}
gymnasium.register("Tank-v0", Tank)
"""


def test_loops_over_stand_ins_where_there_is_no_gymnasium(on_the_board: OnTheBoard, bundle: Path) -> None:
    told = on_the_board(bundle, "run_policy.py", "--steps", "20", "--hertz", "1000", without="gymnasium").splitlines()
    assert re.fullmatch(r"Observation to action: [\d.]+ µs, the median\.", told[0])
    actions = [int(action) for action in told[-1].split()]
    assert len(actions) == 20 and set(actions) <= {0, 1}


def test_plays_the_environment_as_the_host_does(on_the_board: OnTheBoard, bundle: Path, cartpole_files: Files) -> None:
    (bundle / "board" / TWIN).unlink()
    expected = evaluate(EdgePolicy.load(cartpole_files[0]), gymnasium.make("CartPole-v1"), seeds=range(5, 8)).returns
    told = on_the_board(bundle, "run_policy.py", "--env", "--episodes", "3", "--seed", "5")
    assert [float(value) for value in re.findall(r": return ([\d.]+)", told)] == list(expected)


def test_an_episode_without_an_end_ends_where_it_did_when_the_policy_was_proven(
    on_the_board: OnTheBoard, bundle: Path, cartpole_files: Files
) -> None:
    (bundle / "endless.py").write_text(ENDLESS)
    (bundle / "board" / TWIN).unlink()
    file = read_verified(cartpole_files[0])
    device = replace(file.device, env_id="endless:Endless-v0")
    bare = stripped(file.model)  # without the manifest, which names another
    write_policy(bundle / "policy.tflite", bare, device=device, evidence={})
    told = on_the_board(bundle, "run_policy.py", "--env", "--episodes", "1")
    assert f"reset seed 0: return {LONGEST_EPISODE}\n" in told


def test_a_dict_environment_of_a_module_beside_it_is_played_as_the_host_does(
    on_the_board: OnTheBoard, bundle: Path, cartpole_files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bundle / "board" / TWIN).unlink()
    file = read_verified(cartpole_files[0])
    features = (Feature("mode", 2, (2,)), Feature("speed", 2))
    device = replace(file.device, env_id="watertower:Tank-v0", features=features)
    bare = stripped(file.model)  # without the manifest, which names another
    observed = {"environment": {"id": device.env_id, "observe": ["mode", "speed"]}}
    write_policy(bundle / "policy.tflite", bare, device=device, evidence=observed)
    told = on_the_board(bundle, "run_policy.py", "--env")
    missing = "watertower:Tank-v0 of a module that is not here: put watertower.py beside run_policy.py."
    assert told.splitlines()[-1].endswith(f"run_policy.py: --env plays {missing}")
    (tmp_path / "watertower.py").write_text(TANK)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(EnvironmentWarning):
        host = make_environment("watertower:Tank-v0")
    expected = evaluate(EdgePolicy.load(bundle), host, seeds=range(3)).returns
    gymnasium.registry.pop("Tank-v0")
    (bundle / "watertower.py").write_text(TANK)
    told = on_the_board(bundle, "run_policy.py", "--env", "--episodes", "3")
    assert [float(value) for value in re.findall(r": return ([\d.]+)", told)] == list(expected) and max(expected) > 0


def test_says_which_package_play_lacks(on_the_board: OnTheBoard, bundle: Path) -> None:
    told = on_the_board(bundle, "run_policy.py", "--env", without="gymnasium")
    assert "run_policy.py: --env plays CartPole-v1, which needs a package more" in told and "exit 1" in told


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("--episodes", "0", "expected 1 or more, got 0"),
        ("--hertz", "0", "expected a number above 0, got 0"),
        ("--hertz", "nan", "expected a number above 0, got nan"),
    ],
)
def test_a_number_that_is_none_is_refused_in_one_line(
    on_the_board: OnTheBoard, bundle: Path, option: str, value: str, expected: str
) -> None:
    told = on_the_board(bundle, "run_policy.py", option, value)
    assert "Traceback" not in told
    assert told.startswith("exit 2: ") and told.splitlines()[-1].endswith(f"argument {option}: {expected}")


def test_a_damaged_file_ends_the_loop_with_one_line(on_the_board: OnTheBoard, bundle: Path) -> None:
    content = bytearray((bundle / "policy.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "policy.tflite").write_bytes(content)
    told = on_the_board(bundle, "run_policy.py")
    assert told.startswith("exit 1: run_policy.py: ") and "\n" not in told
