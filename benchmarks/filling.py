"""The rows of one run while they are filled, stage by stage."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from edgedqn.agents.errors import EnvironmentFaultError, InputError, one_line
from edgedqn.benchmarks.rows import BenchmarkRow

# What a file can do wrong while it is loaded, invoked or played. Anything else is a fault of ours for sure.
FILE_FAULTS = (ValueError, RuntimeError, OSError)


class BaselineError(InputError):
    """The baseline failed, so there is nothing to compare with."""


class Rows:
    """All rows of one run. A stage that fails on a file ends that file's row and no other; on the baseline, it ends the run.

    Attributes:
      baseline: the name of the baseline's row.
      by_name: the rows as far as they are filled.
    """

    def __init__(self, files: Mapping[str, str], baseline: str):
        """Makes empty rows of name -> `file`."""
        self.baseline = baseline
        self.by_name = {name: BenchmarkRow(name=name, file=file) for name, file in files.items()}

    def alive(self) -> list[str]:
        """The names of the rows that have not failed, the baseline first."""
        names = [name for name, row in self.by_name.items() if row.status == "ok"]
        return sorted(names, key=lambda name: name != self.baseline)

    def each(self, measure: Callable[[BenchmarkRow], BenchmarkRow]) -> None:
        """Replaces each living row by what `measure` makes of it; BaselineError: it could not measure the baseline."""
        for name in self.alive():
            try:
                self.by_name[name] = measure(self.by_name[name])
            except (BaselineError, EnvironmentFaultError):
                raise
            except FILE_FAULTS as error:
                self.fail(name, one_line(error))

    def fail(self, name: str, reason: str) -> None:
        """Ends a row; BaselineError: it is the baseline's."""
        if name == self.baseline:
            raise BaselineError(f"The baseline {name} cannot be measured: {reason}")
        self.by_name[name] = replace(self.by_name[name], status="failed", reason=reason, gate=None)
