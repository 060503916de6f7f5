"""What the command line answers before it does anything, and where it is not to blame."""

import errno
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.pipeline.cli import main
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.run_folder import RunFolder

CommandLine = Callable[..., subprocess.CompletedProcess[str]]

COMMANDS = (
    "run",
    "train",
    "compress",
    "export",
    "bench",
    "report",
    "evaluate",
    "inspect",
    "play",
    "import",
    "recipes",
    "doctor",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_and_json(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    assert "--json" in capsys.readouterr().out


def test_help_and_version_import_neither_numpy_nor_tensorflow() -> None:
    # What makes --help answer in a tenth of a second; the time itself is measured, not asserted.
    for argument in ("--help", "--version"):
        code = (
            "import sys\nfor name in ('numpy', 'tensorflow', 'gymnasium', 'vl_convert', 'ai_edge_litert'):\n"
            "    sys.modules[name] = None\n"
            f"from edgedqn.pipeline.cli import main\nmain([{argument!r}])"
        )
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert answer.stdout.startswith(("usage: edgedqn", "edgedqn "))


def test_what_a_command_on_files_is_given_in_place_of_one_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policy.onnx").touch()
    for command in ("bench", "bundle", "evaluate", "inspect", "play"):
        assert main([command, str(tmp_path / "policy.onnx")]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert "policy.onnx is an ONNX network: expected a .tflite. `edgedqn import " in line


LONG = "n" * 300


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["compress", LONG], f"{LONG}/run.json"),
        (["inspect", f"{LONG}.tflite"], f"{LONG}.tflite"),
        (["train", "CartPole-v1", "--out", LONG], f"{LONG}/run.json. Got: File name too long."),
        (["train", "CartPole-v1", "--out", "file/run"], "Cannot make a run in file/run"),
        (["compress", "file/run"], "There is no run in file/run: "),
        (["bench", "folder.tflite"], "folder.tflite"),
        (["bundle", "MODEL", "--out", "file/device"], "Cannot read or write file. Got: File exists."),
        (["bundle", "MODEL", "--out", LONG], f"Cannot read or write {LONG}. Got: File name too long."),
    ],
)
def test_a_place_that_is_none_is_one_line_with_its_name(
    arguments: list[str],
    said: str,
    tiny_run: RunResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    Path("folder.tflite").mkdir()
    model = str(tiny_run.folder / "models" / "qat-int8.tflite")
    assert main([model if each == "MODEL" else each for each in arguments]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1) and err.startswith("edgedqn: ") and said in err


def test_a_limit_of_the_disk_is_one_line_with_the_files_name(edgedqn: CommandLine, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, before[1]))  # the process that is started inherits it
    try:
        answer = edgedqn("train", "CartPole-v1", "--steps", "1500", "--out", "run")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    weights = "run/agent/checkpoints/best/weights.npz"
    assert (answer.returncode, answer.stderr) == (2, f"edgedqn: Cannot read or write {weights}. Got: File too large.\n")
    assert RunFolder.open(tmp_path / "run").description.stages[0].status == "failed"


def test_a_deleted_folder_to_stand_in_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert main(["train", "CartPole-v1", "--steps", "1500"]) == 2
    assert capsys.readouterr().err.startswith("edgedqn: The current folder was deleted: ")


def test_a_fault_of_ours_is_none_of_the_users(monkeypatch: pytest.MonkeyPatch, tiny_run: RunResult) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("edgedqn.pipeline.bundle.read_benchmark", fail)
    with pytest.raises(OSError, match="Invalid argument"):
        main(["bundle", str(tiny_run.folder)])


def test_out_may_be_a_link_to_a_folder(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    for name in ("disk", "board"):
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}-link").symlink_to(tmp_path / name)
    assert edgedqn("train", "CartPole-v1", "--steps", "1500", "--out", "disk-link").stdout == "train done: disk-link\n"
    assert RunFolder.open(tmp_path / "disk").is_done("train")
    assert edgedqn("bundle", tiny_run.folder / "models" / "qat-int8.tflite", "--out", "board-link").returncode == 0
    assert (tmp_path / "board-link").is_symlink() and (tmp_path / "board" / "policy.tflite").exists()
