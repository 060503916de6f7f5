"""The same `.tflite` in TFLite Micro's real interpreter and in XNNPACK: do both act alike, and how much memory does TFLM need?

TFLM rounds twice where XNNPACK rounds once, so integer rows differ by a step here and there. What counts is the action.
"""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import python_command
from edgedqn.agents.training.bars import tqdm
from edgedqn.export.edge_policy import DeviceManifest

# The interpreter prints the sum to stderr, from C++, past sys.stderr: only another process's stderr can be read.
_PRINT_ALLOCATIONS = """
import sys
from tflite_micro import runtime
runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), arena_size=int(sys.argv[1])).print_allocations()
"""


class MicroUnavailableError(InputError):
    """TFLite Micro is not installed, or does not run such a file."""


@dataclass(frozen=True, kw_only=True)
class RuntimeAgreement:
    """How the rows of TFLM and of XNNPACK compare on the same int8 inputs.

    Attributes:
      observations: how many rows were compared.
      action_agreement: fraction whose actions are the same, the lowest index among equals in both.
      equal_rows: fraction whose whole rows are the same.
      largest_difference_steps: between two entries of a row, in steps of the output's scale.
      tie_rate: fraction in which XNNPACK's largest entry is not the only one.
      largest_gap_of_a_disagreement_steps: between XNNPACK's largest entry and its entry at TFLM's action, 0 without any.
      decided_disagreement: fraction whose actions differ by a gap of more than twice `tolerance_steps`; null without.
      tolerance_steps: that an entry may differ by; null where none is stated.
    """

    observations: int
    action_agreement: float
    equal_rows: float
    largest_difference_steps: int
    tie_rate: float
    largest_gap_of_a_disagreement_steps: int
    decided_disagreement: float | None
    tolerance_steps: float | None


class MicroInterpreter:
    """TFLite Micro's interpreter with those methods of ai-edge-litert's that `EdgePolicy` calls.

    Args:
      content: a `.tflite` with int8 input and output, of a static batch of 1.
    Raises:
      MicroUnavailableError: the extra `micro` is missing, or TFLM has no such operator.
    """

    def __init__(self, content: bytes) -> None:
        try:
            from tflite_micro import runtime
        except ImportError as error:
            raise MicroUnavailableError("TFLite Micro is not installed: pip install --pre 'edgedqn[micro]'.") from error
        with _refusal():
            self._interpreter = runtime.Interpreter.from_bytes(content, arena_size=_generous(content))
        self._input_shape = tuple(self._interpreter.get_input_details(0)["shape"])

    def get_input_details(self) -> list[dict[str, object]]:
        """Of the one input: `index`, `shape`, `dtype`."""
        return [self._interpreter.get_input_details(0) | {"index": 0}]

    def get_output_details(self) -> list[dict[str, object]]:
        """The same of the one output."""
        return [self._interpreter.get_output_details(0) | {"index": 0}]

    def set_tensor(self, index: int, value: NDArray[np.int8]) -> None:
        """Copies the input, as many numbers as the network takes."""
        self._interpreter.set_input(value.reshape(self._input_shape), index)

    def invoke(self) -> None:
        """Computes the output."""
        with _refusal():
            self._interpreter.invoke()

    def get_tensor(self, index: int) -> NDArray[np.int8]:
        """A copy of the output [1, A]."""
        row: NDArray[np.int8] = self._interpreter.get_output(index)
        return row


def int8_inputs(device: DeviceManifest, observations: NDArray[Any]) -> NDArray[np.int8]:
    """What a device feeds to a network with int8 input, [N, ...], of finite observations [N, ...] after all preprocessing."""
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    with np.errstate(over="ignore"):  # an infinity is what the clamp is for
        real = observations.astype(np.float32) * scale + offset
    return np.rint(np.clip(real, -128, 127)).astype(np.int8)


def tflm_rows(content: bytes, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """The output rows [N, A] of TFLM's interpreter.

    Args:
      content: as `MicroInterpreter`.
      inputs: int8 [N, ...], as many entries each as the network takes.
    Raises:
      MicroUnavailableError: as `MicroInterpreter`.
    """
    interpreter = MicroInterpreter(content)
    rows = []
    # Its kernels are plain loops: an image takes it up to a tenth of a second.
    for row in tqdm(inputs, desc="TFLite Micro", unit=" states", disable=None, leave=False, delay=1):
        interpreter.set_tensor(0, row)
        interpreter.invoke()
        rows.append(interpreter.get_tensor(0)[0])
    return np.array(rows, np.int8)  # [N, A]


def xnnpack_rows(content: bytes, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """The output rows [N, A] of ai-edge-litert with XNNPACK on. Arguments as `tflm_rows`."""
    interpreter = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
    rows = []
    for row in inputs:
        interpreter.set_tensor(source["index"], row.reshape(source["shape"]))
        interpreter.invoke()
        rows.append(interpreter.get_tensor(sink["index"])[0])
    return np.array(rows, np.int8)  # [N, A]


def compare_runtimes(content: bytes, inputs: NDArray[np.int8], *, tolerance_steps: float | None = None) -> RuntimeAgreement:
    """Runs both on the same inputs. Arguments and errors as `tflm_rows`; N is at least 1."""
    micro, board = tflm_rows(content, inputs).astype(np.int32), xnnpack_rows(content, inputs).astype(np.int32)  # [N, A]
    chosen, best = micro.argmax(1), board.max(1)  # [N], [N]
    gaps = best - np.take_along_axis(board, chosen[:, np.newaxis], 1)[:, 0]  # [N]
    disagree = chosen != board.argmax(1)  # [N]
    return RuntimeAgreement(
        observations=len(inputs),
        action_agreement=float(1 - disagree.mean()),
        equal_rows=float((micro == board).all(1).mean()),
        largest_difference_steps=int(np.abs(micro - board).max()),
        tie_rate=float(((board == best[:, np.newaxis]).sum(1) > 1).mean()),
        largest_gap_of_a_disagreement_steps=int(gaps[disagree].max(initial=0)),
        decided_disagreement=None if tolerance_steps is None else float((gaps > 2 * tolerance_steps).mean()),
        tolerance_steps=tolerance_steps,
    )


def arena_bytes(content: bytes) -> int:
    """What TFLM's interpreter holds in its tensor arena once the network is prepared, in bytes.

    Measured on this machine. Where pointers have 64 bits it is more than on a 32-bit microcontroller: the safe side.

    Raises:
      MicroUnavailableError: as `tflm_rows`.
    """
    command = python_command(_PRINT_ALLOCATIONS, str(_generous(content)))
    try:
        run = subprocess.run(command, input=content, capture_output=True, timeout=60, check=False)
    except subprocess.TimeoutExpired as error:
        raise MicroUnavailableError("TFLite Micro gave no arena size: expected it within 60 seconds. Got none.") from error
    printed = (run.stdout + run.stderr).decode("utf-8", "replace")
    total = re.search(r"Arena allocation total (\d+) bytes", printed)
    if run.returncode or total is None:
        raise MicroUnavailableError(
            f"TFLite Micro gave no arena size: expected its total. Got {' '.join(printed.split())[-200:]!r}."
        )
    return int(total[1])


@contextmanager
def _refusal() -> Iterator[None]:
    """MicroUnavailableError where TFLM refuses."""
    try:
        yield
    except RuntimeError as error:
        raise MicroUnavailableError(
            f"TFLite Micro cannot run this network: expected one it can prepare. Got {error}."
        ) from error


def _generous(content: bytes) -> int:
    # The interpreter's own guess, ten times the file, is too small for a tiny stripped network and needlessly large else.
    return 10 * len(content) + 100_000
