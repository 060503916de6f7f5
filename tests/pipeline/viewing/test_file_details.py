"""What the report says of each file comes from that file alone."""

import shutil
from pathlib import Path

from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.viewing.file_details import file_details


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
