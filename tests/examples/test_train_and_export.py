"""The example runs as it stands, with less training."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "train_and_export.py"


def test_prints_a_row_per_file_and_plays_the_bundle(tmp_path: Path) -> None:
    text = EXAMPLE.read_text()
    assert text.count("\n") <= 20
    short = text.replace('seed=0, recipes=["qat-int8"]', 'seed=0, recipes=["qat-int8"], steps=3_000')
    assert short != text
    (tmp_path / "example.py").write_text(short)
    answer = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=os.environ, capture_output=True, text=True, timeout=600, check=False
    )
    heard = [line for line in answer.stderr.splitlines() if not line.startswith("fully_quantize: ")]  # the converter's one line
    assert (answer.returncode, heard) == (0, [])
    for name in ("float32", "ptq-int8", "qat-int8"):
        assert f"{name}: return " in answer.stdout
    assert (tmp_path / "runs" / "example" / "report.html").exists()
