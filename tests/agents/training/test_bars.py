"""Bars of notebooks are their own."""

import subprocess
import sys
from pathlib import Path

import pytest

nbformat, nbclient = (pytest.importorskip(name, reason="the extra `dev` is not installed") for name in ("nbformat", "nbclient"))
SHOWN = """
from edgedqn.agents.training.bars import tqdm
for _ in tqdm(range(3), desc="train", disable=None):
    pass
print(tqdm.__module__)
"""


def test_a_notebook_shows_a_widget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SHOWN)])
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = notebook.cells[0].outputs
    assert any("application/vnd.jupyter.widget-view+json" in output.get("data", {}) for output in outputs)
    assert "".join(output.text for output in outputs if output.get("name") == "stdout") == "tqdm.notebook\n"


def test_a_script_has_that_of_a_terminal_and_none_without_one() -> None:
    said = subprocess.run([sys.executable, "-c", SHOWN], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("tqdm.std\n", "")
