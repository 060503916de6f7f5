"""The yardstick's decisions, fed readings that are known; what the real clock says is never asserted."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedqn.benchmarks.latency import full_speed
from edgedqn.benchmarks.latency.full_speed import (
    REMEMBERED_S,
    SLOW_NS,
    FullSpeed,
    load_reference_ns,
    reference_file,
    save_reference_ns,
    time_reference_work,
)
from edgedqn.benchmarks.latency.pinning import Cores


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(full_speed, "reference_file", reference_file)  # the real one, which other tests go without
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has the yardstick read what a test says, one after the other."""

    def say(*values: int) -> None:
        turns = iter(values)
        monkeypatch.setattr(full_speed, "time_reference_work", lambda: next(turns))

    return say


def test_work_at_full_speed_is_done_once(readings: Callable[..., None]) -> None:
    readings(100, 100, 105)
    work = iter("abc")
    assert FullSpeed(60).run(lambda: next(work)) == ("a", 105)


@pytest.mark.parametrize("slow", [(150, 100, 100), (100, 150, 100, 100), (150, 150, 150, 100, 100)])
def test_work_is_repeated_until_both_sides_of_it_are_fast(readings: Callable[..., None], slow: tuple[int, ...]) -> None:
    readings(100, *slow)
    attempts: list[int] = []

    def attempt() -> int:
        attempts.append(1)
        return len(attempts)

    result, reading = FullSpeed(60).run(attempt)
    assert reading == 100
    assert result == len(attempts) == len(slow) - 1


def test_the_reading_between_two_attempts_serves_both(readings: Callable[..., None]) -> None:
    readings(100, 100, 150, 100, 100)
    attempts: list[int] = []
    FullSpeed(60).run(lambda: attempts.append(1))
    assert len(attempts) == 3


def test_where_a_core_stays_slow_the_next_is_tried(readings: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    readings(100, 150, 150, 150, 100, 100)
    times = iter(range(0, 10**12, SLOW_NS // 2 + 1))
    monkeypatch.setattr(full_speed, "clock", lambda: next(times))

    class Counted(Cores):
        moves = 0

        def __init__(self) -> None:
            """Leaves this process where it is."""

        def move_on(self) -> None:
            self.moves += 1

    cores = Counted()
    assert FullSpeed(60, cores).run(lambda: None)[1] == 100
    assert cores.moves == 1


def test_once_patience_is_over_any_speed_will_do_and_is_told(readings: Callable[..., None]) -> None:
    readings(100, 150, 170)
    speed = FullSpeed(0)
    assert speed.impatient
    assert speed.run(lambda: "slow") == ("slow", 170)
    assert not speed.reached(170)


def test_patience_is_for_what_is_thrown_away_not_for_the_work_itself(
    readings: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0]
    monkeypatch.setattr(full_speed, "clock", lambda: now[0])

    def work() -> None:
        now[0] += 10**9

    readings(100)
    speed = FullSpeed(2.5)
    for _ in range(5):
        readings(100, 100)
        speed.run(work)
    assert not speed.impatient
    readings(*[150] * 9)
    assert speed.run(work) == (None, 150)
    assert now[0] == 5 * 10**9 + 4 * 10**9  # three were thrown away; the fourth had to do
    assert speed.impatient


def test_a_faster_reading_moves_what_full_speed_is(readings: Callable[..., None]) -> None:
    readings(150, 150, 150, 100, 100)
    speed = FullSpeed(60)
    _, reading = speed.run(lambda: None)
    assert speed.reached(reading)
    speed.run(lambda: None)
    assert speed.fastest == 100
    assert not speed.reached(reading)


def test_a_run_in_a_slow_stretch_knows_better_from_the_one_before_it(readings: Callable[..., None]) -> None:
    readings(100, 100, 100)
    before = FullSpeed(60)
    before.run(lambda: None)
    before.save_reference()
    readings(150, 150, 150, 100, 100)
    speed = FullSpeed(60)
    assert speed.fastest == 100
    assert speed.run(lambda: None)[1] == 100


def test_a_slower_run_leaves_the_memory_alone(readings: Callable[..., None]) -> None:
    save_reference_ns(100)
    readings(150, 150, 150, 105, 105)
    slow = FullSpeed(60)
    slow.run(lambda: None)
    slow.save_reference()
    assert load_reference_ns() == 100


def test_the_memory_lasts_a_day() -> None:
    save_reference_ns(100)
    assert load_reference_ns() == 100
    then = time.time() - REMEMBERED_S - 1
    os.utime(reference_file(), (then, then))
    assert load_reference_ns() is None


def test_another_processors_memory_is_not_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    save_reference_ns(100)
    monkeypatch.setattr(full_speed, "cpu", lambda: "another")
    assert load_reference_ns() is None


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"schema": 1}', '{"schema": 2, "fastest_ns": 1}'])
def test_a_damaged_memory_is_none(damage: str) -> None:
    reference_file().parent.mkdir()
    reference_file().write_text(damage)
    assert load_reference_ns() is None


@pytest.mark.parametrize("fastest", ["100", 0, -5, None, 1.5])
def test_what_is_no_time_is_not_loaded(fastest: Any) -> None:
    save_reference_ns(fastest)
    assert load_reference_ns() is None


def test_a_folder_that_cannot_be_written_costs_the_memory_only(cache: Any) -> None:
    (cache / "edgedqn").write_text("a file where the folder would be")
    save_reference_ns(100)
    assert load_reference_ns() is None


def test_the_memory_is_where_caches_are(monkeypatch: pytest.MonkeyPatch, cache: Any) -> None:
    assert reference_file() == cache / "edgedqn" / "full_speed.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert reference_file().parts[-3:] == (".cache", "edgedqn", "full_speed.json")


def test_the_yardstick_takes_time() -> None:
    assert 0 < time_reference_work() < 10**9


def test_a_memory_out_of_reach_is_forgotten_when_patience_ran_out(readings: Callable[..., None]) -> None:
    save_reference_ns(100)
    readings(150, 150, 148)
    speed = FullSpeed(0)
    speed.run(lambda: None)
    speed.save_reference()
    assert load_reference_ns() == 148


def test_without_a_home_there_is_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(*_: Any) -> None:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    save_reference_ns(100)
    assert load_reference_ns() is None
