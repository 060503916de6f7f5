"""`bench` of .tflite files, and how a benchmark is printed. Needs no TensorFlow."""

import json
from argparse import Namespace
from functools import reduce

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.device_rows import merged, read_device
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.regression import compare_with
from edgedqn.benchmarks.report.table import render_devices, render_table
from edgedqn.benchmarks.rows import Benchmark, read_benchmark
from edgedqn.pipeline.bench_files import bench as measure
from edgedqn.pipeline.exit_codes import DONE, REGRESSED


def bench(arguments: Namespace) -> int:
    """Measures files that are in no run."""
    earlier = read_references(arguments)
    benchmark = measure(
        arguments.paths,
        baseline=arguments.baseline,
        env=arguments.env,
        seed=arguments.seed or 0,
        latency=LatencyConfig(threads=arguments.threads or 1, xnnpack=not arguments.no_xnnpack, mlperf=arguments.mlperf),
        play=not arguments.no_play,
        tolerance=arguments.tolerance,
    )
    regressed = print_benchmark(reduce(merged, arguments.merge, benchmark), arguments, earlier)
    return REGRESSED if regressed else DONE


def read_references(arguments: Namespace) -> Benchmark | None:
    """The earlier benchmark, read before it may be written anew; what is damaged is refused before minutes are measured.

    Raises:
      InputError: a file is damaged, or a regression is asked for against nothing.
    """
    if arguments.fail_on_regression and arguments.against is None:
        raise InputError("A regression is against something. Expected --against beside --fail-on-regression. Got none.")
    earlier = None if arguments.against is None else read_benchmark(arguments.against)
    for path in arguments.merge:
        read_device(path)
    return earlier


def print_benchmark(benchmark: Benchmark, arguments: Namespace, earlier: Benchmark | None) -> bool:
    """Prints it; returns whether the command is to end as one that found a regression."""
    against = None if earlier is None else compare_with(earlier, benchmark)
    if arguments.json:
        print(json.dumps(benchmark.to_json() | ({"against": against.to_json()} if against else {})))
    else:
        print(render_table(benchmark.rows))
        if devices := render_devices(benchmark):
            print(f"\n{devices}")
        if against:
            print(f"\n{against.render(arguments.against)}")
    return bool(arguments.fail_on_regression and against and against.regressions)
