"""Rows: a failure ends one of them, or, on the baseline, all."""

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.rows import ROW_KEYS, BaselineError, Rows, best_passing, complete


def row(name, size, step, gate="pass"):
    return {"name": name, "size_bytes": size, "step_latency_us": {"p50": step}, "gate": gate}


def test_the_smallest_that_passed_ships_and_the_faster_of_two_alike():
    rows = [row("float32", 1, 1, None), row("big", 9, 1), row("slow", 5, 8), row("fast", 5, 7), row("lost", 2, 1, "fail")]
    assert best_passing(rows)["name"] == "fast"
    assert best_passing([*rows[:1], row("open", 2, 1, "undecided"), rows[-1]]) is None
    assert best_passing([]) is None


def test_the_baseline_comes_first_and_a_fault_ends_one_row():
    rows = Rows({"a": "a.tflite", "base": "base.tflite", "b": "b.tflite"}, "base")
    seen = []

    def measure(name):
        seen.append(name)
        if name == "a":
            raise ValueError("not\na policy")
        return {"weights": 3}

    rows.each(measure)
    rows.each(measure)
    assert seen == ["base", "a", "b", "base", "b"]
    assert list(rows.by_name) == ["a", "base", "b"]
    assert (rows.by_name["a"]["status"], rows.by_name["a"]["reason"]) == ("failed", "not a policy")
    assert rows.by_name["b"]["weights"] == 3
    assert all(tuple(found) == ROW_KEYS for found in rows.by_name.values())


def test_a_fault_of_the_baseline_ends_the_run_whoever_meets_it():
    def measure(name):
        if name == "base":
            raise OSError("gone")
        return {}

    with pytest.raises(InputError, match="The baseline base cannot be measured: gone"):
        Rows({"a": "a", "base": "b"}, "base").each(measure)

    def late(name):
        if name == "a":
            raise BaselineError("met while judging a")
        return {}

    with pytest.raises(BaselineError):
        Rows({"a": "a", "base": "b"}, "base").each(late)


def test_a_fault_of_ours_is_not_the_files():
    def measure(name):
        raise KeyError(name)

    with pytest.raises(KeyError):
        Rows({"base": "b"}, "base").each(measure)


def test_an_earlier_benchmark_is_completed_with_nothing():
    earlier = {"schema": 1, "rows": [{"name": "a", "size_bytes": 3}]}
    (row,) = complete(earlier)["rows"]
    assert list(row) == list(ROW_KEYS)
    assert (row["name"], row["size_bytes"], row["twin_step_speedup"]) == ("a", 3, None)
