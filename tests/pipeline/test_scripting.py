"""What a script calls, in its form of today and, until 0.3, in that of 0.1."""

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

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
    assert list(inspect.signature(run).parameters) == ["env", "out", "seed", "steps", "recipes", "config", "force"]


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    for arguments in ({"seed": -1}, {"recipes": ["int4"]}, {"steps": 0}):
        with pytest.raises(InputError, match=r"Expected|Unknown"):
            run("CartPole-v1", out=tmp_path / "run", **arguments)
    assert list(tmp_path.iterdir()) == []


def test_two_runs_in_threads_of_one_process(tmp_path: Path, tiny_training: TrainingConfig) -> None:
    """With NumPy's numbers as arguments, in a service without stdout; what is printed afterwards arrives."""
    (tmp_path / "two.py").write_text(TWO)
    answer = subprocess.run([sys.executable, "two.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout == "both done: [1000, 1000]\n"
    heard = [line for line in answer.stderr.splitlines() if not line.startswith("fully_quantize: ")]  # the one that is left
    assert heard == []
    assert [RunFolder.open(tmp_path / str(seed)).description.seed for seed in (0, 1)] == [0, 1]
