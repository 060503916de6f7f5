"""The README's policies: of each environment, the smallest file that passed its gate, in docs/results/policies/, and what was
measured of it and of its rivals: `<environment>.benchmark.json` and, to be read, `<environment>.md`.

python docs/results/policies.py                       # about an hour; goes on where it stopped
python docs/results/policies.py CartPole-v1 --runs DIR

Leave the machine alone meanwhile: latency is measured. Trains the preset's agent of training seed 0, runs the recipes below,
and copies what was chosen for the device: the file, stripped, and its manifest beside it. The tests in
tests/export/device_lab/test_readme_policies.py run them on all that stands for a device.
"""

import argparse
import shutil
from pathlib import Path

from edgedqn.benchmarks.rows import Benchmark, best_passing
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.scripting import run

POLICIES = Path(__file__).with_suffix("")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
RECIPES = ("qat-int8", "shrink-qat-int8", "auto-int8")
SEED = 0


def line(env_id: str, benchmark: Benchmark) -> str:
    """What stands in docs/measured/latency.md of the best passing file."""
    row = best_passing(benchmark.rows)
    assert row is not None, f"{env_id}: no file passed"
    base = benchmark.row(benchmark.baseline)
    assert base is not None and base.episode_return is not None and row.return_delta is not None
    delta = row.return_delta
    difference = f"{delta.mean:+.1f} [{delta.low:+.1f}, {delta.high:+.1f}]"
    cells = [env_id, f"`{row.name}`", f"{base.episode_return.mean:.1f}", difference, f"{row.size_bytes:,}"]
    cells += [f"{each.latency_us.p50:.2f}" for each in (base, row) if each.latency_us is not None]
    cells += [f"{timed.ratio.median:.2f}x" for timed in row.timed.values() if timed.ratio is not None]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("env_ids", nargs="*", default=list(ENVIRONMENTS), metavar="ENV_ID", help="(all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/policies"), help="where run folders go (runs/policies)")
    arguments = parser.parse_args()
    POLICIES.mkdir(exist_ok=True)
    lines = []
    for env_id in arguments.env_ids:
        name = env_id.replace("/", "-")
        folder = arguments.runs / f"{name}-seed{SEED}"
        result = run(
            env_id, out=folder, seed=SEED, recipes=RECIPES, config=RunConfig(export=ExportConfig(strip=True, manifest="beside"))
        )
        for suffix in (".tflite", ".json"):
            shutil.copyfile(result.folder / "device" / f"policy{suffix}", POLICIES / f"{name}{suffix}")
        shutil.copyfile(result.folder / "benchmark.json", POLICIES / f"{name}.benchmark.json")
        shutil.copyfile(result.folder / "report.md", POLICIES / f"{name}.md")
        lines.append(line(env_id, result.measured))
    print("\n".join(lines))
