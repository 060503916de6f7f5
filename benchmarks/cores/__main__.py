"""What the C files of a bundle cost on each core, as a table or as JSON."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.core import CORES, Core
from edgedqn.benchmarks.cores.footprint import HEADINGS, INPUT, NETWORK, Footprint, measure
from edgedqn.benchmarks.report.table import markdown_table


def main(arguments: Sequence[str] | None = None) -> None:
    """Prints a line per core; of a core that has no figures, why: its tools are not installed, or the chip is too small."""
    parser = argparse.ArgumentParser(
        prog="python -m edgedqn.benchmarks.cores",
        description="What a policy's policy.c and policy_io.c cost on emulated cores.",
    )
    parser.add_argument("folder", type=Path, help=f"with {NETWORK}, {INPUT} and what they include")
    names = ", ".join(CORES)
    parser.add_argument("--core", nargs="+", choices=CORES, default=list(CORES), metavar="NAME", help=f"{names} (all)")
    parser.add_argument("--json", action="store_true", help="print one object in place of the table")
    options = parser.parse_args(arguments)
    if not (options.folder / NETWORK).exists():
        parser.error(f"No {NETWORK} in {options.folder}: expected the folder microcontroller/ of a bundle that has one.")
    found = {name: footprint_or_reason(CORES[name], options.folder) for name in options.core}
    if options.json:
        entries = {name: {"reason": each} if isinstance(each, str) else asdict(each) for name, each in found.items()}
        print(json.dumps({"schema": 1, "cores": entries}, indent=2))
    else:
        print(table(found))


def footprint_or_reason(core: Core, folder: Path) -> Footprint | str:
    """What `measure` finds, or its complaint."""
    try:
        return measure(core, folder)
    except (InputError, RuntimeError) as error:
        return str(error)


def table(found: dict[str, Footprint | str]) -> str:
    """A Markdown table: a core each, with what it counts, and sizes in bytes."""
    lines = [["core", *HEADINGS, "counted"]]
    for name, each in found.items():
        cells = [each, *["-"] * (len(HEADINGS) - 1)] if isinstance(each, str) else each.cells()
        lines.append([name, *cells, CORES[name].unit or "-"])
    return markdown_table(lines)


if __name__ == "__main__":
    main()
