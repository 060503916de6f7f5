import json
from pathlib import Path

import pytest

from edgedqn.pipeline.cli import main
from edgedqn.pipeline.sweeps.results import Proven, SweepResult
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep import Found
from edgedqn.pipeline.sweeps.sweep_file import Sweep

ENVIRONMENTS = ("CartPole-v1", "Acrobot-v1")


@pytest.fixture
def result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepResult:
    """What `sweep` comes to here, whatever it is asked."""
    fronts = {
        env_id: (
            Proven(
                trial=0,
                settings={},
                passed=env_id == "CartPole-v1",
                returns=(500.0,),
                floats=(500.0,),
                size_bytes=704,
                runs=("work/x",),
                files=("models/x.tflite",),
            ),
        )
        for env_id in ENVIRONMENTS
    }
    sweep = Sweep.from_json({"environments": list(ENVIRONMENTS), "trials": 1})
    made = SweepResult(Store(str(tmp_path)), sweep, {env_id: Found(env_id, {}) for env_id in ENVIRONMENTS}, fronts)
    monkeypatch.setattr("edgedqn.pipeline.commands.sweep.run_experiment", lambda *_, **__: made)
    return made


def test_it_shows_the_front_and_says_whether_each_environment_has_a_file(
    result: SweepResult, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["sweep", "a.toml"]) == 3  # Acrobot-v1 has none
    out = capsys.readouterr().out
    assert "704 B      500.0 of 500.0  passed: trial 0" in out and "did not pass: trial 0" in out


def test_as_json_it_is_one_object(result: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep", "a.toml", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1 and set(found["environments"]) == set(ENVIRONMENTS)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--best", "size", "--bundle", "b"], "Expected --env, one of CartPole-v1, Acrobot-v1. Got none."),
        (["--best", "size", "--env", "CartPole-v1"], "Expected --bundle DIR, where the best is to go. Got none."),
        (["--best", "size", "--env", "Acrobot-v1", "--bundle", "b"], "Nothing to take for Acrobot-v1"),
    ],
)
def test_what_is_to_be_taken_must_be_there(
    result: SweepResult, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["sweep", "a.toml", *arguments]) == 2
    assert words in capsys.readouterr().err
