"""What a script calls, in its form of today and, until 0.3, in that of 0.1."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.config import RunConfig, RunSettings
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.scripting import run

TWO = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import edgedqn
from edgedqn import Gate, LatencyConfig, RunConfig, TrainingConfig

def do(seed):
    training = TrainingConfig(steps=np.int32(900), hidden=(np.int64(8),), learning_starts=100, evaluation_interval=500)
    latency = LatencyConfig(blocks=np.int64(2), invokes_per_block=20, patience_s=0)
    config = RunConfig(training=training, gate=Gate(looks=(20,)), latency=latency)
    result = edgedqn.run("CartPole-v1", out=str(seed), seed=seed, steps=np.int64(1000), recipes=["ptq-int8"], config=config)
    return edgedqn.TrainedAgent.load(result.folder / "agent").statistics["env_steps"]

if __name__ == "__main__":
    sys.stdout = None
    with ThreadPoolExecutor(2) as pool:
        steps = list(pool.map(do, np.arange(2)))
    sys.stdout = sys.__stdout__
    print("both done:", steps)
"""


def settings_of(folder: Path) -> RunSettings:
    return RunSettings.from_json(RunFolder.open(folder).description.config)


@pytest.fixture
def folder(tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the tiny run, in which no stage is done again: what is asked for is written into it, and that is all."""
    monkeypatch.setattr("edgedqn.pipeline.job.Job.do", lambda job, kinds, *, force: None)
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    return tmp_path / "run"


def test_what_is_not_given_stays_as_the_run_has_it(folder: Path, tiny_training: TrainingConfig) -> None:
    before = settings_of(folder)
    training = RunConfig(training=tiny_training)
    run("CartPole-v1", out=folder, config=training)
    assert settings_of(folder) == before
    export, gate = ExportConfig(float_io=True), Gate(tolerance=0.05, looks=(50, 100))
    run("CartPole-v1", out=folder, config=RunConfig(training=tiny_training, export=export, gate=gate))
    run("CartPole-v1", out=folder, config=training, recipes=["ptq-int8"])
    after = settings_of(folder)
    assert (after.export, after.gate, after.latency) == (export, gate, before.latency)
    assert [recipe.name for recipe in after.recipes] == ["ptq-int8"]
    assert not RunFolder.open(folder).is_done("bench")
    run("CartPole-v1", out=folder, config=RunConfig(training=tiny_training, latency=LatencyConfig(blocks=6)))
    assert settings_of(folder).latency == LatencyConfig(blocks=6)


def test_the_form_of_0_1_works_until_0_3_with_a_warning(folder: Path, tiny_training: TrainingConfig) -> None:
    with pytest.warns(
        DeprecationWarning, match=r"ends with EdgeDQN 0\.3: expected run\(env, \*, out, seed, .* Got .*'tolerance'"
    ):
        run("CartPole-v1", folder, 0, None, training=tiny_training, tolerance=0.07, strip=True)  # type: ignore[call-arg]
    with pytest.warns(DeprecationWarning, match="with a RunConfig of training, export, gate and latency"):
        run(env_id="CartPole-v1", out=folder, training=tiny_training, manifest="beside", float_io=None)  # type: ignore[call-arg]
    after = settings_of(folder)
    assert (after.gate.tolerance, after.export) == (0.07, ExportConfig(strip=True, manifest="beside"))


def test_its_signature_is_the_new_one() -> None:
    named = ["env", "out", "seed", "steps", "recipes", "config", "force", "make_env"]
    assert list(inspect.signature(run).parameters) == named


def test_a_function_of_the_users_is_registered_by_the_name_it_is_given(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Expected"):
        run("CartPoleAgain-v0", out=tmp_path / "run", steps=0, make_env=lambda: gymnasium.make("CartPole-v1").unwrapped)
    assert gymnasium.registry.pop("CartPoleAgain-v0").entry_point is not None and not (tmp_path / "run").exists()


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    for arguments in ({"seed": -1}, {"recipes": ["int4"]}, {"steps": 0}):
        with pytest.raises(InputError, match=r"Expected|Unknown"):
            run("CartPole-v1", out=tmp_path / "run", **arguments)
    assert list(tmp_path.iterdir()) == []


SCRIPT = """
import sys, gymnasium, numpy as np, edgedqn
print("read")

class Sides(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def see(self):
        self.side = self.np_random.integers(2)
        return np.array([2 * self.side - 1, 0.5], np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.see(), {}

    def step(self, action):
        reward = float(action == self.side)
        return self.see(), reward, False, False, {}

gymnasium.register("Sides-v0", Sides, max_episode_steps=20)
config = edgedqn.RunConfig(latency=edgedqn.LatencyConfig(blocks=4, invokes_per_block=50, patience_s=0))
result = edgedqn.run("Sides-v0", out=sys.argv[1], steps=1_500, recipes=["ptq-int8"], config=config)
print(result.best["gate"])
"""


@pytest.mark.parametrize("way", ["file", "stdin"])
def test_a_script_without_a_guard_may_register_an_environment_itself(tmp_path: Path, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with script.open() as text:
        command = [sys.executable, "-" if way == "stdin" else "script.py", "run"]
        answer = subprocess.run(command, cwd=tmp_path, stdin=text, capture_output=True, text=True, timeout=300, check=False)
    assert answer.stdout == "read\npass\n", answer.stderr
    assert answer.stderr.count("Episodes are played in this process: another one cannot make this environment. Unknown") == 1
    assert (answer.returncode, (tmp_path / "run" / "device" / "policy.tflite").exists()) == (0, True)


def test_two_runs_in_threads_of_one_process(tmp_path: Path, tiny_training: TrainingConfig) -> None:
    """With NumPy's numbers as arguments, in a service without stdout; what is printed afterwards arrives."""
    (tmp_path / "two.py").write_text(TWO)
    answer = subprocess.run([sys.executable, "two.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "both done: [1000, 1000]\n"
    heard = [line for line in answer.stderr.splitlines() if not line.startswith("fully_quantize: ")]  # the one that is left
    assert heard == []
    assert [RunFolder.open(tmp_path / str(seed)).description.seed for seed in (0, 1)] == [0, 1]
