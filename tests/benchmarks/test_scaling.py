import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.scaling import Costs, main, simulate

STEADY = Costs(
    training=0.0,
    trial=10.0,
    spread=0.0,
    start=0.0,
    ask=0.0,
    ask_each=0.0,
    dispatch=0.0,
    tell=0.0,
    request=0.0,
    files=0,
    megabytes=0.0,
    megabytes_per_s=1.0,
)


@given(workers=st.integers(1, 8), rounds=st.integers(1, 4))
def test_trials_of_equal_length_take_as_long_as_they_must(workers: int, rounds: int) -> None:
    found = simulate(STEADY, workers=workers, batch=workers, trials=rounds * workers)
    assert found.hours == pytest.approx(10 * rounds / 3_600)
    assert found.busy == pytest.approx(1) and found.driver == found.store == 0
    assert found.trials_per_hour == pytest.approx(360 * workers)


def test_what_is_done_one_after_the_other_limits_many_workers() -> None:
    slow_driver = replace(STEADY, ask=0.25, dispatch=0.25, tell=0.5)
    found = simulate(slow_driver, workers=100, batch=100, trials=200)
    assert found.hours == pytest.approx((2 * 100 * 1.0 + 2 * 10) / 3_600)
    assert found.driver == pytest.approx(200 / 220)
    asked_again = simulate(replace(STEADY, ask_each=0.1), workers=1, batch=10, trials=20)
    assert asked_again.hours == pytest.approx((20 * 10 + 10 * 10 * 0.1) / 3_600)  # each of the second batch looks at ten


def test_a_training_comes_before_all_else() -> None:
    trained = replace(STEADY, training=30.0, start=2.0)
    found = simulate(trained, workers=4, batch=8, trials=8)
    assert found.hours == pytest.approx((32 + 2 * 10 + 2) / 3_600)  # three workers start after it
    assert found.training == pytest.approx(32 / 54) and found.busy == pytest.approx((30 + 80) / (4 * 54))
    assert simulate(trained, workers=2, batch=4, trials=4, agents=4).hours == pytest.approx((2 * 32 + 20) / 3_600)


def test_a_store_serves_so_many_at_once() -> None:
    shared = replace(STEADY, request=1.0, files=5, megabytes=5.0)
    assert shared.store == 10.0
    alone = simulate(shared, workers=4, batch=4, trials=4, at_once=1)
    assert alone.hours == pytest.approx((4 * 10 + 10) / 3_600)
    assert simulate(shared, workers=4, batch=4, trials=4, at_once=4).hours == pytest.approx(20 / 3_600)


def test_a_batch_waits_for_its_slowest() -> None:
    uneven = replace(STEADY, spread=1.0)
    small, large = (simulate(uneven, workers=8, batch=batch, trials=160) for batch in (8, 160))
    assert small.busy < large.busy < 1
    assert simulate(uneven, workers=8, batch=8, trials=160) == small


def test_a_table_is_printed_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "costs.json").write_text(json.dumps({"schema": 1, "costs": STEADY.to_json()}))
    assert main([str(tmp_path / "costs.json"), "--workers", "1", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].startswith("| 1 | 4 | 100 | 360 | 100% |") and lines[3].startswith("| 2 | 8 | 200 | 720 | 100% |")
    costs = {**STEADY.to_json(), "training": 1_000.0}
    (tmp_path / "costs.json").write_text(json.dumps({"schema": 1, "costs": costs}))
    for words, row in (
        (["--trials", "100"], "| 1 | 4 | 100 | 180 | 100% | 50% | 0% | 0% | 0.28 |"),
        (["--trials", "100", "--without", "training", "--price", "1"], "| 1 | 4 | 100 | 360 | 100% | 0% | 0% | 0% | 2.78 |"),
    ):
        assert main([str(tmp_path / "costs.json"), "--workers", "1", *words]) == 0
        assert capsys.readouterr().out.splitlines()[2] == row
    (tmp_path / "costs.json").write_text(json.dumps({"schema": 1}))
    with pytest.raises(InputError, match="has no costs of a sweep"):
        main([str(tmp_path / "costs.json")])
