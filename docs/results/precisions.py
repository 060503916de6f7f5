"""What each number format keeps and costs: the table of docs/measured/precision.md.

python docs/results/precisions.py --seeds 0         # about a minute per environment, its training not counted

float32, float16, int8 weights alone, int8 throughout by the naive and by our way, int8 with a float output, int16 activations;
and small weights set to zero, where the subject starts. Writes docs/results/precisions.json. Latency is measured here, so leave
the machine alone meanwhile. Run folders may be shared with docs/results/compression.py.
"""

from pathlib import Path
from typing import Any

from each_run import each_run

from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult

RESULTS = Path(__file__).with_suffix(".json")
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
RECIPES = ("threshold", "float16", "dynamic", "ptq-int8", "qat-int8", "qat-float-output", "int16x8")
KEPT = ("name", "return", "gate", "gap_weighted_agreement", "tie_rate", "size_bytes", "gzip_bytes", "latency_us", "speedup")


def summarize(result: RunResult, seed: int) -> list[dict[str, Any]]:
    """What is kept of their rows."""
    return [{key: row[key] for key in KEPT} for row in result.benchmark["rows"]]


if __name__ == "__main__":
    each_run(
        __doc__,
        dict.fromkeys(ENVIRONMENTS, RECIPES),
        RESULTS,
        summarize,
        RunConfig(export=ExportConfig(strip=True, manifest="beside")),
    )
