"""The scores that are installed are those that were measured, of presets that there are."""

import json
from pathlib import Path

import pytest

from edgedqn.agents.training.presets import PRESETS
from edgedqn.agents.training.reference_scores import REFERENCE_SCORES

MEASURED = Path(__file__).parents[3] / "docs" / "results" / "reference_scores.json"


@pytest.mark.skipif(not MEASURED.exists(), reason="looks at the checkout, not at the package")
def test_the_scores_are_those_that_were_measured() -> None:
    measured = json.loads(MEASURED.read_text())["environments"]
    assert REFERENCE_SCORES.keys() == measured.keys()
    for env_id, rows in measured.items():
        score = REFERENCE_SCORES[env_id]
        assert score.means == pytest.approx([row["mean"] for row in rows], abs=5e-4)
        assert {score.env_steps} == {row["env_steps"] for row in rows}
        assert [row["seed"] for row in rows] == list(range(len(rows)))


def test_only_presets_have_scores_of_as_many_steps_as_they_take() -> None:
    assert {PRESETS[env_id].steps == score.env_steps for env_id, score in REFERENCE_SCORES.items()} == {True}
    assert REFERENCE_SCORES["CartPole-v1"].mean == 500.0
