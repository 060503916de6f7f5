from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.sweeps.record import Record, open_storage
from edgedqn.pipeline.sweeps.sweep_file import Sampler

TRIALS, BATCH = 18, 4


def suggest(trial: optuna.trial.Trial) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return {"kind": kind, "x": trial.suggest_float(f"{kind}/x", -3, 3)}


def record(path: Path, sampler: Sampler, grid: Any = ()) -> Record:
    return Record(
        open_storage(path),
        "search",
        directions=["minimize", "maximize"],
        sampler=sampler,
        seed=5,
        batch=BATCH,
        suggest=suggest,
        grid=grid,
    )


def searched(path: Path, sampler: Sampler, interrupted: Callable[[int], bool] = lambda _: False) -> list[Any]:
    """What was tried; opened anew wherever it is interrupted, as after a kill."""
    study = record(path, sampler)
    for first in range(0, TRIALS, BATCH):
        asked = study.ask(first, min(BATCH, TRIALS - first))
        for i, each in enumerate(asked):
            if interrupted(each.number):
                study = record(path, sampler)
                again = study.ask(first, min(BATCH, TRIALS - first))
                assert [one.point for one in again] == [one.point for one in asked]
                each = again[i]
            x = each.point["x"]
            study.tell(each, values=None if each.number == 3 else [x**2, -abs(x - 1)], notes={"note": each.number})
    return [(trial.params, trial.values, trial.user_attrs) for trial in study.trials]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_that_is_interrupted_tries_what_it_would_have(tmp_path: Path, sampler: Sampler) -> None:
    undisturbed = searched(tmp_path / "a.log", sampler)
    assert undisturbed == searched(tmp_path / "b.log", sampler, lambda number: number % 3 == 1)
    assert len(undisturbed) == TRIALS
    assert undisturbed[3][1] is None  # it could not be done
    assert len({str(params) for params, *_ in undisturbed}) > TRIALS / 2


def test_a_search_learns_from_earlier_batches(tmp_path: Path) -> None:
    tried = [values[0] for _, values, _ in searched(tmp_path / "a.log", "tpe") if values]
    assert min(tried[len(tried) // 2 :]) < 0.5


def test_a_grid_is_tried_in_its_order(tmp_path: Path) -> None:
    points = [{"kind": kind, f"{kind}/x": x} for kind in ("a", "b") for x in (0.5, 1.0)]
    asked = record(tmp_path / "a.log", "grid", points).ask(0, 4)
    assert [each.point for each in asked] == [{"kind": kind, "x": x} for kind in ("a", "b") for x in (0.5, 1.0)]


def test_what_matters_is_said_once_there_is_enough_to_say_it(tmp_path: Path) -> None:
    study = record(tmp_path / "a.log", "random")
    assert study.importances(0) == {}
    searched(tmp_path / "a.log", "random")
    found = record(tmp_path / "a.log", "random").importances(0)
    assert set(found) <= {"kind", "a/x", "b/x"} and sum(found.values()) == pytest.approx(1)


def test_optunas_own_tools_read_it(tmp_path: Path) -> None:
    searched(tmp_path / "a.log", "nsga2")
    study = optuna.load_study(study_name="search", storage=open_storage(tmp_path / "a.log"))
    assert len(study.trials) == TRIALS and study.best_trials


def test_a_database_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(InputError, match=r"Cannot open nosuch://x: expected the URL of a database\. Got: "):
        open_storage("nosuch://x")
