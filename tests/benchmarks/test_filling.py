"""Rows: a failure ends one of them, or, on the baseline, all."""

from dataclasses import replace

import pytest

from edgedqn.agents.errors import EnvironmentFaultError, InputError
from edgedqn.benchmarks.filling import BaselineError, Rows
from edgedqn.benchmarks.rows import BenchmarkRow


def test_the_baseline_comes_first_and_a_fault_ends_one_row() -> None:
    rows = Rows({"a": "a.tflite", "base": "base.tflite", "b": "b.tflite"}, "base")
    seen = []

    def measure(row: BenchmarkRow) -> BenchmarkRow:
        seen.append(row.name)
        if row.name == "a":
            raise ValueError("not\na policy")
        return replace(row, weights=3)

    rows.each(measure)
    rows.each(measure)
    assert seen == ["base", "a", "b", "base", "b"]
    assert list(rows.by_name) == ["a", "base", "b"]
    assert (rows.by_name["a"].status, rows.by_name["a"].reason) == ("failed", "not a policy")
    assert rows.by_name["b"].weights == 3


def test_a_fault_of_the_baseline_ends_the_run_whoever_meets_it() -> None:
    def measure(row: BenchmarkRow) -> BenchmarkRow:
        if row.name == "base":
            raise OSError("gone")
        return row

    with pytest.raises(InputError, match="The baseline base cannot be measured: gone"):
        Rows({"a": "a", "base": "b"}, "base").each(measure)

    def late(row: BenchmarkRow) -> BenchmarkRow:
        if row.name == "a":
            raise BaselineError("met while judging a")
        return row

    with pytest.raises(BaselineError):
        Rows({"a": "a", "base": "b"}, "base").each(late)


@pytest.mark.parametrize("fault", [KeyError, EnvironmentFaultError], ids=["ours", "the environment's"])
def test_a_fault_of_others_is_not_the_files(fault: type[Exception]) -> None:
    def measure(row: BenchmarkRow) -> BenchmarkRow:
        raise fault(row.name)

    with pytest.raises(fault):
        Rows({"base": "b"}, "base").each(measure)
