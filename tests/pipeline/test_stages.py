"""The stages' files, beyond what the run as a whole shows."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.report.learning_curve import learning_chart
from edgedqn.benchmarks.report.vega import picture
from edgedqn.benchmarks.rows import read_benchmark
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipes import RECIPES
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import read_verified
from edgedqn.export.tflite import Exported, exported
from edgedqn.export.tflite_file import manifest
from edgedqn.pipeline import stages
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.seeds import SeedStreams


def test_training_csv_has_every_finished_episode(tiny_run: RunResult, tiny_training: TrainingConfig) -> None:
    rows = list(csv.DictReader((tiny_run.folder / "agent" / "training.csv").read_text().splitlines()))
    lengths = np.diff([0, *(int(row["env_steps"]) for row in rows)])
    # In CartPole each step earns 1, so an episode's return is its length.
    assert lengths.tolist() == [float(row["episode_return"]) for row in rows]
    assert tiny_training.steps - 500 < int(rows[-1]["env_steps"]) <= tiny_training.steps


def test_evidence_says_how_a_file_was_made_and_proven(tiny_run: RunResult, tiny_training: TrainingConfig) -> None:
    evidence = read_verified(tiny_run.folder / "models" / "prune-qat-int8.tflite").evidence
    assert [stage["stage"] for stage in evidence["recipe"]["stages"]] == ["scale_input", "distil", "prune", "quantize"]
    assert all(0 <= stage["agreement"] <= 1 and stage["seconds"] >= 0 for stage in evidence["recipe"]["stages"])
    assert evidence["training"]["steps"] == tiny_training.steps
    assert evidence["prove_seed"] == SeedStreams(0).first_reset_seed("prove")
    assert evidence["gate"]["verdict"] == evidence["benchmark"]["gate"]
    assert evidence["gate"]["margin"] > 0
    assert evidence["versions"]["tensorflow"]
    verification = evidence["verification"]["xnnpack"]
    assert (verification["against"], verification["decided_disagreement"]) == ("keras", 0.0)
    assert verification["action_agreement"] > 0.9 and verification["largest_difference_steps"] < 8


def test_the_learning_curve_lies_by_the_agent_and_in_the_report(tiny_run: RunResult) -> None:
    curve = learning_chart(tiny_run.folder / "agent")
    assert curve is not None
    assert (tiny_run.folder / "agent" / "learning_curve.svg").read_text() == picture(curve.spec)
    assert 'data-chart="chart-learning"' in (tiny_run.folder / "report.html").read_text()


def test_a_file_is_never_beside_the_evidence_of_another(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(manifest, "write_evidence", interrupted)
    with pytest.raises(KeyboardInterrupt):
        stages.export(run, RECIPES["qat-int8"])
    assert run.model("qat-int8").exists() and not run.model("qat-int8").with_suffix(".json").exists()


def test_a_file_that_does_something_else_is_not_written(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    run = RunFolder.open(tmp_path / "run")
    before = [run.model("qat-int8").with_suffix(suffix).read_bytes() for suffix in (".tflite", ".json")]

    def wrong(policy: CompressedPolicy, config: ExportConfig) -> Exported:
        file = exported(policy, config)
        return replace(file, device=replace(file.device, scale=tuple(-value for value in file.device.scale)))

    monkeypatch.setattr(stages, "export_policy", wrong)
    with pytest.raises(InputError, match="does not do what its network does"):
        stages.export(run, RECIPES["qat-int8"])
    assert [run.model("qat-int8").with_suffix(suffix).read_bytes() for suffix in (".tflite", ".json")] == before


def test_a_damaged_benchmark_is_refused(tiny_run: RunResult, tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, EnvironmentSource("CartPole-v1"), seed=0, config={})
    for content in ("", "[]", json.dumps({**tiny_run.benchmark, "schema": 2})):
        run.benchmark.write_text(content)
        with pytest.raises(InputError, match="expected"):
            read_benchmark(run.benchmark)
