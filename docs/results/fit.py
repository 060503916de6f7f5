"""Which of the README's policies fit a board, and at which rate: each as a firmware, linked, and run in an emulator.

python docs/results/fit.py                          # an Arduino Uno and a Nano 33 BLE; two minutes
python docs/results/fit.py uno@100 mega pico        # BOARD, or BOARD@HZ
python docs/results/fit.py --search RUN             # on these boards, with the agent of a run, what `auto-int8` finds; minutes

Writes docs/results/fit.json and prints its tables.
"""

import argparse
import shutil
import tempfile
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.cores.budget import Budget, find_budget
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.report.table import fit_heading, fit_lines, markdown_table
from edgedqn.compression.report import StageReport
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.devices.fitting import measure_fit
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
POLICIES = Path(__file__).parent / "policies"
SEARCH = "auto-int8"
SHORT = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)  # what is timed here is not kept


def search(agent_of: Path, budget: Budget) -> dict[str, Any]:
    """What is kept of a search within a budget: the file that was found, what it takes, and the candidates. The run whose agent
    is taken stays as it is."""
    made = read_json(agent_of / "run.json", 1)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "run"
        shutil.copytree(agent_of, place)
        config = RunConfig(fit=budget, latency=SHORT)
        result = run(made["env_id"], out=place, seed=made["seed"], recipes=[SEARCH], config=config)
        (row,) = (each for each in result.benchmark["rows"] if each["name"] == SEARCH)
        (fit,) = (each for test in result.measured.fits for each in test.files if each.name == SEARCH)
        stages = [StageReport.from_json(each) for each in read_verified(place / row["file"]).evidence["recipe"]["stages"]]
        (found,) = (each.findings for each in stages if each.stage == "search")
        return {
            "environment": made["env_id"],
            "seed": made["seed"],
            **{key: row[key] for key in ("weights", "size_bytes", "return", "gate")},
            "ships": result.shipped is not None and result.shipped.name == SEARCH,
            "fit": fit.to_json(),
            "findings": found.to_json(),
        }


def searched_line(board: str, kept: dict[str, Any]) -> list[str]:
    """A line of the table of searches."""
    fit, tried = kept["fit"], kept["findings"].get("attempts", [])
    taken = [f"{fit[key]:,}" for key in ("flash_bytes", "ram_bytes", "cycles")]
    verdict = "yes" if fit["reason"] is None else "no"
    return [
        kept["environment"],
        board,
        f"{len(tried)}",
        f"{kept['weights']:,}",
        f"{kept['return']['mean']:.1f}",
        *taken,
        verdict,
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", default=["uno@100", "nano33@100"], metavar="BOARD[@HZ]")
    parser.add_argument(
        "--search", type=Path, metavar="RUN", help="search for a policy for these boards, with this run's agent"
    )
    arguments = parser.parse_args()
    files = {path.stem: path for path in sorted(POLICIES.glob("*.tflite"))}
    for asked in arguments.boards:
        board, _, rate = asked.partition("@")
        budget = find_budget(board, float(rate) if rate else None)
        found = measure_fit(files, budget).to_json() if arguments.search is None else search(arguments.search, budget)
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "boards": {}}
        results.setdefault("boards" if arguments.search is None else "searches", {})[asked] = found
        write_json(RESULTS, results)
    everything = read_json(RESULTS, 1)
    for kept in everything["boards"].values():
        test = FitTest.from_json(kept)
        print(f"{fit_heading(test)}\n\n{markdown_table(fit_lines(test), text=(1, 6))}\n")
    head = ["environment", "board", "candidates", "weights", "return", "flash", "RAM", "cycles", "fits"]
    print(markdown_table([head, *(searched_line(board, kept) for board, kept in everything.get("searches", {}).items())]))
