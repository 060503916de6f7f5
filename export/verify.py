"""Whether a file does what its network does, at every export: Keras against XNNPACK, and that against TFLite Micro."""

from dataclasses import dataclass
from importlib import metadata

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from edgedqn.agents.errors import InputError
from edgedqn.compression.folding import in_batches
from edgedqn.compression.policy import CompressedPolicy, Conversion
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.export.tflite import Exported
from edgedqn.export.tflite_file.reader import quantization
from edgedqn.export.tflite_file.tflm import MicroUnavailableError, RuntimeAgreement, compare_runtimes, int8_inputs

STATES = 1_000
# How far two runtimes' outputs may lie apart, in int8 steps. Float sums in another order, or float16 weights, move an output by
# a fraction of one. Quantization-aware networks round in Keras, too: a hidden value on a half may fall to the other side, a few
# do in one state. The others round only in the file; what that costs is theirs to lose, and the gate's to judge.
TOLERANCE_STEPS: dict[Conversion, float] = {"float32": 0.5, "float16": 4, "qat-int8": 8, "qat-int8-float-output": 8}
MOST_DECIDED = 0.01  # of the states: one in a hundred may be odd, an exporter's mistake is in most of them


@dataclass(frozen=True, kw_only=True)
class Verification:
    """Keras and the file on the same on-policy states, 0 to 1 where a share of them.

    Attributes:
      against: what the file was compared with.
      runtime: that ran the file, with its version.
      states: how many.
      action_agreement: both choose the same action.
      decided_disagreement: they do not, and in Keras the two actions are further apart than both outputs' tolerances; null
        where none is stated.
      ties: the file's largest output is not unique; null for a file whose output is the action.
      largest_difference_steps: of any output; null likewise. A step is that of the int8 output, elsewhere 1/255 of the range
        of Keras' outputs.
      tolerance_steps: of one output; null where rounding is the file's own, and the gate judges it.
    """

    against: str
    runtime: str
    states: int
    action_agreement: float
    decided_disagreement: float | None
    ties: float | None
    largest_difference_steps: float | None
    tolerance_steps: float | None


def verify(policy: CompressedPolicy, file: Exported) -> Verification:
    """Plays the policy's first 1,000 on-policy states, at least one, through its network and through a file made of it.

    Raises:
      InputError: in more than 1 % of the states the actions differ beyond the stated tolerance, or an output is not finite.
      RuntimeError: XNNPACK does not take the file.
    """
    observations = policy.observations[:STATES]
    batches = map(policy.scaling, in_batches(observations))
    outputs = [policy.network(inputs, training=False).numpy() for inputs in batches]
    expected = np.concatenate(outputs).astype(np.float64)  # [N, A]
    interpreter = Interpreter(model_content=file.content, num_threads=1)
    interpreter.allocate_tensors()
    edge = EdgePolicy(interpreter, file.device)
    rows = np.array([edge.preferences(observation) for observation in observations], np.float64)  # [N, A]
    chosen, best = rows.argmax(axis=1), expected.argmax(axis=1)  # [N]
    if not np.isfinite(rows).all():
        raise InputError(f"The file of {policy.recipe!r} computes numbers that are not finite: expected others on all states.")
    output = quantization(file.model.output)
    step = output.scale if file.model.output.dtype == "int8" else float(np.ptp(expected)) / 255 or 1.0
    tolerance = TOLERANCE_STEPS.get(policy.conversion)
    each = np.arange(len(rows))
    lost_steps = (expected[each, best] - expected[each, chosen]) / step  # [N], by Keras
    ranks = edge.output_meaning != "action"
    found = Verification(
        against="keras",
        runtime=f"ai-edge-litert {metadata.version('ai-edge-litert')}, XNNPACK",
        states=len(rows),
        action_agreement=float((chosen == best).mean()),
        decided_disagreement=None if tolerance is None else float((lost_steps > 2 * tolerance).mean()),
        ties=float(((rows == rows.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean()) if ranks else None,
        largest_difference_steps=float(np.abs((rows - output.zero_point) * output.scale - expected).max() / step)
        if ranks
        else None,
        tolerance_steps=tolerance,
    )
    _check(found, f"The file of {policy.recipe!r} does not do what its network does")
    return found


def verify_micro(policy: CompressedPolicy, file: Exported) -> RuntimeAgreement:
    """Plays the same states through the file in XNNPACK and in TFLite Micro.

    Raises:
      InputError: in more than 1 % of the states the actions differ beyond the stated tolerance.
      MicroUnavailableError: the file has no integer ends, TFLite Micro lacks an operator of it, or is not installed.
    """
    ends = (file.model.input.dtype, file.model.output.dtype)
    if ends != ("int8", "int8"):
        raise MicroUnavailableError(f"Expected int8 input and output for TFLite Micro. Got {' and '.join(ends)}.")
    tolerance = TOLERANCE_STEPS.get(policy.conversion)
    found = compare_runtimes(file.content, int8_inputs(file.device, policy.observations[:STATES]), tolerance_steps=tolerance)
    _check(found, f"TFLite Micro does not do with the file of {policy.recipe!r} what XNNPACK does")
    return found


def _check(found: Verification | RuntimeAgreement, fault: str) -> None:
    if found.tolerance_steps is not None and (found.decided_disagreement or 0) > MOST_DECIDED:
        raise InputError(
            f"{fault}: expected other actions, worse by more than {2 * found.tolerance_steps:g} steps, in at most "
            f"{MOST_DECIDED:.0%} of the states. Got {found.decided_disagreement:.1%}."
        )
