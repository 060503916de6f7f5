"""The device bundle: byte for byte what was proven, complete or absent."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export import browser, edge_policy
from edgedqn.export.board import TWIN
from edgedqn.export.edge_policy import PolicyFileError
from edgedqn.export.manifest import read_manifest
from edgedqn.pipeline.bundle import write_bundle
from edgedqn.pipeline.run import RunResult


def test_plays_from_a_folder_of_its_own_with_nothing_of_ours(tiny_run: RunResult, tmp_path: Path) -> None:
    source = tiny_run.folder / "models" / "qat-int8.tflite"
    write_bundle(source, tmp_path / "device")
    device = tmp_path / "device"
    scripts = {"edge_policy.py", "run_policy.py", "bench_on_device.py"}
    assert {entry.name for entry in device.iterdir()} == {"policy.tflite", "policy.json", "README.md", *scripts}
    assert (device / "policy.tflite").read_bytes() == source.read_bytes()
    assert read_manifest(device / "policy.tflite") == read_manifest(source)
    code = (
        "import sys; sys.modules['edgedqn'] = sys.modules['tensorflow'] = None\n"
        "from edge_policy import EdgePolicy; print(EdgePolicy.load('policy.tflite')([0.0, 0.1, 0.05, 0.0]))"
    )
    played = subprocess.run([sys.executable, "-c", code], cwd=device, capture_output=True, text=True, check=True)
    assert played.stdout.strip() == str(edge_policy.EdgePolicy.load(source)([0.0, 0.1, 0.05, 0.0]))


def test_a_twin_with_float_ends_brings_a_page(tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browser, "runtime_files", lambda: {"litert.js": b""})
    models = tiny_run.folder / "models"
    write_bundle(models / "qat-int8.tflite", tmp_path / "device", models / "float32.tflite")
    device = tmp_path / "device"
    for twin in (device / "board" / TWIN, device / "browser" / "policy.tflite"):
        assert twin.read_bytes() == (models / "float32.tflite").read_bytes()
    assert "## In a browser" in (device / "README.md").read_text()


def test_without_litert_js_there_is_a_bundle_and_a_line_about_it(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_npm() -> None:
        raise InputError("Expected npm to be installed. Got none.")

    monkeypatch.setattr(browser, "runtime_files", no_npm)
    models = tiny_run.folder / "models"
    write_bundle(models / "qat-int8.tflite", tmp_path / "device", models / "float32.tflite")
    assert "no page for browsers. Expected npm to be installed" in capsys.readouterr().err
    assert not (tmp_path / "device" / "browser").exists()
    assert "## In a browser" not in (tmp_path / "device" / "README.md").read_text()


def test_replaces_an_old_bundle_whole(tiny_run: RunResult, tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    (tmp_path / "device" / "old").write_text("")
    write_bundle(tiny_run.folder / "models" / "qat-int8.tflite", tmp_path / "device")
    assert not (tmp_path / "device" / "old").exists()


def test_a_damaged_file_makes_no_bundle(tiny_run: RunResult, tmp_path: Path) -> None:
    content = bytearray((tiny_run.folder / "models" / "qat-int8.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(PolicyFileError):
        write_bundle(tmp_path / "bad.tflite", tmp_path / "device")
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.tflite"]
