"""`edgedqn inspect`, within limits."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from edgedqn.export.edge_policy import Feature, PolicyFileError, read_verified
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.reader import stripped
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands import inspect
from edgedqn.pipeline.job import RunResult


def test_tells_of_a_file_in_words_and_in_json(tiny_run: RunResult, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_run.folder / "models" / "qat-int8.tflite"
    assert main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    for expected in ("2 FULLY_CONNECTED", "% zeros", "microcontroller yes", "browser         no: ", '"id": "CartPole-v1"'):
        assert expected in told.replace("3 FULLY_CONNECTED", "2 FULLY_CONNECTED")
    assert main(["inspect", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["manifest"]["recipe"] == "qat-int8"
    assert report["devices"]["linux_board"] == {"runs": True, "reasons": []}


def test_tells_in_which_order_a_vector_is_put_together(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = read_verified(tiny_run.folder / "models" / "qat-int8.tflite")
    device = replace(file.device, features=(Feature("mode", 2, (2,)), Feature("speed", 2)), source={})
    write_policy(tmp_path / "a.tflite", stripped(file.model), device=device, evidence={})
    assert main(["inspect", str(tmp_path / "a.tflite")]) == 0
    told = "put these in one vector, in this order: mode (2 numbers: one-hot of 0 .. 1), speed (2 numbers)."
    assert f"\nObservation: {told}\n" in capsys.readouterr().out


def test_tells_of_what_a_plain_converter_writes(capsys: pytest.CaptureFixture[str]) -> None:
    """A batch of -1 is one step."""
    path = Path(__file__).parents[2] / "benchmarks" / "default_converter_float.tflite"
    assert main(["inspect", str(path)]) == 0
    told = capsys.readouterr().out
    assert "Multiply-accumulates: 720 a step. Live at once: 192 bytes." in told
    assert "  linux board     yes\n" in told and "  microcontroller no: It has no manifest" in told
    assert "`edgedqn bench default_converter_float.tflite --env ENV_ID` plays it" in told


def test_another_kind_of_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.keras").touch()
    assert main(["inspect", str(tmp_path / "policy.keras")]) == 2
    assert "policy.keras is a Keras model: expected a .tflite." in capsys.readouterr().err


def test_refuses_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.tflite"
    for content in (None, b"", b"x"):
        if content is not None:
            path.write_bytes(content)
        assert main(["inspect", str(path)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"edgedqn: {path}: ") and "Traceback" not in line


def test_nothing_that_lies_where_the_user_stands_is_imported(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    for name in ("numpy", "json", "struct", "edgedqn"):
        (tmp_path / f"{name}.py").write_text(f"open({str(mark)!r}, 'w')")
    (tmp_path / "x.tflite").write_bytes(b"x")
    command = [sys.executable, "-P", "-c", "from edgedqn.pipeline.cli import console; console()", "inspect", "x.tflite"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 2 and answer.stderr.startswith("edgedqn: x.tflite: ")
    assert not mark.exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "expected an answer within 1 seconds"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "Reading it ended with -11"),
        ("raise MemoryError", "MemoryError"),
    ],
)
def test_what_becomes_of_the_child_is_one_line(monkeypatch: pytest.MonkeyPatch, code: str, said: str) -> None:
    monkeypatch.setattr(inspect, "CHILD", code)
    with pytest.raises(PolicyFileError, match=said):
        inspect.inspect_safely(Path("x.tflite"), seconds=1)


def test_the_child_has_no_memory_without_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        inspect,
        "CHILD",
        "import edgedqn.export.tflite_file.inspection as i\nfrom edgedqn.pipeline.commands.inspect import child\n"
        "i.inspect = lambda path: bytearray(8_000_000_000)\nchild('x')",
    )
    with pytest.raises(PolicyFileError, match="MemoryError"):
        inspect.inspect_safely(tmp_path / "x.tflite")
