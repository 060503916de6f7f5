"""Which of the README's policies fit a board, and at which rate: each as a firmware, linked, and run in an emulator.

python docs/results/fit.py                          # an Arduino Uno and a Nano 33 BLE; two minutes
python docs/results/fit.py uno@100 mega pico        # BOARD, or BOARD@HZ

Writes docs/results/fit.json and prints its tables.
"""

import argparse
from pathlib import Path

from edgedqn.agents.files import read_json, write_json
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.cores.fit import FitTest
from edgedqn.benchmarks.report.table import fit_heading, fit_lines, markdown_table
from edgedqn.pipeline.devices.fitting import measure_fit

RESULTS = Path(__file__).with_suffix(".json")
POLICIES = Path(__file__).parent / "policies"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("boards", nargs="*", default=["uno@100", "nano33@100"], metavar="BOARD[@HZ]")
    files = {path.stem: path for path in sorted(POLICIES.glob("*.tflite"))}
    for asked in parser.parse_args().boards:
        board, _, rate = asked.partition("@")
        found = measure_fit(files, find_budget(board, float(rate) if rate else None))
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "boards": {}}
        results["boards"][asked] = found.to_json()
        write_json(RESULTS, results)
    for kept in read_json(RESULTS, 1)["boards"].values():
        test = FitTest.from_json(kept)
        print(f"{fit_heading(test)}\n\n{markdown_table(fit_lines(test), text=(1, 6))}\n")
