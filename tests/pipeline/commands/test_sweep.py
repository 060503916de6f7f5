import json
from dataclasses import replace
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.sweeps.results import Proven, SweepResult
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Sweep
from edgedqn.pipeline.sweeps.trials import Found

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


def test_where_no_agent_could_be_trained_it_is_no_gate_that_failed(
    result: SweepResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = {env_id: Found(env_id, {}, error="It diverged.") for env_id in ENVIRONMENTS}
    none = replace(result, found=failed, proven=dict.fromkeys(ENVIRONMENTS, ()))
    monkeypatch.setattr("edgedqn.pipeline.commands.sweep.run_experiment", lambda *_, **__: none)
    assert main(["sweep", "a.toml"]) == 2 and "It diverged." in capsys.readouterr().out


def test_as_json_it_is_one_object(result: SweepResult, capsys: pytest.CaptureFixture[str]) -> None:
    main(["sweep", "a.toml", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == 1 and set(found["environments"]) == set(ENVIRONMENTS)


@pytest.fixture
def folder(result: SweepResult, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a sweep that is done, and not to be done again."""
    monkeypatch.setattr("edgedqn.pipeline.commands.sweep.run_experiment", lambda *_, **__: pytest.fail("It was done again."))
    result.store.write_text("results.json", json.dumps(result.to_json()))
    return result.store.url


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--best", "size", "--bundle", "b"], "Expected --env, one of CartPole-v1, Acrobot-v1. Got none."),
        (["--best", "size", "--env", "CartPole-v1"], "Expected --bundle DIR, where the best is to go. Got none."),
        (["--best", "size", "--env", "Acrobot-v1", "--bundle", "b"], "Nothing to take for Acrobot-v1"),
        (
            ["--best", "size", "--env", "Pong", "--bundle", "b"],
            "The sweep has no Pong: expected --env, one of CartPole-v1, Acro",
        ),
        (["--best", "size", "--env", "CartPole-v1", "--retry-failed"], "expected no --retry-failed beside it"),
        (
            ["--best", "size", "--env", "CartPole-v1", "--bundle", "b", "--out", "nowhere"],
            "expected the results.json of a sweep",
        ),
        (["--env", "CartPole-v1", "--fit", "uno"], "Expected --best beside --env, --fit. Got none."),
    ],
)
def test_what_is_to_be_taken_must_be_there(
    folder: str, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert main(["sweep", folder, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_the_best_is_copied_and_nothing_is_done(
    folder: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    copied: list[tuple[Path, Path]] = []

    def make_bundle(*paths: Path) -> tuple[()]:
        copied.append((paths[0], paths[1]))
        return ()

    monkeypatch.setattr("edgedqn.pipeline.sweeps.experiment.make_bundle", make_bundle)
    before = sorted(tmp_path.rglob("*"))
    words = ["sweep", folder, "--best", "size", "--env", "CartPole-v1", "--bundle", str(tmp_path / "b"), "--json"]
    assert main(words) == 0
    assert copied == [(tmp_path / "work" / "x" / "models" / "x.tflite", tmp_path / "b")]
    assert sorted(tmp_path.rglob("*")) == before
    fits = {"pico": True}
    monkeypatch.setattr("edgedqn.pipeline.sweeps.experiment._fits", lambda _, budget: fits.get(budget.board, False))
    monkeypatch.setattr("edgedqn.pipeline.commands.files.require_tools", lambda _: None)
    assert main([*words, "--fit", "pico"]) == 0
    capsys.readouterr()
    assert main([*words, "--fit", "uno"]) == 2
    assert "Nothing to take for CartPole-v1: expected a file that fits uno." in capsys.readouterr().err
    assert main([*words, "--env", "Pendulum-v1"]) == 2
    assert "The sweep has no Pendulum-v1: expected --env, one of CartPole-v1" in capsys.readouterr().err


def test_many_seeds_are_a_sweep_that_proves_every_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[dict[str, object], str, int]] = []

    def run_experiment(value: dict[str, object], *, out: str, workers: int, retry_failed: bool) -> None:
        assert retry_failed
        asked.append((value, out, workers))
        raise InputError("That is enough.")

    monkeypatch.setattr("edgedqn.pipeline.commands.sweep.run_experiment", run_experiment)
    words = "run CartPole-v1 --seeds 0-2 --workers 2 --retry-failed --steps 5000 --recipes qat-int8 ptq-int8 --strip"
    words += " --env-arg a=1 --out"
    assert main([*words.split(), str(tmp_path)]) == 2
    ((value, out, workers),) = asked
    assert (out, workers) == (str(tmp_path), 2)
    assert value["environments"] == [{"id": "CartPole-v1", "arguments": {"a": 1}}]
    assert (value["seeds"], value["sampler"], value["prove"]) == ([0, 1, 2], "grid", "all")
    assert value["teacher"] == {"settings": {"steps": 5000}} and value["export"] == {"strip": True}
    assert [each["recipe"]["name"] for each in value["recipes"]] == ["qat-int8"]  # type: ignore[attr-defined]
    value["environments"] = ["CartPole-v1"]
    assert len(Sweep.from_json(value).grid()) == 1


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--seeds 0-1 --seed 3", "Expected --seed or --seeds. Got both"),
        ("--seeds 0-1 --force", "expected no --force beside --seeds"),
        ("--seeds 0-1 --out s3://bucket/x", "--seeds keeps its record in --out: expected a folder of this machine"),
        ("--retry-failed", "expected --seeds beside --retry-failed"),
        ("--seeds 3-1", "expected seeds such as 0-9 or 0,3,7, each once"),
        ("--seeds 1,1", "expected seeds such as 0-9 or 0,3,7, each once"),
    ],
)
def test_what_is_no_list_of_seeds_is_refused(capsys: pytest.CaptureFixture[str], words: str, told: str) -> None:
    try:
        code = main(["run", "CartPole-v1", *words.split()])
    except SystemExit as stop:
        code = int(stop.code or 0)
    assert code == 2 and told in capsys.readouterr().err
