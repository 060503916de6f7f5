"""Fine-tuning measures: it improves on held-out states, or says that nothing does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.decisions import DecisionTuning, _divergence
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.stage import CompressionContext, Student
from edgedqn.compression.tfmot.fake_quantization import settle

pytestmark = pytest.mark.usefixtures("without_xla")
QUICK = DecisionTuning(rates=(1e-4, 1e-3), steps=50, patience=1, most_steps=100, batch_size=32)


@pytest.fixture
def rounded(beginning: tuple[Student, CompressionContext]) -> tuple[Student, CompressionContext]:
    """Nothing trained."""
    student, context = beginning
    student, _ = ScaleInput().apply(student, context)
    found, _ = Quantize(("round",), states=500).apply(student, context)
    return found, context


def test_the_divergence_is_that_of_the_two_policies_and_sees_no_common_value() -> None:
    rng = np.random.default_rng(0)
    output, target = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=(5, 3)).astype(np.float32)
    p, q = (np.exp(x) / np.exp(x).sum(axis=1, keepdims=True) for x in (target, output))
    np.testing.assert_allclose(_divergence(output, target), (p * np.log(p / q)).sum(axis=1), rtol=1e-4)
    np.testing.assert_allclose(_divergence(output + 3, target - 2), _divergence(output, target), rtol=1e-4)
    assert np.abs(_divergence(target, target)).max() < 1e-6


def test_what_was_spoiled_is_mended(rounded: tuple[Student, CompressionContext]) -> None:
    student, context = rounded
    assert student.quantized is not None
    states = context.teacher.observations
    spoiled = settle(student.quantized, student.network, per_output=student.per_output)
    rng = np.random.default_rng(1)
    noisy: list[Any] = [w + rng.normal(0, 0.1, w.shape) if w.ndim == 2 else w for w in student.quantized.get_weights()]
    spoiled.set_weights(noisy)
    student = replace(student, quantized=spoiled)
    before = spoiled.get_weights()
    tuned = QUICK.tune(student, states, context=context)
    assert tuned is not None
    wanted = context.teacher.policy.actions(states)
    spec = context.teacher.spec
    agreements = [(each.as_policy(spec).actions(states) == wanted).mean() for each in (student, tuned)]
    assert agreements[1] > agreements[0]
    for array, kept in zip(spoiled.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_where_no_learning_rate_improves_that_is_said(rounded: tuple[Student, CompressionContext]) -> None:
    student, context = rounded
    reckless = replace(QUICK, rates=(10.0,))
    assert reckless.tune(student, context.teacher.observations, context=context) is None


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"steps": 0}, "steps, patience, most_steps and batch_size of 1 or more"),
        ({"rates": ()}, "learning rates above 0"),
        ({"rates": (0.0,)}, "learning rates above 0"),
        ({"temperature": 0.0}, "temperature above 0"),
    ],
)
def test_refuses_what_tunes_nothing(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        DecisionTuning(**settings)
