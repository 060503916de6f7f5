"""The rows of `benchmark.json`: one per policy file, filled stage by stage."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.latency.interleaved import FILE_FAULTS, one_line

# fmt: off
ROW_KEYS = (
    "name", "file", "sha256", "recipe", "target", "status", "reason",
    "size_bytes", "gzip_bytes", "stripped_bytes", "weights", "nonzero_weights", "distinct_values", "multiply_accumulates",
    "arena_bytes", "resident_bytes", "delegation",
    "latency_us", "step_latency_us", "twin_step_latency_us", "cold_start_us", "mlperf_latency_us",
    "speedup", "step_speedup", "twin_step_speedup",
    "return", "return_delta", "action_agreement", "gap_weighted_agreement", "tie_rate",
    "output_range", "gate",
)
# fmt: on

Row = dict[str, Any]


def complete(benchmark: dict[str, Any]) -> dict[str, Any]:
    """The object of an earlier version's `benchmark.json` with what it did not measure, as null."""
    empty = dict.fromkeys(ROW_KEYS)
    return {**benchmark, "rows": [{**empty, **row} for row in benchmark["rows"]]}


class BaselineError(InputError):
    """The baseline failed, so there is nothing to compare with."""


class Rows:
    """All rows of one run. A stage that fails on a file ends that file's row and no other; on the baseline, it ends the run.

    Attributes:
      baseline: the name of the baseline's row.
      by_name: the rows, each with exactly `ROW_KEYS`.
    """

    def __init__(self, files: Mapping[str, str], baseline: str):
        """Makes empty rows.

        Args:
          files: name -> `file` of each row.
          baseline: one of the names.
        """
        empty: Row = dict.fromkeys(ROW_KEYS)
        self.baseline = baseline
        self.by_name = {name: {**empty, "name": name, "file": file, "status": "ok"} for name, file in files.items()}

    def alive(self) -> list[str]:
        """The names of the rows that have not failed, the baseline first."""
        names = [name for name, row in self.by_name.items() if row["status"] == "ok"]
        return sorted(names, key=lambda name: name != self.baseline)

    def each(self, measure: Callable[[str], Row]) -> None:
        """Adds to each living row what `measure` finds of it.

        Raises:
          BaselineError: the baseline could not be measured.
        """
        for name in self.alive():
            try:
                self.by_name[name].update(measure(name))
            except BaselineError:
                raise
            except FILE_FAULTS as error:
                self.fail(name, one_line(error))

    def fail(self, name: str, reason: str) -> None:
        """Ends a row.

        Raises:
          BaselineError: it is the baseline's.
        """
        if name == self.baseline:
            raise BaselineError(f"The baseline {name} cannot be measured: {reason}")
        self.by_name[name].update(status="failed", reason=reason, gate=None)


def best_passing(rows: Sequence[Row]) -> Row | None:
    """The row to ship: the smallest file that passed its gate, among equals the one with the fastest step, or None."""
    passed = [row for row in rows if row["gate"] == "pass"]
    return min(passed, key=lambda row: (row["size_bytes"], row["step_latency_us"]["p50"]), default=None)
