from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.playing import play_on, policy_on
from edgedqn.benchmarks.cores.stepping import build_stepping
from edgedqn.export.edge_policy import EdgePolicy

UNO = CORES["atmega328p"]
pytestmark = pytest.mark.skipif(bool(missing_tools(UNO)), reason=f"not installed: {missing_tools(UNO)}")


@pytest.mark.parametrize(("name", "episodes", "least"), [("CartPole-v1", 3, 500.0), ("LunarLander-v3", 2, 0.0)])
def test_an_uno_plays_whole_episodes_as_tflite_micro_does(
    name: str, episodes: int, least: float, sources_of: Any, readme_policies: Path, tmp_path: Path
) -> None:
    policy = sources_of(readme_policies / f"{name}.tflite")
    program, seeds = build_stepping(UNO, policy.folder, tmp_path), range(40, 40 + episodes)
    with closing(make_environment(name)) as env:
        played = play_on(UNO, program, file=policy.file, env=env, seeds=seeds)
        here = evaluate(EdgePolicy.load(policy.file.path), env, seeds=seeds)
    assert min(played.scored.returns) >= least and played.scored.env_steps == len(played.steps.actions)
    assert played.wrong == 0
    # Two runtimes that act alike play the same episodes.
    assert played.rounded_otherwise or played.scored == here
    assert played.steps.units.max() < 100_000


def test_a_core_that_ends_gives_no_action(sources_of: Any, readme_policies: Path, tmp_path: Path) -> None:
    policy = sources_of(readme_policies / "CartPole-v1.tflite")
    with policy_on(UNO, build_stepping(UNO, policy.folder, tmp_path)) as act:
        assert act(np.zeros(4, np.float32)) in (0, 1)
        with pytest.raises(RuntimeError, match=r"atmega328p: expected an action within 60 s\."):
            act(np.full(4, np.nan, np.float32))
    assert len(act.observations) == len(act.lines) == 1
