"""The notebooks run from top to bottom in a real kernel, with less training."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

FOLDER = Path(__file__).parents[2] / "notebooks"
SHORTER = {  # of each notebook: what is asked for, and less of it
    "environment_to_int8": {'out="runs/cartpole", seed=0': 'out="runs/cartpole", seed=0, steps=4_000, recipes=["qat-int8"]'},
    "bring_an_agent": {"model.learn(50_000)": "model.learn(6_000)"},
    "own_environment_to_microcontroller": {"steps=20_000": "steps=12_000", ', "auto-int8"': ""},
}


def test_all_are_here() -> None:
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == set(SHORTER)


@pytest.mark.parametrize("name", SHORTER)
def test_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")
    for asked, less in SHORTER[name].items():
        asked, less = (each.replace('"', '\\"') for each in (asked, less))
        assert text.count(asked) == 1
        text = text.replace(asked, less)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    nbformat.validate(notebook)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # as they are committed
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = [output.text for cell in notebook.cells for output in cell.get("outputs", ()) if output.get("name") == "stdout"]
    assert any("qat-int8" in text for text in printed)
