"""The page docs/uno.md: its commands are run as they stand, and what they build blinks on an emulated Uno."""

import itertools
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.programs import command_for
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.export.tflite_file.tflm import MicroInterpreter

PAGE = Path(__file__).parents[2] / "docs" / "uno.md"
CHIP = CORES["atmega328p"]
CYCLES_PER_MS = 16_000
SLOW_MS, QUICK_MS = 200, 50  # what the sketch waits after each action
MOST_MS = 10  # that sensing and acting take on top


def led(firmware: Path, changes: int) -> list[tuple[float, int]]:
    """When pin 13, which is B5, changes, in ms, and its level."""
    with subprocess.Popen([*command_for(CHIP, firmware), "B5"], stdout=subprocess.PIPE, text=True) as process:
        stop = threading.Timer(120, process.kill)
        stop.start()
        assert process.stdout is not None
        lines = [line.split() for line in itertools.islice(process.stdout, changes)]
        stop.cancel()
        process.kill()
    return [(int(cycles) / CYCLES_PER_MS, int(level)) for cycles, level in lines]


@pytest.mark.skipif(not PAGE.exists(), reason="the wheel has no docs; the checkout's suite runs this")
@pytest.mark.skipif(
    bool(missing_tools(CHIP)) or not shutil.which("arduino-builder"), reason="not installed: arduino-builder, libsimavr-dev"
)
def test_an_environment_becomes_an_led_that_blinks_as_the_policy_says(tmp_path: Path) -> None:
    page = PAGE.read_text()
    assert page.count("\n") <= 40
    ((name, sketch),) = re.findall(r'^```cpp title="(.*?)"\n(.*?)^```', page, re.DOTALL | re.MULTILINE)
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(sketch)
    (tmp_path / "edgedqn").write_text(f"#!{sys.executable}\nfrom edgedqn.pipeline.cli import console\nconsole()\n")
    (tmp_path / "edgedqn").chmod(0o755)
    environment = os.environ | {"HOME": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    blocks = re.findall(r"^```sh\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    commands = "".join(blocks).splitlines()
    assert [command.split()[0] for command in commands] == ["edgedqn", "edgedqn", "mkdir", "arduino-builder"]
    for command in commands:
        answer = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=1_200, check=False
        )
        assert answer.returncode == 0, answer.stdout + answer.stderr

    file = read_verified(tmp_path / "runs" / "uno" / "device" / "policy.tflite")
    action = EdgePolicy(MicroInterpreter(file.content), file.device)(np.full(4, -512 / 5120, np.float32))  # pins at 0 V
    times, levels = zip(*led(tmp_path / "Blink-uno" / "Blink.ino.elf", 6), strict=True)
    assert levels == (1, 0, 1, 0, 1, 0)
    assert all(0 < wait - (QUICK_MS if action else SLOW_MS) < MOST_MS for wait in np.diff(times))
