"""What the report says of each file comes from that file alone."""

import shutil
from dataclasses import replace
from pathlib import Path

from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.job import Job, RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.viewing.file_details import file_details, what_was_skipped


def test_zeros_and_rungs_are_those_of_the_measured_files(tiny_run: RunResult, tmp_path: Path) -> None:
    details = file_details(RunFolder.open(tiny_run.folder), tiny_run.measured)
    assert list(details) == [row.name for row in tiny_run.measured.rows]
    assert max(kernel.zeros for kernel in details["prune-qat-int8"].kernels) > 0.5
    assert not details["float32"].rungs
    rungs = details["qat-int8"].rungs
    assert rungs[0].name == "round" and [rung.taken for rung in rungs].count(True) == 1
    changed = tmp_path / "run"
    shutil.copytree(tiny_run.folder, changed)
    shutil.copy(changed / "models" / "float32.tflite", changed / "models" / "qat-int8.tflite")
    assert "qat-int8" not in file_details(RunFolder.open(changed), tiny_run.measured)


def test_what_was_skipped_is_told_once_with_its_reason(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = RunFolder.open(tiny_run.folder)
    reports = Job.open(tiny_run.folder).reports()
    told = what_was_skipped(folder, reports)
    assert all(" " in line for line in told)
    for name in reports:
        evidence = read_verified(folder.model(name)).evidence["verification"]
        for what, found in evidence.items():
            mentioned = [line for line in told if f"verification in {what}: " in line and name in line]
            assert len(mentioned) == ("skipped" in found)
    ladder = reports["qat-int8"][-1]
    assert ladder.findings.rung
    passed_over = replace(ladder, findings=replace(ladder.findings, skipped=("widen: no choice is lost",)))
    assert not any("widen" in line for line in what_was_skipped(folder, {"qat-int8": (passed_over,)}))
