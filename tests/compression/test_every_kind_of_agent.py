"""From any kind of agent to a file that a device plays: a table, a CNN, every head, stacked images of bytes."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.spec import OneHot, format_steps
from edgedqn.compression.compress import compress
from edgedqn.compression.methods import reinforcement
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.streaming import Stream
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.export.tflite import to_tflite

SHORT = Distillation(steps=150, learning_rate=2e-3)
DISTIL = Distil(learning=SHORT, greedy_states=600, explored_states=300, rounds=0)
LEARNING = TdLearning(steps=50, learning_starts=50, batch_size=8, evaluations=1, evaluation_episodes=2, learning_rate=1e-5)
SEEDS = range(900, 912)
pytestmark = pytest.mark.filterwarnings("ignore:The agent for:UserWarning")  # it has learned nothing


def actions_of(policy: Any, env: gymnasium.Env[Any, Any]) -> list[list[int]]:
    """What it does in each episode, from its first observation to its last."""
    episodes = []
    for seed in SEEDS:
        observation, _ = env.reset(seed=seed)
        if hasattr(policy, "reset"):
            policy.reset()
        actions: list[int] = []
        over = False
        while not over and len(actions) < 200:
            actions.append(policy(observation))
            observation, _, terminated, truncated, _ = env.step(actions[-1])
            over = terminated or truncated
        episodes.append(actions)
    return episodes


@pytest.fixture
def make(tmp_path: Path, case: Any) -> Iterator[Any]:
    """Compresses, saves, loads, exports and loads again, as a run does."""

    def by(recipe: Recipe) -> tuple[CompressedPolicy, EdgePolicy]:
        policy = compress(case.agent, recipe, env=case.env, reset_seeds=itertools.count(1_000), rng=np.random.default_rng(5))
        policy.save(tmp_path / recipe.name)
        content = to_tflite(CompressedPolicy.load(tmp_path / recipe.name))
        assert content == to_tflite(policy)
        (tmp_path / f"{recipe.name}.tflite").write_bytes(content)
        return policy, EdgePolicy.load(tmp_path / f"{recipe.name}.tflite")

    yield by


def agreement(case: Any, edge: EdgePolicy) -> float:
    states = case.agent.observations[:500]
    chosen = [int(edge.preferences(state).argmax()) for state in states]
    return float((case.agent.policy.actions(states) == chosen).mean())


def test_the_float_file_on_a_device_plays_as_the_agent_in_training(case: Any, make: Any) -> None:
    _, edge = make(FLOAT32)
    expected = actions_of(case.agent.policy, case.env)
    assert len({action for episode in expected for action in episode}) > 1
    assert actions_of(edge, case.device_env) == expected


def test_the_naive_file_plays(case: Any, make: Any) -> None:
    policy, edge = make(RECIPES["ptq-int8"])
    assert edge.output_meaning == policy.meaning == "q_values"
    assert agreement(case, edge) > 0.7
    assert len(actions_of(edge, case.device_env)) == len(SEEDS)


def test_the_trained_file_plays(case: Any, make: Any) -> None:
    policy, edge = make(Recipe("tiny-qat", "", (ScaleInput(), DISTIL, QuantizeAware(SHORT)), "qat-int8"))
    assert edge.output_meaning == policy.meaning == "preferences"
    assert list(map(str, edge.device.preprocessing)) == format_steps(case.agent.spec.preprocessing)
    assert agreement(case, edge) > 0.8
    assert len(actions_of(edge, case.device_env)) == len(SEEDS)


def test_the_streamed_file_plays(case: Any, make: Any) -> None:
    stream = Stream(rates=(2e-3,), look=150, patience=1, most_states=1_000, first_states=600, held_out_episodes=3)
    recipe = Recipe("tiny-stream", "", (ScaleInput(), stream, Quantize(("round",), states=500)), "qat-int8")
    if OneHot() in case.agent.spec.preprocessing:
        with pytest.raises(InputError, match="states of a table do not follow from one another"):
            make(recipe)
        return
    _, edge = make(recipe)
    assert agreement(case, edge) > 0.8
    assert len(actions_of(edge, case.device_env)) == len(SEEDS)


def test_the_file_that_learned_by_playing_rounded_plays(case: Any, make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reinforcement, "make_environment", lambda _: case.device_env)
    _, edge = make(Recipe("tiny-td", "", (ScaleInput(), QuantizeAware(LEARNING)), "qat-int8"))
    assert edge.output_meaning == "preferences"
    assert agreement(case, edge) > 0.8
    assert len(actions_of(edge, case.device_env)) == len(SEEDS)


def test_the_pruned_file_plays_and_keeps_its_zeros(case: Any, make: Any) -> None:
    stages = (ScaleInput(), DISTIL, Prune(0.5, learning=SHORT), QuantizeAware(SHORT))
    policy, edge = make(Recipe("tiny-pruned", "", stages, "qat-int8"))
    (said,) = [report.findings for report in policy.reports if report.stage == "prune"]
    learned = [variable.numpy() for variable in policy.network.trainable_variables if len(variable.shape) > 1]
    for kernel, reached in zip(learned, said.sparsity_reached, strict=True):
        assert (kernel == 0).mean() >= reached - 1e-6
    assert agreement(case, edge) > 0.6
    assert len(actions_of(edge, case.device_env)) == len(SEEDS)
