"""One small real run, made once, and the command line as a user calls it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.scripting import run

TINY = TrainingConfig(
    steps=3_000, hidden=(16, 16), batch_size=32, learning_rate=2e-3, evaluation_interval=1_000, evaluation_episodes=2
)
SHORT = LatencyConfig(blocks=4, invokes_per_block=50, patience_s=0)

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny_training() -> TrainingConfig:
    """A small network and little training."""
    return TINY


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """CartPole-v1 through all stages, with a small network and little training. Read only."""
    config = RunConfig(training=TINY, latency=SHORT)
    out = tmp_path_factory.mktemp("runs") / "tiny"
    return run("CartPole-v1", out=out, recipes=["qat-int8", "prune-qat-int8"], config=config)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """A Ray cluster of two nodes of one core each, on this machine."""
    utils = pytest.importorskip("ray.cluster_utils")
    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    started = utils.Cluster(initialize_head=True, head_node_args=node)
    started.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield started
    started.shutdown()


@pytest.fixture
def edgedqn(tmp_path: Path) -> CommandLine:
    """Runs `edgedqn ARGUMENT ...` in an empty folder, with a cache that nothing was ever fetched into."""

    def call(*arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        code = "from edgedqn.pipeline.cli import console; console()"
        # As an installed script has it, the current folder is not on the path (-P).
        command = [sys.executable, "-P", "-c", code, *map(str, arguments)]
        environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=timeout, check=False
        )

    return call
