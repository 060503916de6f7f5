"""What README's policies take on an NPU, and what zeros and clusters bring there: Vela's estimates for int8 files.

python docs/results/npu.py                # docs/results/policies
python docs/results/npu.py RUN ...        # edgedqn run CartPole-v1 --recipes ptq-int8 qat-int8 prune-qat-int8 ... --out RUN

For each int8 file, of a run or of docs/results/policies: its zeros and its distinct weights, what remains of the weights once
Vela has compressed them, and the cycles of a step on an Ethos-U55-128 where weights stream from flash (Shared_Sram, Vela's
default) and where they lie in SRAM (Sram_Only). Nothing of it is measured on a device. Writes docs/results/npu.json and prints
the tables of docs/deploy/npu.md.
"""

import argparse
from dataclasses import asdict
from pathlib import Path

import numpy as np

from edgedqn.agents.files import read_json, write_json
from edgedqn.export.devices.npu import NpuTarget, compile_for_npu
from edgedqn.export.edge_policy import read_verified
from edgedqn.export.tflite_file.reader import kernels

RESULTS = Path(__file__).with_suffix(".json")
ACCELERATOR = "ethos-u55-128"
MODES = {"flash": "Shared_Sram", "sram": "Sram_Only"}


def measure(folder: Path) -> list[dict[str, object]]:
    """The rows of a folder's int8 files, the slowest from flash first."""
    rows: list[dict[str, object]] = []
    for path in sorted(folder.glob("*.tflite")):
        file = read_verified(path)
        if file.model.input.dtype != "int8":
            continue
        found = kernels(file.model)
        weights, nonzero = (sum(getattr(each, name) for each in found) for name in ("weights", "nonzero_weights"))
        rows.append(
            {
                "name": path.stem,
                "sha256": file.file_sha256,
                "weights": weights,
                "zeros": 1 - nonzero / weights,
                "distinct_weights": len(np.unique(np.concatenate([each.values.ravel() for each in found]))),
                "estimates": {
                    name: asdict(compile_for_npu(file.content, NpuTarget(ACCELERATOR, mode))[1]) for name, mode in MODES.items()
                },
            }
        )
    return sorted(rows, key=lambda row: -row["estimates"]["flash"]["cycles"])  # type: ignore[index]


def table(rows: list[dict[str, object]]) -> str:
    """In Markdown; ratios are against the file without zeros, `qat-int8`, where that is among them."""
    base = next((row for row in rows if row["name"] == "qat-int8"), None)
    lines = [
        "| file | weights | zeros | distinct | weights on the NPU, bytes | cycles, from flash | cycles, in SRAM |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        flash, sram = (
            f"{cycles:,}" + (f" ({base['estimates'][name]['cycles'] / cycles:.2f}x)" if base else "")  # type: ignore[index]
            for name in MODES
            if (cycles := row["estimates"][name]["cycles"])  # type: ignore[index]
        )
        lines.append(
            f"| `{row['name']}` | {row['weights']:,} | {row['zeros']:.0%} | {row['distinct_weights']} "
            f"| {row['estimates']['flash']['weight_bytes']:,} | {flash} | {sram} |"  # type: ignore[index]
        )
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders with the recipe qat-int8")
    results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "environments": {}}
    runs = parser.parse_args().runs
    if not runs:
        rows = results["policies"] = measure(Path(__file__).parent / "policies")
        print(table(rows), flush=True)
    for run in runs:
        env_id = read_json(run / "run.json", 1)["env_id"]
        rows = results["environments"][env_id] = measure(run / "models")
        print(f"{env_id}\n\n{table(rows)}\n", flush=True)
    write_json(RESULTS, results)
