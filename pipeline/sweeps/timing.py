"""How long the files of a front take: measured apart, when nobody works any more, one environment after the other."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.recipes import FLOAT32
from edgedqn.pipeline.bench_files import bench
from edgedqn.pipeline.sweeps.results import Proven


def timed(front: Sequence[Proven], folder: Path, *, config: LatencyConfig | None = None) -> tuple[Proven, ...]:
    """The files of a front, in the sweep's folder, with how long they take, each that of the first seed, in one run with its
    float32 file. What is like another file was tried twice, and takes as long."""
    files = {Path(each.files[0]).stem: folder / each.runs[0] / each.files[0] for each in front if each.files}
    if not files:
        return tuple(front)
    baseline = next(iter(files.values())).with_name(f"{FLOAT32.name}.tflite")
    rows = {row.name: row for row in bench([baseline, *files.values()], latency=config, play=False).rows}

    def with_time(each: Proven) -> Proven:
        row = rows.get(Path(each.files[0]).stem) if each.files else None
        if row is None or row.latency_us is None or row.step_speedup is None:
            return each
        return replace(each, latency_us=row.latency_us.p50, step_speedup=row.step_speedup.median)

    return tuple(map(with_time, front))
