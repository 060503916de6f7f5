"""What is timed of each file of a comparison, and that one which cannot be timed ends its own row alone."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.benchmarks.filling import BaselineError, Rows
from edgedqn.benchmarks.latency import timed_policies, timing
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.timing import time_files
from edgedqn.benchmarks.latency.windows import time_windows
from edgedqn.benchmarks.rows import Ratio
from edgedqn.export.edge_policy import VerifiedFile, read_verified

QUICK = LatencyConfig(blocks=4, invokes_per_block=5, patience_s=0)


def timed(models: Path, names: Any, config: Any = QUICK, observations: Any = None, baseline: str = "float32") -> Any:
    rows = Rows(dict.fromkeys(names, ""), baseline)
    files = {name: read_verified(models / f"{name}.tflite") for name in names}
    time_files(rows, files, observations=observations, config=config, rng=np.random.default_rng(0), progress=False)
    return rows.by_name


def test_every_file_has_its_latencies_and_ratios(models: Path) -> None:
    rows = timed(models, ["float32", "int8"])
    for row in rows.values():
        assert all(latency.p50 > 0 for latency in (row.latency_us, row.step_latency_us, row.cold_start_us))
        assert row.mlperf_latency_us is None
    assert rows["float32"].speedup == rows["float32"].step_speedup == Ratio(1.0, 1.0, 1.0)
    assert rows["int8"].cold_start_us.n == QUICK.blocks


def test_a_file_with_integer_ends_is_stepped_through_its_twin_too(models: Path) -> None:
    rows = timed(models, ["float32", "int8"])
    assert rows["float32"].twin_step_latency_us is rows["float32"].twin_step_speedup is None
    assert rows["int8"].twin_step_latency_us.n == 20
    assert rows["int8"].twin_step_speedup.median > 0


@pytest.mark.parametrize("broken", ["int8", "float32"])
def test_a_twin_that_does_not_run_costs_its_row_its_own_figures_alone(
    models: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    in_twins = [False]

    def twins(files: Any) -> dict[str, Any]:
        in_twins[0] = True
        return {"int8": files["int8"]}

    def steps(file: VerifiedFile, observations: Any, *, config: LatencyConfig, twin: Any = None) -> Any:
        name = file.device.recipe
        factory = timed_policies.steps(file, observations, config=config)
        if not in_twins[0] or name != names[broken]:
            return factory

        def crash() -> None:
            raise RuntimeError("node 3 failed to invoke")

        return crash

    names = {name: read_verified(models / f"{name}.tflite").device.recipe for name in ("float32", "int8")}
    monkeypatch.setattr(timing, "_twins", twins)
    monkeypatch.setattr(timing, "steps", steps)
    rows = timed(models, ["float32", "int8"])
    assert [row.status for row in rows.values()] == ["ok", "ok"]
    assert rows["int8"].twin_step_latency_us is rows["int8"].twin_step_speedup is None
    assert rows["int8"].step_latency_us and rows["int8"].cold_start_us


def test_mlperfs_windows_and_other_kernels_where_they_are_asked_for(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "time_windows", partial(time_windows, window_s=0.01))
    for row in timed(models, ["float32", "int8"], replace(QUICK, mlperf=True, xnnpack=False)).values():
        assert len(row.mlperf_latency_us.windows_us) == 5
        assert row.delegation.xnnpack == 0


def test_what_cannot_be_timed_ends_its_row_and_the_baselines_ends_all(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BaselineError, match="NaN"):
        timed(models, ["nan"], baseline="nan")
    rows = timed(models, ["float32", "nan"])
    assert (rows["float32"].status, rows["nan"].status) == ("ok", "failed")
    assert "NaN" in rows["nan"].reason
    assert rows["nan"].latency_us is None
