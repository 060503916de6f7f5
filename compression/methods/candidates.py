"""What searches do with each candidate: round it, have it judged, and say what it is."""

from typing import Any

import numpy as np
import tf_keras

from edgedqn.compression.judge import Judgement
from edgedqn.compression.methods.quantization import QuantizeAware, judgement_of
from edgedqn.compression.networks import widths
from edgedqn.compression.student import Lesson, Student


def judged(candidate: Student, lesson: Lesson, quantize: QuantizeAware) -> tuple[Student, Judgement]:
    """Rounds a candidate and asks the judge how it plays. Returns it rounded, and what was said of it.

    Raises:
      InputError: there is no judge.
    """
    rounded, _ = quantize.apply(candidate, lesson)
    return rounded, judgement_of(rounded, lesson)


def described(network: tf_keras.Model) -> dict[str, Any]:
    """The widths of a plain network and the number of its weights, biases included, as they stand in a report."""
    filters, hidden = widths(network)
    return {"filters": list(filters), "hidden": list(hidden), "weights": sum(map(np.size, network.get_weights()))}
