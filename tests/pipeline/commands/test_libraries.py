import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.export.devices.libraries.forms import FORMS
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands.device_arguments import BUNDLE

POLICY = Path(__file__).parents[3] / "docs" / "results" / "policies" / "CartPole-v1.tflite"


def test_a_file_becomes_a_library_with_what_its_author_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    said = ["--license", "MIT", "--author", "Ada <a@b.org>", "--url", "https://b.org", "--library-version", "2.0.0", "--zip"]
    assert main(["bundle", str(POLICY), "--as", "platformio", *said]) == 0
    place, archive = "libraries/platformio/EdgeDQN_CartPole_v1", "libraries/platformio/EdgeDQN_CartPole_v1-2.0.0.zip"
    assert capsys.readouterr().out == f"Folder: {place}\nZip: {archive}\n"
    manifest = json.loads(Path(place, "library.json").read_text())
    assert (manifest["version"], manifest["license"], manifest["homepage"]) == ("2.0.0", "MIT", "https://b.org")
    assert manifest["authors"] == [{"name": "Ada", "email": "a@b.org"}] and zipfile.is_zipfile(archive)
    assert main(["bundle", str(POLICY), "--as", "cmake", "--sensor-units", "0.001", "--out", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"schema": 1, "ecosystem": "cmake", "folder": "mine/EdgeDQN_CartPole_v1", "zip": None}
    made = tmp_path / "mine" / "EdgeDQN_CartPole_v1"
    assert "typedef int32_t policy_element;" in (made / "src" / "policy_observe.h").read_text()
    assert (made / "CMakeLists.txt").exists() and not (tmp_path / "device").exists()


def test_what_only_a_library_has_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bundle", str(POLICY), "--license", "MIT", "--zip"]) == 2
    assert "Only a library has --license: expected --as. Got none." in capsys.readouterr().err
    assert main(["bundle", str(POLICY), "--as", "arduino", "--library-version", "1"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("expected MAJOR.MINOR.PATCH such as 1.0.0. Got '1'.")

    assert main(["bundle", str(POLICY), "--as", "arduino", "--npu", "ethos-u55-128"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("A library has nothing for an NPU: expected a bundle, without --as. Got --npu.")


def test_what_a_run_ships_becomes_a_library_without_tensorflow(
    tiny_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgedqn.pipeline.cli.load_tensorflow", lambda: pytest.fail("TensorFlow was loaded"))
    asked = ["bundle", str(tiny_run.folder), "--as", "cmake", "--out", str(tmp_path)]
    assert main([*asked, "--license", "?"]) == 2 and "expected an SPDX id" in capsys.readouterr().err
    assert main(asked) == (2 if tiny_run.shipped is None else 0)
    said = capsys.readouterr()
    assert "has nothing to ship" in said.err if tiny_run.shipped is None else said.out.startswith("Folder: ")
    assert main(["bundle", str(tmp_path / "nothing"), "--as", "cmake"]) == 2
    assert "There is no run in " in capsys.readouterr().err


def test_the_ecosystems_of_the_command_line_are_those_that_there_are() -> None:
    assert BUNDLE["--as"]["choices"] == tuple(FORMS)
