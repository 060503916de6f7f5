from pathlib import Path
from typing import Any

import pytest

# A float agent of a second, and students of a few more: what they play is not the point.
TINY: dict[str, Any] = {
    "environments": ["CartPole-v1"],
    "seeds": [0],
    "trials": 4,
    "batch": 2,
    "teacher": {
        "settings": {
            "steps": 3_000,
            "hidden": [16, 16],
            "learning_starts": 200,
            "evaluation_interval": 1_000,
            "evaluation_episodes": 3,
        }
    },
    "recipes": [
        {
            "recipe": "student-qat-int8",
            "settings": {
                "new_student.hidden": {"choice": [[2], [4], [8]]},
                "distil.learning.steps": 200,
                "distil.rounds": 0,
                "distil.greedy_states": 500,
                "distil.explored_states": 200,
            },
        }
    ],
}


@pytest.fixture
def tiny() -> dict[str, Any]:
    return TINY


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny sweep, done by one process."""
    from edgedqn.pipeline.sweeps.experiment import run_experiment

    folder = tmp_path_factory.mktemp("sweep") / "tiny"
    run_experiment(TINY, out=str(folder), workers=1)
    return folder
