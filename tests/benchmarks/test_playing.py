"""Episodes of policy files: once each, on time, the same in any number of processes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from edgedqn.agents.playing.disturbances import RandomActions
from edgedqn.agents.playing.environments import BadTransitionError, make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.benchmarks import playing
from edgedqn.benchmarks.playing import EnvironmentFactory, Play, Players, load_policy
from edgedqn.export.edge_policy import PolicyFileError, read_verified

GATE = Gate(looks=(30, 60))


def play(steer: str, name: str = "Steer-v0", **fields: Any) -> Play:
    fields = {"seeds": range(60), "gate": GATE, "random_seed": 7, **fields}
    return Play(make_environment=partial(make_environment, f"{steer}:{name}"), **fields)


def test_each_episode_is_played_once(models: Path, steer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[list[int]] = []
    real = playing._play_seeds

    def remember(*arguments: Any, **keywords: Any) -> Any:
        played.append(list(arguments[1]))
        return real(*arguments, **keywords)

    monkeypatch.setattr(playing, "_play_seeds", remember)
    path = models / "int8.tflite"
    with Players(play(steer, seeds=range(100, 160)), progress=False) as players:
        first = players.returns(path, 30)
        more = players.returns(path, 60)
        again = players.returns(path, 30)
        everything = players.returns(path)
    assert [seed for chunk in played for seed in chunk] == list(range(100, 160))
    assert list(more[:30]) == list(first) == list(again)
    assert list(everything) == list(more)
    assert len(more) == 60


def test_a_file_without_a_manifest_is_played_as_it_is_said(conversions: Path, models: Path, steer: str) -> None:
    path, device = conversions / "float.tflite", read_verified(models / "float32.tflite").device
    for workers in (1, 2):
        with Players(play(steer, workers=workers, fed={path: device}), progress=False) as players:
            assert players.returns(path, 40).mean() == 10
    assert load_policy(path, device).device == device
    with pytest.raises(PolicyFileError, match="No manifest"):
        load_policy(path)


def test_processes_change_nothing_and_end(models: Path, steer: str) -> None:
    with Players(play(steer, workers=1), progress=False) as alone, Players(play(steer, workers=2), progress=False) as several:
        for path in (models / "int8.tflite", None):
            assert list(alone.returns(path, 50)) == list(several.returns(path, 50))
        assert several._workers is not None and alone._workers is None
        started = list(several._workers._processes.values())
        assert [process.poll() for process in started] == [None, None]
    assert [process.poll() for process in started] == [0, 0]


def test_a_disturbance_is_drawn_by_the_episode_and_kept_apart(models: Path, steer: str) -> None:
    path, half = models / "float32.tflite", RandomActions(0.5)
    with Players(play(steer, workers=1), progress=False) as alone, Players(play(steer, workers=2), progress=False) as several:
        disturbed = alone.returns(path, 50, disturbance=half)
        assert list(disturbed) == list(several.returns(path, 50, disturbance=half))
        assert 7 < disturbed.mean() < 8 and alone.returns(path, 50).mean() == 10
        assert alone.env_steps(path, half) == 500 and alone.env_steps_of_all == 1_000
        # All actions random: then the file that does the opposite does the same.
        always = [
            alone.returns(models / f"{name}.tflite", 50, disturbance=RandomActions(1.0)) for name in ("float32", "reversed")
        ]
        assert list(always[0]) == list(always[1])


def test_the_random_policy_depends_on_its_seed_and_scores_the_middle(steer: str) -> None:
    returns = []
    for seed in (1, 2):
        with Players(play(steer, random_seed=seed), progress=False) as players:
            returns.append(players.returns(None, 60))
    assert list(returns[0]) != list(returns[1])
    for found in returns:
        assert 4 < found.mean() < 6
        assert len(set(found)) > 4


@pytest.mark.parametrize("workers", [1, 2])
def test_a_bad_transition_says_its_step(models: Path, steer: str, workers: int) -> None:
    with (
        Players(play(steer, "Broken-v0", workers=workers), progress=False) as players,
        pytest.raises(BadTransitionError, match="step 3"),
    ):
        players.returns(models / "float32.tflite", 5)


def test_after_a_process_died_others_can_be_played(models: Path, steer: str) -> None:
    with Players(play(steer, "Deadly-v0", workers=2), progress=False) as players:
        with pytest.raises(WorkerDiedError, match=r"A process died at work.* Got exit code 1"):
            players.returns(models / "reversed.tflite", 30)
        assert players.returns(models / "float32.tflite", 30).mean() == 10


@pytest.mark.parametrize("how", ["registered here", "registered otherwise here", "no pickle"])
def test_what_no_other_process_can_make_is_played_in_this_one_which_says_so_once(
    models: Path, steer: str, how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_environment(f"{steer}:Steer-v0").close()
    registered = gymnasium.spec("Steer-v0")
    make: EnvironmentFactory
    if how == "registered here":
        make, why = partial(make_environment, "Here-v0"), "Unknown environment 'Here-v0'"
        monkeypatch.setitem(gymnasium.registry, "Here-v0", replace(registered, id="Here-v0"))
    elif how == "registered otherwise here":
        make, why = partial(make_environment, f"{steer}:Steer-v0"), "Expected Box(-10.0, 10.0, (4,), float32), Discrete(2), "
        monkeypatch.setitem(gymnasium.registry, "Steer-v0", replace(registered, kwargs={"nan_after": 11}))
    else:
        make, why = lambda: make_environment(f"{steer}:Steer-v0"), "local object"
    playing._say.cache_clear()
    for _ in range(2):
        with Players(replace(play(steer, workers=2), make_environment=make), progress=False) as players:
            assert players.returns(models / "float32.tflite", 30).mean() == 10
            assert players._workers is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Episodes are played in this process: another one cannot make this environment. ") and why in line


def test_no_bar_where_no_terminal_is(models: Path, steer: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Players(play(steer), progress=True) as players:
        players.returns(models / "float32.tflite", 30)
    assert "episode" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"seeds": range(59)}, "look at 60 episodes"),
        ({"seeds": [*range(59), 0]}, "counts one episode twice"),
        ({"workers": 0}, "workers=0"),
    ],
)
def test_what_cannot_be_played_is_refused(steer: str, fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        play(steer, **fields)
