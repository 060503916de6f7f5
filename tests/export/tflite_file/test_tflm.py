import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")

from edgedqn.agents.errors import InputError
from edgedqn.export.tflite_file import tflm
from edgedqn.export.tflite_file.tflm import arena_bytes, compare_runtimes, tflm_rows, xnnpack_rows


def test_trained_policies_act_alike_in_both_runtimes(trained: Any) -> None:
    content = trained.path.read_bytes()
    found = compare_runtimes(content, trained.inputs)
    assert found.observations == 1_000
    # Where they act differently, XNNPACK's own gap is no larger than what two roundings can move apart.
    assert found.largest_gap_of_a_disagreement_steps <= 2 * found.largest_difference_steps
    # What was converted without training ties in many states, where a step decides.
    assert found.action_agreement >= (0.99 if trained.path.stem == "qat-int8" else 0.95)


def test_the_figures_are_counted_row_by_row(monkeypatch: pytest.MonkeyPatch) -> None:
    micro = np.array([[1, 2], [5, 5], [9, 3], [0, 4]], np.int8)
    board = np.array([[1, 2], [5, 6], [9, 9], [3, 0]], np.int8)
    monkeypatch.setattr(tflm, "tflm_rows", lambda content, inputs: micro)
    monkeypatch.setattr(tflm, "xnnpack_rows", lambda content, inputs: board)
    found = compare_runtimes(b"", np.zeros((4, 1), np.int8))
    assert found == tflm.RuntimeAgreement(
        observations=4,
        action_agreement=0.5,
        equal_rows=0.25,
        largest_difference_steps=6,
        tie_rate=0.25,
        largest_gap_of_a_disagreement_steps=3,
        decided_disagreement=None,
        tolerance_steps=None,
    )
    tolerant, strict = (compare_runtimes(b"", np.zeros((4, 1), np.int8), tolerance_steps=steps) for steps in (1.5, 1.0))
    assert (tolerant.decided_disagreement, strict.decided_disagreement) == (0.0, 0.25)  # of a gap of 3


def test_both_runtimes_are_asked(network: Any) -> None:
    """With the same inputs rows differ by a rounding, and only by that."""
    inputs = np.random.default_rng(0).integers(-128, 128, (2_000, 4)).astype(np.int8)
    micro, board = tflm_rows(network.int8, inputs), xnnpack_rows(network.int8, inputs)
    assert 1 <= np.abs(micro.astype(int) - board.astype(int)).max() <= 2


def test_says_what_is_missing(network: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tflite_micro", None)
    with pytest.raises(InputError, match="not installed"):
        tflm_rows(network.int8, np.zeros((1, 4), np.int8))


def test_no_network_has_no_arena() -> None:
    with pytest.raises(InputError, match="no arena size"):
        arena_bytes(b"no flatbuffer at all" * 10)
