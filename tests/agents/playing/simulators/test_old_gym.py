"""Environments of gymnasium's predecessor: played as they are, or refused with what is missing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment

OLD = """
import gym, numpy as np

class Base(gym.Env):
    observation_space, action_space = gym.spaces.Box(-1, 1, (2,), np.float32), gym.spaces.Discrete(2)

class Newer(Base):  # as of gym 0.26
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}
    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, False, {}

class Older(Base):  # as of 0.21
    def seed(self, seed=None):
        self.random = np.random.default_rng(seed)
    def reset(self):
        return self.random.uniform(-1, 1, 2).astype(np.float32)
    def step(self, action):
        return np.zeros(2, np.float32), 1.0, False, {}

gym.register("Newer-v0", entry_point=Newer, max_episode_steps=7)
gym.register("Older-v0", entry_point=Older, max_episode_steps=7)
"""
PLAY = """
import sys
from edgedqn.agents.playing.environments import make_environment
env = make_environment(sys.argv[1])
first, second = (env.reset(seed=3)[0].tolist() for _ in range(2))
steps = 0
while not any(env.step(0)[2:4]):
    steps += 1
print(first == second, steps + 1, env.spec.id)
"""
# What gym needs to be found: a package of this name, which says nothing of how it works.
STAND_IN = "class spaces: pass\nclass envs:\n    class registration:\n        registry = {'Lost-v0': None}\n"


def play(env_id: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", f"import sys\nsys.path.insert(0, {str(folder)!r})\n{PLAY}", env_id]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(importlib.util.find_spec("gym") is None, reason="the extra `gym` is not installed")
@pytest.mark.parametrize("name", ["Newer-v0", "Older-v0"])
def test_an_environment_of_gym_is_played(name: str, tmp_path: Path) -> None:
    (tmp_path / "of_gym.py").write_text(OLD)
    played = play(f"of_gym:{name}", tmp_path)
    assert played.stdout == f"True 7 {name}\n", played.stderr


def test_without_the_extra_one_line_says_so(tmp_path: Path) -> None:
    (tmp_path / "gym.py").write_text(STAND_IN)
    (tmp_path / "shimmy.py").write_text("")
    (tmp_path / "of_gym.py").write_text("import gym\n")
    refused = play("of_gym:Lost-v0", tmp_path)
    last = refused.stderr.splitlines()[-1]
    assert "Lost-v0 is an environment of gym. What is made for gym, not gymnasium, needs the extra `gym`: pip" in last


def test_a_module_that_imports_gym_where_it_is_missing_is_told_what_brings_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "needs_gym.py").write_text("import gym")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "gym", None)
    with pytest.raises(InputError, match=r"cannot be imported: .*gym.*needs the extra `gym`: pip install 'edgedqn\[gym\]'"):
        make_environment("needs_gym:Old-v0")
