"""What there is to choose from is listed at once: without NumPy or TensorFlow, in all that are there, with what they score."""

import json
import subprocess
import sys

import pytest

from edgedqn.agents.training.presets import PRESETS
from edgedqn.agents.training.reference_scores import REFERENCE_SCORES
from edgedqn.compression.recipes import DEFAULT_RECIPES, RECIPES
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands import lists


@pytest.mark.parametrize("command", [["recipes"], ["environments"], ["compress", "--list"], ["environments", "--json"]])
def test_a_list_needs_nothing_that_takes_time_to_import(command: list[str]) -> None:
    # What makes it answer in a tenth of a second; the time itself is measured, not asserted.
    code = (
        "import sys\nfor name in ('numpy', 'tensorflow', 'gymnasium', 'vl_convert', 'ai_edge_litert'):\n"
        "    sys.modules[name] = None\n"
        f"from edgedqn.pipeline.cli import main\nsys.exit(main({command!r}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "CartPole-v1" in answer.stdout or "auto-int8" in answer.stdout


def test_recipes_are_all_there_with_those_that_are_taken_by_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipes", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["recipes"]
    assert [(each["name"], each["summary"], each["control"]) for each in found] == [
        (recipe.name, recipe.summary, recipe.control) for recipe in RECIPES.values()
    ]
    assert [each["name"] for each in found if each["default"]] == sorted(DEFAULT_RECIPES, key=list(RECIPES).index)
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines if not line.startswith(" ")] == list(RECIPES)
    assert "".join(lines).count("[default]") == len(DEFAULT_RECIPES)


def test_environments_have_the_scores_that_were_measured(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["environments", "--json"]) == 0
    found = {each["env_id"]: each for each in json.loads(capsys.readouterr().out)["environments"]}
    assert found.keys() == PRESETS.keys()
    assert found["CartPole-v1"] == {
        "env_id": "CartPole-v1",
        "env_steps": 50_000,
        "mean_return": 500.0,
        "returns_of_seeds": [500.0] * 5,
        "extra": None,
        "installed": True,
    }
    assert [name for name, each in found.items() if each["mean_return"] is None] == [
        name for name in PRESETS if name not in REFERENCE_SCORES
    ]
    monkeypatch.setattr(lists, "find_spec", lambda name: None)
    assert main(["environments"]) == 0
    text = capsys.readouterr().out
    assert "LunarLander-v3" in text and "pip install 'edgedqn[box2d]'" in text and "pip install 'edgedqn[atari]'" in text
