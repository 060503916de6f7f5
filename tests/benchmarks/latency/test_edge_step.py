"""What a policy takes of a device is measured in processes that hold nothing else."""

import json
from pathlib import Path

import pytest

from edgedqn.benchmarks.latency import edge_step
from edgedqn.benchmarks.latency.edge_step import measure_edge
from edgedqn.export.edge_policy import PolicyFileError


def test_measures_a_process_that_has_the_policy_alone(models: Path) -> None:
    found = measure_edge(models / "int8.tflite", calls=500, processes=1)
    assert found.file == "int8.tflite"
    assert 0 < found.p50_us <= found.p90_us <= found.p99_us
    assert 0 < found.import_s < 60
    # NumPy and the interpreter take 35 MB; this very process, which has TensorFlow or PyTest in it, is not counted.
    assert 20e6 < found.resident_bytes < 100e6


def test_prints_a_line_or_json(models: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    found = edge_step.EdgeFootprint(
        file="int8.tflite", p50_us=3.0, p90_us=4.0, p99_us=5.0, import_s=0.125, resident_bytes=41_200_000
    )
    monkeypatch.setattr(edge_step, "measure_edge", lambda path: found)
    edge_step.main([str(models / "int8.tflite")])
    assert capsys.readouterr().out == ("int8.tflite: step 3.00 µs (p90 4.00, p99 5.00), import 0.12 s, resident 41.2 MB\n")
    edge_step.main([str(models / "int8.tflite"), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == 1 and told["rows"][0]["resident_bytes"] == 41_200_000 and told["machine"]["cpu"]


def test_refuses_a_damaged_file_in_one_line(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.tflite").write_bytes((models / "int8.tflite").read_bytes()[:-8])
    with pytest.raises(PolicyFileError):
        measure_edge(tmp_path / "bad.tflite")
    with pytest.raises(SystemExit) as ended:
        edge_step.main([str(tmp_path / "bad.tflite")])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
