"""The README's policies, as libraries."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.export.devices.libraries.bundle import make_library
from edgedqn.export.edge_policy import Actions, DeviceManifest, TfliteModel, VerifiedFile, parse_step, read_verified
from edgedqn.export.tflite_file.manifest import embed
from edgedqn.export.tflite_file.reader import fix_names, quantization

POLICIES = Path(__file__).parents[4] / "docs" / "results" / "policies"


@pytest.fixture(scope="session")
def cartpole() -> Path:
    """A network of two Dense layers."""
    return POLICIES / "CartPole-v1.tflite"


@pytest.fixture(params=["CartPole-v1", "LunarLander-v3"])
def policy(request: pytest.FixtureRequest) -> Path:
    path: Path = POLICIES / f"{request.param}.tflite"
    return path


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Path, str], Path]:
    """Makes the library of a policy for an ecosystem, and gives its folder."""
    return lambda policy, ecosystem: make_library(policy, tmp_path / ecosystem, ecosystem, run="demo").folder


@pytest.fixture
def seen_as(network: Any, tmp_path: Path) -> Callable[..., VerifiedFile]:
    """A file whose network takes four numbers, with an observation of another shape and dtype, preprocessing, and actions."""

    def build(shape: tuple[int, ...], dtype: str, *steps: str, actions: Actions | None = None) -> VerifiedFile:
        content = fix_names(TfliteModel(network.int8), "preferences")
        given = quantization(TfliteModel(content).input)
        device = DeviceManifest(
            env_id="Test-v0",
            observation_shape=shape,
            observation_dtype=dtype,
            n_actions=2,
            actions=actions,
            preprocessing=tuple(map(parse_step, steps)),
            scale=(1 / given.scale,),
            offset=(given.zero_point,),
            meaning="preferences",
            recipe="test",
        )
        (tmp_path / "policy.tflite").write_bytes(embed(content, device))
        return read_verified(tmp_path / "policy.tflite")

    return build
