import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import BaseStorage

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.sweeps.record import Record, open_storage
from edgedqn.pipeline.sweeps.sweep_file import Sampler

TRIALS, BATCH = 18, 4


def suggest(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    kind = trial.suggest_categorical("kind", ["a", "b"])
    return {"kind": kind, "x": trial.suggest_float(f"{kind}/x", -3, 3)}


def record(storage: BaseStorage, sampler: Sampler, grid: Any = ()) -> Record:
    return Record(
        storage,
        "search",
        directions=["minimize", "maximize"],
        sampler=sampler,
        seed=5,
        batch=BATCH,
        suggest=suggest,
        grid=grid,
    )


def searched(where: Path | str, sampler: Sampler, interrupted: Callable[[int], bool] = lambda _: False) -> list[Any]:
    """What was tried; opened anew wherever it is interrupted, as after a kill."""
    number = 0
    while number < TRIALS:
        with open_storage(where) as storage:
            study = record(storage, sampler)
            batches = (study.ask(i, min(BATCH, TRIALS - i)) for i in range(number // BATCH * BATCH, TRIALS, BATCH))
            for asked in itertools.chain.from_iterable(batches):
                if asked.number < number:  # it was told before the kill
                    continue
                x = asked.point["x"]
                values = None if asked.number == 3 else [x**2, -abs(x - 1)]
                study.tell(asked, values=values, notes={"note": asked.number})
                number = asked.number + 1
                if interrupted(asked.number):
                    break
    with open_storage(where) as storage:
        trials = optuna.load_study(study_name="search", storage=storage).trials
    return [(trial.params, trial.values, trial.user_attrs) for trial in trials]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_a_search_that_is_interrupted_tries_what_it_would_have(tmp_path: Path, sampler: Sampler) -> None:
    undisturbed = searched(tmp_path / "a.log", sampler)
    assert undisturbed == searched(tmp_path / "b.log", sampler, lambda number: number % 3 == 1)
    assert len(undisturbed) == TRIALS
    assert undisturbed[3][1] is None  # it could not be done
    assert len({str(params) for params, *_ in undisturbed}) > TRIALS / 2


def test_in_a_database_it_is_the_same_search(tmp_path: Path, postgresql: str) -> None:
    interrupted = searched(postgresql, "nsga2", lambda number: number % 3 == 1)
    assert interrupted == searched(tmp_path / "a.log", "nsga2")


def test_a_search_learns_from_earlier_batches(tmp_path: Path) -> None:
    tried = [values[0] for _, values, _ in searched(tmp_path / "a.log", "tpe") if values]
    assert min(tried[len(tried) // 2 :]) < 0.5


def test_a_grid_is_tried_in_its_order(tmp_path: Path) -> None:
    points = [{"kind": kind, f"{kind}/x": x} for kind in ("a", "b") for x in (0.5, 1.0)]
    with open_storage(tmp_path / "a.log") as storage:
        asked = record(storage, "grid", points).ask(0, 4)
    assert [each.point for each in asked] == [{"kind": kind, "x": x} for kind in ("a", "b") for x in (0.5, 1.0)]


def test_what_matters_is_said_once_there_is_enough_to_say_it(tmp_path: Path) -> None:
    with open_storage(tmp_path / "a.log") as storage:
        assert record(storage, "random").importances(0) == {}
        searched(tmp_path / "a.log", "random")
        found = record(storage, "random").importances(0)
    assert set(found) <= {"kind", "a/x", "b/x"} and sum(found.values()) == pytest.approx(1)


def points(study: Record) -> list[Any]:
    """Of all that is tried, asked for batch after batch."""
    return [each.point for first in range(0, TRIALS, BATCH) for each in study.ask(first, min(BATCH, TRIALS - first))]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_what_could_not_be_done_is_written_once_more_when_it_can(tmp_path: Path, sampler: Sampler) -> None:
    searched(tmp_path / "a.log", sampler)
    with open_storage(tmp_path / "a.log") as storage:
        study = record(storage, sampler)
        before = points(study)
        failed, done = study.ask(3, 2)
        study.tell(failed, values=None, notes={"note": 3})  # it came to the same
        study.tell(done, values=[0.0, 0.0], notes={})  # it is done
        assert study.count == TRIALS and len(optuna.load_study(study_name="search", storage=storage).trials) == TRIALS
        study.tell(failed, values=None, notes={"failed": {"file-1": "another reason"}})
        study.tell(failed, values=[7.0, 7.0], notes={"note": "mended"})
        study.tell(failed, values=[8.0, 8.0], notes={})  # it is done
    with open_storage(tmp_path / "a.log") as storage:
        trials = optuna.load_study(study_name="search", storage=storage).trials
        assert [trial.state.name for trial in (trials[3], *trials[TRIALS:])] == ["FAIL", "FAIL", "COMPLETE"]
        assert trials[-1].params == trials[3].params and trials[-1].user_attrs["tries again"] == 3
        study = record(storage, sampler)
        assert (study.count, study.notes(3)["note"], study.notes(4)["note"]) == (TRIALS, "mended", 4)
        assert points(study) == before  # also what was chosen when it was not known yet


def test_a_journal_that_was_cut_off_is_gone_on_with(tmp_path: Path) -> None:
    undisturbed = searched(tmp_path / "a.log", "random")
    with (tmp_path / "a.log").open("a") as file:
        file.write('{"op_code": 4, "worker_id": "')  # the disk was full
    assert searched(tmp_path / "a.log", "random") == undisturbed


def test_a_journal_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("what\nis this\n")
    with pytest.raises(InputError, match=r"a\.log is damaged: expected Optuna's journal"), open_storage(tmp_path / "a.log"):
        pass


def test_optunas_own_tools_read_it(tmp_path: Path) -> None:
    searched(tmp_path / "a.log", "nsga2")
    with open_storage(tmp_path / "a.log") as storage:
        study = optuna.load_study(study_name="search", storage=storage)
        assert len(study.trials) == TRIALS and study.best_trials


def test_a_database_that_cannot_be_reached_is_refused() -> None:
    words = r"Cannot open nosuch://x: expected the URL of a database\. Got: "
    with pytest.raises(InputError, match=words), open_storage("nosuch://x"):
        pass
