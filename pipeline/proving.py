"""How files are played to prove them: in episodes that nothing earlier has seen. Needs no TensorFlow."""

import os
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.environments import make_environment
from edgedqn.agents.noninferiority import Gate
from edgedqn.agents.observations import gather_observations
from edgedqn.benchmarks.playing import Play
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.seeds import SeedStreams

STATES = 10_000


def prove_observations(baseline: Path, env_id: str, streams: SeedStreams) -> NDArray[np.float32]:
    """float32 [10,000, F]: the states the float file visits on the `prove` seeds, for agreement, ties and timing."""
    env = make_environment(env_id)
    try:
        return gather_observations(EdgePolicy.load(baseline), env, streams.reset_seeds("prove"), STATES)
    finally:
        env.close()


def prove_play(env_id: str, streams: SeedStreams, gate: Gate) -> Play:
    """The gate on the `prove` seeds, with a process per processor."""
    return Play(
        partial(make_environment, env_id),
        streams.first_reset_seeds("prove", gate.looks[-1]),
        gate,
        random_seed=int(streams.rng("prove", "random policy").integers(2**31)),
        workers=os.cpu_count() or 1,
    )
