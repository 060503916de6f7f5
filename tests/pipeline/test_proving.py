"""What proves a file was seen by nothing that made it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from edgedqn.agents.noninferiority import Gate
from edgedqn.agents.presets import TrainingConfig
from edgedqn.pipeline.native import quiet
from edgedqn.pipeline.proving import STATES, prove_observations, prove_play
from edgedqn.pipeline.run import Job, RunResult
from edgedqn.pipeline.seeds import BLOCK, STREAMS, SeedStreams


@pytest.fixture
def reset_seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every seed that CartPole is reset with, in this process."""
    seen: list[int] = []
    reset = CartPoleEnv.reset

    def spy(self: gymnasium.Env[Any, Any], *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        assert seed is not None, "an episode that depends on the one before"
        seen.append(seed)
        return reset(self, seed=seed, options=options)  # type: ignore[arg-type]

    monkeypatch.setattr(CartPoleEnv, "reset", spy)
    yield seen


def streams_of(seeds: list[int]) -> set[str]:
    return {STREAMS[seed // BLOCK] for seed in seeds}


def test_nothing_before_the_bench_sees_a_prove_seed(
    reset_seeds: list[int], tiny_training: TrainingConfig, tmp_path: Path
) -> None:
    job = Job.create("CartPole-v1", tmp_path / "run", training=tiny_training, recipes=["qat-int8"])
    with job.locked(), quiet():
        job.do(("train",))
        assert streams_of(reset_seeds) == {"train", "select", "calibrate"}
        reset_seeds.clear()
        job.do(("compress", "export"))
    assert streams_of(reset_seeds) == {"calibrate"}


def test_agreement_and_gate_are_measured_on_prove_seeds_alone(reset_seeds: list[int], tiny_run: RunResult) -> None:
    streams = SeedStreams(0)
    observations = prove_observations(tiny_run.folder / "models" / "float32.tflite", "CartPole-v1", streams)
    assert observations.shape == (STATES, 4) and observations.dtype == np.float32
    assert streams_of(reset_seeds) == {"prove"}
    play = prove_play("CartPole-v1", streams, Gate(looks=(300, 600)))
    assert streams_of(list(play.seeds)) == {"prove"} and len(play.seeds) == 600
