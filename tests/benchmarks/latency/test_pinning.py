"""What is timed stays on the core that had least to do, and afterwards goes where it may."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from edgedqn.benchmarks.latency import pinning
from edgedqn.benchmarks.latency.pinning import Cores, pinned, quietest

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process choose its cores")


@LINUX
def test_inside_it_is_one_core_and_outside_all_again() -> None:
    before = os.sched_getaffinity(0)
    with pinned(1) as cores:
        assert cores is not None
        assert os.sched_getaffinity(0) == set(cores.used) <= before
        assert len(cores.used) == 1
    assert os.sched_getaffinity(0) == before


@LINUX
def test_more_threads_than_cores_have_all_of_them() -> None:
    with pinned(1_000) as cores:
        assert cores is not None
        assert set(cores.used) == os.sched_getaffinity(0)


@pytest.fixture
def three_cores(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A machine of three; what is kept to, in turn."""
    kept = []
    monkeypatch.setattr(pinning, "quietest", lambda allowed: [2, 0, 1])
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: kept.append(cores), raising=False)
    return kept


def test_one_thread_moves_from_core_to_core_and_all_are_told(three_cores: Any) -> None:
    cores = Cores({0, 1, 2}, 1)
    assert cores.used == [2]
    cores.move_on()
    assert cores.used == [0, 2]
    for _ in range(3):
        cores.move_on()
    assert three_cores == [[2], [0], [1], [2], [0]]
    assert cores.used == [0, 1, 2]


def test_several_threads_stay(three_cores: Any) -> None:
    cores = Cores({0, 1, 2}, 2)
    cores.move_on()
    assert three_cores == [[2, 0]]
    assert cores.used == [0, 2]


@LINUX
def test_an_error_sets_it_free_too() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), pinned(1):
        raise RuntimeError
    assert os.sched_getaffinity(0) == before


def test_the_idlest_first_and_of_equals_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([{0: 100, 1: 100, 2: 100}, {0: 101, 1: 120, 2: 120}])
    monkeypatch.setattr(pinning, "_idle", lambda: next(readings))
    assert quietest({0, 1, 2}) == [2, 1, 0]


def test_the_kernels_figures_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stat").write_text("cpu  9 9 9 99 0\ncpu0 1 2 3 40 5\ncpu1 1 2 3 59 5\nintr 7\n")
    monkeypatch.setattr(pinning, "STATISTICS", tmp_path / "stat")
    assert pinning._idle() == {0: 40, 1: 59}
    monkeypatch.setattr(pinning, "STATISTICS", tmp_path / "absent")
    assert pinning._idle() == {}


def test_where_nobody_may_choose_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned(1) as cores:
        assert cores is None


def test_where_it_is_forbidden_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    monkeypatch.setattr(pinning, "quietest", lambda allowed: [0])
    with pinned(1) as cores:
        assert cores is None


def test_a_core_that_went_offline_is_passed_over(three_cores: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    cores = Cores({0, 1, 2}, 1)
    keep = os.sched_setaffinity

    def gone(process: Any, chosen: Any) -> None:
        if chosen == [0]:
            raise OSError("Invalid argument")
        keep(process, chosen)

    monkeypatch.setattr(os, "sched_setaffinity", gone)
    cores.move_on()
    cores.move_on()
    assert cores.used == [1, 2]
