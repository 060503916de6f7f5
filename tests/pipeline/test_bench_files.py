"""Files that are in no run."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.environments import EnvironmentSpec
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import mlp
from edgedqn.benchmarks.latency import LatencyConfig
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.tflite import to_tflite
from edgedqn.pipeline import bench_files as module
from edgedqn.pipeline.bench_files import bench_files
from edgedqn.pipeline.run import RunResult


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(threads: int) -> LatencyConfig:
        return LatencyConfig(blocks=2, invokes_per_block=20, threads=threads)

    monkeypatch.setattr(module, "LatencyConfig", few)


def test_plays_the_environment_that_the_manifests_name(tiny_run: RunResult) -> None:
    models = tiny_run.folder / "models"
    benchmark = bench_files([models / "qat-int8.tflite", models / "float32.tflite"], seed=3)
    rows = {row["name"]: row for row in benchmark["rows"]}
    assert benchmark["baseline"] == "float32"
    assert rows["qat-int8"]["return"]["episodes"] >= 300 and rows["qat-int8"]["gate"] in ("pass", "fail", "undecided")
    assert rows["qat-int8"]["action_agreement"] == pytest.approx(tiny_run.benchmark["rows"][2]["action_agreement"], abs=0.1)
    assert rows["float32"]["action_agreement"] == 1.0


def test_the_baseline_can_be_chosen_and_must_be_there(tiny_run: RunResult) -> None:
    paths = [tiny_run.folder / "models" / f"{name}.tflite" for name in ("float32", "qat-int8")]
    assert bench_files(paths, "qat-int8", play=False)["baseline"] == "qat-int8"
    assert bench_files(paths[1:], play=False)["baseline"] == "qat-int8"
    with pytest.raises(InputError, match=r"expected one of float32, qat-int8\. Got 'best'"):
        bench_files(paths, "best")


def test_two_files_of_one_name_are_refused(tiny_run: RunResult, tmp_path: Path) -> None:
    path = tiny_run.folder / "models" / "qat-int8.tflite"
    shutil.copy(path, tmp_path)
    with pytest.raises(InputError, match="qat-int8"):
        bench_files([path, tmp_path / "qat-int8.tflite"], play=False)


def test_files_that_see_the_environment_differently_are_timed_but_not_played(tiny_run: RunResult, tmp_path: Path) -> None:
    spec = EnvironmentSpec("CartPole-v1", (4,), "float32", (None,), (None,), 2, ("frame_stack:2",))
    network = mlp((8,), 2, (8,), np.random.default_rng(0))
    identity = InputScaling.identity()
    policy = CompressedPolicy(network, "float32", identity, "q_values", spec, np.empty(0), "stacked", (), describe(network))
    (tmp_path / "stacked.tflite").write_bytes(to_tflite(policy))
    paths = [tiny_run.folder / "models" / "float32.tflite", tmp_path / "stacked.tflite"]
    with pytest.raises(InputError, match=r"see the environment differently.*Got \['frame_stack:2'\] and \[\]"):
        bench_files(paths)
    rows = bench_files(paths, play=False)["rows"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert all(row["step_latency_us"]["n"] > 0 for row in rows)
