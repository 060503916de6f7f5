"""What the Hugging Face Hub reads of a bundle, read by its own library."""

from dataclasses import replace
from pathlib import Path

import pytest

from edgedqn.export.devices.board.bundle import readme
from edgedqn.export.devices.model_card import front_matter
from edgedqn.export.edge_policy import read_verified

POLICY = Path(__file__).parents[3] / "docs" / "results" / "policies" / "CartPole-v1.tflite"
huggingface_hub = pytest.importorskip("huggingface_hub", reason="the extra `peers` is not installed")


def test_the_hub_knows_the_library_the_tags_and_the_proven_return() -> None:
    file = read_verified(POLICY)
    card = huggingface_hub.ModelCard(readme(file, has_twin=False))
    data = card.data
    assert (data.library_name, data.pipeline_tag) == ("edgedqn", "reinforcement-learning")
    assert {"reinforcement-learning", "int8", "CartPole-v1"} <= set(data.tags)
    (result,) = data.eval_results
    proven = file.evidence["benchmark"]["return"]
    assert (result.metric_type, result.metric_value) == ("mean_reward", pytest.approx(proven["mean"], abs=1e-4))
    assert (result.task_type, result.dataset_name) == ("reinforcement-learning", "CartPole-v1")
    assert f"{proven['episodes']:,} episodes" in result.metric_name
    assert card.text.lstrip().startswith("# A policy for CartPole-v1")


def test_what_was_not_measured_is_not_claimed_and_any_name_is_read_as_it_is() -> None:
    file = read_verified(POLICY)
    odd = replace(file.device, env_id='my: "own" #1', recipe="{a}")
    unproven = replace(file, device=odd, evidence={})
    data = huggingface_hub.ModelCard(front_matter(unproven)).data
    assert data.eval_results is None and 'my: "own" #1' in data.tags
    named = huggingface_hub.ModelCard(front_matter(replace(file, device=odd))).data
    assert named.model_name == '{a} for my: "own" #1' and named.eval_results[0].dataset_type == 'my: "own" #1'
