"""What a policy was shown, for a page to show it again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedqn.export.edge_policy import ACTION_MASK, FLATTEN, EdgePolicy, read_verified
from edgedqn.pipeline.viewing import recording
from edgedqn.pipeline.viewing.recording import LONGEST, recorded

BREAKOUT = Path(__file__).parents[3] / "docs" / "results" / "policies" / "MinAtar-Breakout-v1.tflite"
pytestmark = pytest.mark.skipif(not BREAKOUT.exists(), reason="the wheel has no docs; the checkout's suite runs this")


def test_an_episode_is_kept_as_bytes_with_what_the_policy_did() -> None:
    file = read_verified(BREAKOUT)
    found = recorded(file)
    assert found is not None and found.observations.dtype == np.uint8
    assert found.observations.shape == (len(found.actions), 10, 10, 4) and 10 < len(found.actions) <= LONGEST
    policy = EdgePolicy.load(BREAKOUT)
    assert found.actions == [policy(each.astype(bool)) for each in found.observations]
    assert len(set(found.actions)) > 1


@pytest.mark.parametrize(
    "made",
    [
        {"id": "MinAtar/Breakout-v1", "wrappers": ["nowhere:Wrapper"]},
        {"id": "MinAtar/Breakout-v1", "arguments": {"inner": {"env_id": "nowhere:Game-v0"}}},
    ],
)
def test_nothing_is_made_where_a_sidecar_names_a_module(made: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "make_environment", lambda _: pytest.fail("made"))
    file = read_verified(BREAKOUT)
    assert recorded(replace(file, evidence={**file.evidence, "environment": made})) is None


@pytest.mark.parametrize("env_id", ["os:MinAtar/Breakout-v1", "MinAtar/Nowhere-v1", "MinAtar/Asterix-v1"])
def test_nothing_is_kept_where_the_environment_is_not_the_files_own_or_names_a_module(env_id: str) -> None:
    file = read_verified(BREAKOUT)
    assert recorded(replace(file, device=replace(file.device, env_id=env_id))) is None


def test_nothing_is_played_where_legal_actions_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording, "make_environment", lambda _: pytest.fail("played"))
    file = read_verified(BREAKOUT)
    told = replace(file.device, preprocessing=(FLATTEN, ACTION_MASK))
    assert recorded(replace(file, device=told)) is None


def test_nothing_is_kept_of_vectors() -> None:
    assert recorded(read_verified(BREAKOUT.with_name("CartPole-v1.tflite"))) is None
