"""A file that does something else than its network must not be found by chance."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.tfmot import fake_quantization
from edgedqn.export import verify as verification
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.export.tflite import exported
from edgedqn.export.tflite_file import tflm
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, RuntimeAgreement, compare_runtimes
from edgedqn.export.verify import verify, verify_micro

Make = Callable[[Any], CompressedPolicy]


@pytest.fixture(scope="module")
def policy_for() -> Make:
    """A 4-16-2 policy, its two actions often far apart."""
    spec = EnvironmentSpec(
        source=EnvironmentSource("Test-v0"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,) * 4,
        observation_high=(None,) * 4,
        n_actions=2,
    )
    observations = np.random.default_rng(1).normal(size=(1_500, 4)).astype(np.float32)

    def make(conversion: Any) -> CompressedPolicy:
        plain = network = q_network((4,), 2, hidden=(16,), rng=np.random.default_rng(2))
        scaling = InputScaling.identity()
        if conversion == "qat-int8":
            scaling = InputScaling((0.25,), (0.0,), (-1.0, 1.0))
            network = fake_quantization.quantization_aware(plain, scaling.limits)
            fake_quantization.start_ranges(network, plain, inputs=[scaling(observations)])
            network(scaling(observations), training=True)
        return CompressedPolicy(
            network=network,
            conversion=conversion,
            scaling=scaling,
            meaning="q_values",
            spec=spec,
            observations=observations,
            recipe="x",
            reports=(),
            layers=describe(plain),
        )

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


@pytest.mark.parametrize("conversion", ["qat-int8", "ptq-int8"])
def test_tflite_micro_does_what_xnnpack_does(policy_for: Make, conversion: str) -> None:
    found = verify_micro(policy_for(conversion), exported(policy_for(conversion), ExportConfig(strip=True)))
    assert (found.observations, found.decided_disagreement) == (1_000, 0.0 if conversion == "qat-int8" else None)
    assert found.action_agreement > 0.98 and found.largest_difference_steps <= 4
    json.dumps(asdict(found), allow_nan=False)


def test_tflite_micro_gets_the_integers_that_a_device_gets(policy_for: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_for("qat-int8")
    file = exported(policy, ExportConfig())
    seen: list[Any] = []

    def remember(content: bytes, inputs: NDArray[np.int8], **settings: Any) -> RuntimeAgreement:
        seen.append(inputs)
        return compare_runtimes(content, inputs, **settings)

    monkeypatch.setattr(verification, "compare_runtimes", remember)
    verify_micro(policy, file)
    interpreter = Interpreter(model_content=file.content)
    interpreter.allocate_tensors()
    edge, source = EdgePolicy(interpreter, file.device), interpreter.get_input_details()[0]["index"]
    for observation, inputs in zip(policy.observations[:200], seen[0], strict=False):
        edge(observation)
        np.testing.assert_array_equal(interpreter.get_tensor(source)[0], inputs)


def test_a_file_on_which_the_runtimes_part_fails_in_one_line(policy_for: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = policy_for("qat-int8")
    monkeypatch.setattr(tflm, "tflm_rows", lambda content, inputs: ~tflm.xnnpack_rows(content, inputs))
    with pytest.raises(InputError, match=r"TFLite Micro does not do with the file of 'x' .* Got \d+\.\d%") as error:
        verify_micro(policy, exported(policy, ExportConfig()))
    assert "\n" not in str(error.value) and not isinstance(error.value, MicroUnavailableError)


@pytest.mark.parametrize("config", [ExportConfig(float_io=True), ExportConfig(output="action")])
def test_other_ends_are_not_for_tflite_micro(policy_for: Make, config: ExportConfig) -> None:
    policy = policy_for("qat-int8")
    with pytest.raises(MicroUnavailableError, match="Expected int8 input and output"):
        verify_micro(policy, exported(policy, config))


@pytest.mark.parametrize("conversion", ["float32", "qat-int8"])
@pytest.mark.parametrize("output", ["preferences", "action"])
def test_a_file_that_does_something_else_fails_in_one_line(policy_for: Make, conversion: str, output: Any) -> None:
    policy = policy_for(conversion)
    file = exported(policy, ExportConfig(output=output))
    turned = replace(file.device, scale=tuple(-v for v in file.device.scale))
    with pytest.raises(InputError, match=r"file of 'x' does not do what its network does: expected .* Got \d+\.\d%") as error:
        verify(policy, replace(file, device=turned))
    assert "\n" not in str(error.value)


def test_a_file_that_gives_the_action_has_no_ties_to_count(policy_for: Make) -> None:
    policy = policy_for("qat-int8")
    found = verify(policy, exported(policy, ExportConfig(output="action")))
    assert (found.ties, found.largest_difference_steps, found.decided_disagreement) == (None, None, 0.0)
    assert found.action_agreement > 0.98
