"""What the command line answers before it does anything."""

import subprocess
import sys

import pytest

from edgedqn.pipeline.cli import main

COMMANDS = ("run", "train", "compress", "export", "bench", "report", "evaluate", "inspect", "play", "import", "doctor")


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
