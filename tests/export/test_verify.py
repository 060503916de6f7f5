"""A file that does something else than its network must not be found by chance."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.environments import EnvironmentSpec
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import mlp
from edgedqn.compression import tfmot
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.config import ExportConfig
from edgedqn.export.tflite import exported
from edgedqn.export.verify import verify

Make = Callable[[Any], CompressedPolicy]


@pytest.fixture(scope="module")
def policy_for() -> Make:
    """A 4-16-2 policy, its two actions often far apart."""
    spec = EnvironmentSpec("Test-v0", (4,), "float32", (None,) * 4, (None,) * 4, 2)
    observations = np.random.default_rng(1).normal(size=(1_500, 4)).astype(np.float32)

    def make(conversion: Any) -> CompressedPolicy:
        plain = network = mlp((4,), 2, (16,), np.random.default_rng(2))
        scaling = InputScaling.identity()
        if conversion == "qat-int8":
            scaling = InputScaling((0.25,), (0.0,), (-1.0, 1.0))
            network = tfmot.quantization_aware(plain, scaling.limits)
            tfmot.start_ranges(network, plain, [scaling(observations)])
            network(scaling(observations), training=True)
        return CompressedPolicy(network, conversion, scaling, "q_values", spec, observations, "x", (), describe(plain))

    return make


@pytest.mark.parametrize("config", [ExportConfig(), ExportConfig(True, "beside", float_io=True)], ids=["integer", "float"])
@pytest.mark.parametrize(("conversion", "largest"), [("float32", 0.01), ("float16", 1), ("qat-int8", 2.5)])
def test_a_good_file_is_told_how_good_it_is(policy_for: Make, conversion: str, largest: float, config: ExportConfig) -> None:
    policy = policy_for(conversion)
    found = verify(policy, exported(policy, config))
    assert (found.against, found.states, found.decided_disagreement) == ("keras", 1_000, 0.0)
    assert found.action_agreement > 0.98
    assert found.largest_difference_steps is not None
    assert found.largest_difference_steps <= largest
    assert found.ties is not None
    assert (found.ties > 0) == (conversion == "qat-int8")
    json.dumps(asdict(found), allow_nan=False)


def test_what_the_naive_conversion_loses_is_told_and_no_failure(policy_for: Make) -> None:
    found = verify(policy_for("ptq-int8"), exported(policy_for("ptq-int8"), ExportConfig()))
    assert (found.decided_disagreement, found.tolerance_steps) == (None, None)
    assert 0.5 < found.action_agreement <= 1


@pytest.mark.parametrize("conversion", ["float32", "qat-int8"])
@pytest.mark.parametrize("output", ["preferences", "action"])
def test_a_file_that_does_something_else_fails_in_one_line(policy_for: Make, conversion: str, output: Any) -> None:
    policy = policy_for(conversion)
    file = exported(policy, ExportConfig(output=output))
    turned = {**file.device, "input": {**file.device["input"], "scale": [-v for v in file.device["input"]["scale"]]}}
    with pytest.raises(InputError, match=r"file of 'x' does not do what its network does: expected .* Got \d+\.\d%") as error:
        verify(policy, replace(file, device=turned))
    assert "\n" not in str(error.value)


def test_a_file_that_gives_the_action_has_no_ties_to_count(policy_for: Make) -> None:
    policy = policy_for("qat-int8")
    found = verify(policy, exported(policy, ExportConfig(output="action")))
    assert (found.ties, found.largest_difference_steps, found.decided_disagreement) == (None, None, 0.0)
    assert found.action_agreement > 0.98
