"""Environments of a user's own, and how a command refuses."""

import subprocess
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.tflite import to_tflite

ENVIRONMENTS = textwrap.dedent(
    '''
    """Environments of a user's own."""
    import gymnasium, numpy as np

    class Base(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        steps = 0
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t, self.side = 0, self.np_random.integers(2)
            return self.see(), {}
        def step(self, action):
            type(self).steps += 1
            reward = float(action == self.side)
            self.t, self.side = self.t + 1, self.np_random.integers(2)
            return self.see(), reward, False, self.t >= 20, {}
        def see(self):
            return np.array([2 * self.side - 1, 0.5], np.float32)

    class BadObservation(Base):
        def see(self):
            return super().see() * (np.float32("nan") if self.steps >= 1500 else 1)

    class BadReward(Base):
        def step(self, action):
            s, r, *rest = super().step(action)
            return s, float("nan") if self.steps >= 1500 else r, *rest

    class Unbounded(Base):
        action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)

    class Many(Base):
        action_space = gymnasium.spaces.MultiBinary(10)

    class Text(Base):
        observation_space = gymnasium.spaces.Text(5)

    class SeveralAgents(Base):
        action_space = gymnasium.spaces.Tuple([Base.action_space] * 2)

    for name in ("Base", "BadObservation", "BadReward", "Unbounded", "Many", "Text", "SeveralAgents"):
        gymnasium.register(f"{name}-v0", globals()[name])
    '''
)


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(ENVIRONMENTS)
    return "own"


@pytest.fixture
def assert_refused() -> Callable[..., None]:
    """Exit code 2 and one line on stderr, nothing on stdout."""

    def check(answer: subprocess.CompletedProcess[str], *said: str) -> None:
        assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
        assert answer.stderr.count("\n") == 1 and answer.stderr.startswith("edgedqn: "), answer.stderr
        for words in said:
            assert words in answer.stderr

    return check


@pytest.fixture
def own_file(own: str, tmp_path: Path) -> Path:
    """A file whose manifest names an environment in a module of the current folder, whose import leaves a file `imported`."""
    (tmp_path / "own.py").write_text(f"{ENVIRONMENTS}\nopen('imported', 'w').close()\n")
    spec = EnvironmentSpec(
        source=EnvironmentSource(f"{own}:Base-v0"),
        observation_shape=(2,),
        observation_dtype="float32",
        observation_low=(-1.0, -1.0),
        observation_high=(1.0, 1.0),
        n_actions=2,
    )
    network = q_network((2,), 2, hidden=(8,), rng=np.random.default_rng(0))
    layers, scaling = describe(network), InputScaling.identity()
    policy = CompressedPolicy(
        network=network,
        conversion="float32",
        scaling=scaling,
        meaning="q_values",
        spec=spec,
        observations=np.empty(0),
        recipe="float32",
        reports=(),
        layers=layers,
    )
    (tmp_path / "own.tflite").write_bytes(to_tflite(policy))
    return tmp_path / "own.tflite"
