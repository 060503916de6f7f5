"""Fewer neurons, filters and layers: what is left is a smaller dense network, which every runtime makes faster."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.compression.folding import Weights
from edgedqn.compression.judge import Judgement
from edgedqn.compression.methods.candidates import described, judged
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.stages import Distil
from edgedqn.compression.networks import resized, widths
from edgedqn.compression.student import Lesson, Report, Student

MEASURED_STATES, MEASURED_NUMBERS = 4_096, 2**24  # at most; images fill the memory


@dataclass(frozen=True)
class Shrink:
    """Looks for the fewest neurons and filters with which the gate passes: removes some, teaches what is left, asks how that
    plays as int8, and tries fewer, or not so few.

    What never fires goes first, then what contributes least to the next layer per weight that it costs. What a removed neuron
    contributed is taken over by those that stay, as well as they can (least squares), before they learn.

    Attributes:
      least: neurons that each layer keeps, >= 1.
      attempts: how many candidates are judged at most. Each has as many neurons as the geometric mean of the fewest that passed
        and the most that failed ...
      precision: ... until those are no further apart than by this factor, > 1. A thinned network that stays undecided is taught
        once more, which is an attempt, too.
      remove_layers: try to do without a whole hidden layer, too, at the end.
      teaching: of each candidate; it is shown the states that there are already.
      quantizing: the candidate's, before it is judged. The last that passed is handed on as it was judged.
    Source: Su et al. (2024) on neurons without use in deep reinforcement learning; He et al. (2017), "Channel pruning", for
      least squares.
    """

    least: int = 2
    attempts: int = 8
    precision: float = 1.15
    remove_layers: bool = True
    teaching: Distil = Distil(
        Distillation(steps=3_000, batch_size=128, learning_rate=5e-3, final_learning_rate=1e-4), rounds=1, student_states=4_000
    )
    quantizing: Distillation = Distillation(steps=3_000, batch_size=128, learning_rate=2e-3)
    name: ClassVar[str] = "shrink"
    rounds_to_int8: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if min(self.least, self.attempts) < 1:
            raise InputError(f"Expected least and attempts of 1 or more. Got {self.least} and {self.attempts}.")
        if not self.precision > 1:
            raise InputError(f"Expected a precision above 1: a factor. Got {self.precision}.")

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        if student.meaning != "preferences":
            raise InputError(
                "Candidates are taught the teacher's preferences. Expected a distil stage before shrink. Got none."
            )
        if any(layer.activation.__name__ != "relu" for layer in _hidden(student.network)):
            raise InputError("shrink understands hidden layers with ReLU alone. Got one without.")
        before = _neurons(student.network)
        kept = student
        rounded: Student | None = None
        attempts: list[dict[str, Any]] = []

        def judgement_on(network: tf_keras.Model) -> Judgement:
            nonlocal kept, rounded
            label = f"shrink to {' x '.join(map(str, sum(widths(network), ())))}"
            candidate, _ = self.teaching.teach(replace(kept, network=network), lesson, label)
            int8, judgement = judged(candidate, lesson, QuantizeAware(self.quantizing))
            attempts.append({**described(candidate.network), **judgement.to_json()})
            if judgement.verdict == "pass":
                kept, rounded = candidate, int8
            return judgement

        fewest = sum(min(self.least, width) for width in sum(widths(student.network), ()))
        failing = fewest - 1  # at most so many neurons are known not to do, or not allowed
        pointless = False  # nothing can be lost, so nothing proven
        while len(attempts) < self.attempts and not pointless:
            passing = _neurons(kept.network)
            goal = max(fewest, round(math.sqrt(max(failing, 1) * passing)))
            if not failing < goal < passing or passing <= self.precision * failing:
                break
            network = self._thinned(kept, goal)
            judgement = judgement_on(network)
            pointless = judgement.nothing_to_lose
            if judgement.verdict == "undecided" and not pointless and len(attempts) < self.attempts:
                judgement = judgement_on(network)  # as good as the allowed loss: other minibatches decide
            if judgement.verdict != "pass":
                failing = max(goal, _neurons(network))
        skipped = []
        if self.remove_layers and len(attempts) >= self.attempts and len(widths(kept.network)[1]) > 1:
            skipped.append(f"doing without a layer: {self.attempts} candidates were judged before")
        while self.remove_layers and not pointless and len(attempts) < self.attempts and len(widths(kept.network)[1]) > 1:
            if judgement_on(_without_a_layer(kept)).verdict != "pass":
                break
        passed = rounded is not None
        if rounded is None:
            skipped.append("the gate: no smaller network passed it, so what is handed on is as large as before, and unjudged")
            rounded, _ = QuantizeAware(self.quantizing).apply(kept, lesson)
        after = _neurons(kept.network)
        report = {
            "neurons_before": before,
            "neurons_after": after,
            "neurons_removed": 1 - after / before if before else 0.0,
            **described(kept.network),
            "passed": passed,
            "skipped": skipped,
            "attempts": attempts,
        }
        return rounded, report

    def _thinned(self, student: Student, neurons: int) -> tf_keras.Model:
        """With so many of its neurons, the most useful ones; with fewer where others are of no use at all."""
        layers = _hidden(student.network)
        x = student.scaling(_sample(student.states))
        saliency = _saliency(student.network, x)
        costs = [_weights_of_a_neuron(student.network, i) for i in range(len(layers))]
        gone = _useless(saliency, costs, neurons, self.least)
        return _keeping(student.network, [sorted(set(range(len(s))) - g) for s, g in zip(saliency, gone, strict=True)], x)


def _neurons(network: tf_keras.Model) -> int:
    """Of all hidden layers, filters included."""
    return sum(map(sum, widths(network)))


def _hidden(network: tf_keras.Model) -> list[tf_keras.layers.Layer]:
    return [layer for layer in network.layers if layer.weights][:-1]


def _sample(states: NDArray[Any]) -> NDArray[Any]:
    most = max(1, min(MEASURED_STATES, MEASURED_NUMBERS // states[0].size))
    return states[:: -(-len(states) // most)]


def _activations(network: tf_keras.Model, x: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Of each hidden layer: [N, ..., width]."""
    outputs = [layer.output for layer in _hidden(network)]
    if outputs:
        found = tf_keras.Model(network.input, outputs)(x)
        yield from (np.asarray(output) for output in (found if isinstance(found, list) else [found]))


def _saliency(network: tf_keras.Model, x: NDArray[np.float32]) -> list[NDArray[np.float64]]:
    """Of each neuron or filter, layer by layer: its share of the variance that its layer hands on; 0 where it never moves.

    What is constant costs nothing to remove: it goes into the next layer's bias.
    """
    kernels = network.get_weights()[::2]
    result = []
    for i, activation in enumerate(_activations(network, x)):
        width = activation.shape[-1]
        following = kernels[i + 1]  # [in, out], [h, w, in, out], or [positions * in, out] behind a Flatten
        axes = (0, 1, 3) if following.ndim == 4 else (0, 2)
        strength = np.square(following if following.ndim == 4 else following.reshape(-1, width, following.shape[-1]))
        variance = activation.reshape(-1, width).var(axis=0, dtype=np.float64)
        energy = variance * strength.sum(axis=axes, dtype=np.float64)  # [width]
        result.append(energy / max(energy.sum(), 1e-30))
    return result


def _useless(saliency: list[NDArray[np.float64]], costs: list[int], neurons: int, least: int) -> list[set[int]]:
    """Which neurons of each layer go, until so many are left: those of the least saliency per weight, and whatever has none."""
    ranked = sorted((score / costs[i], i, j) for i, scores in enumerate(saliency) for j, score in enumerate(scores))
    gone: list[set[int]] = [set() for _ in saliency]
    for score, i, j in ranked:
        if len(ranked) - sum(map(len, gone)) <= neurons and score > 0:
            break
        if len(saliency[i]) - len(gone[i]) > least:
            gone[i].add(j)
    return gone


def _weights_of_a_neuron(network: tf_keras.Model, index: int) -> int:
    kernels = network.get_weights()[::2]
    own, following = kernels[index], kernels[index + 1]
    return own.size // own.shape[-1] + following.size // own.shape[-1]


def _keeping(network: tf_keras.Model, kept: list[list[int]], x: NDArray[np.float32]) -> tf_keras.Model:
    """The network of these neurons of each hidden layer alone; each next dense layer makes up for the others on x [N, ...]."""
    weights = network.get_weights()
    for i, (activation, columns) in enumerate(zip(_activations(network, x), kept, strict=True)):
        kernel, bias, following, following_bias = weights[2 * i : 2 * i + 4]
        width = kernel.shape[-1]
        if following.ndim == 2 and following.shape[0] == width:
            weights[2 * i + 2 : 2 * i + 4] = _refitted(activation.reshape(-1, width), columns, following, following_bias)
        else:
            # What always comes of the filters that go is the next layer's bias. Behind a Flatten, channels are innermost.
            outputs = following.shape[-1]
            rows = following.reshape(-1, width, outputs)  # [positions or window, width, out]
            gone = sorted(set(range(width)) - set(columns))
            means = activation.mean(axis=0) if following.ndim == 2 else activation.mean(axis=(0, 1, 2))
            means = np.broadcast_to(means.reshape(-1, width), rows.shape[:2])
            weights[2 * i + 3] = following_bias + np.einsum("pw,pwo->o", means[:, gone], rows[:, gone])
            kept_rows = rows[:, columns]
            shape = (*following.shape[:2], len(columns), outputs) if following.ndim == 4 else (-1, outputs)
            weights[2 * i + 2] = kept_rows.reshape(shape)
        weights[2 * i : 2 * i + 2] = [kernel[..., columns], bias[columns]]
    filters, hidden = widths(network)
    counts = [len(columns) for columns in kept]
    smaller = resized(network, counts[: len(filters)], counts[len(filters) : len(filters) + len(hidden)])
    smaller.set_weights(weights)
    return smaller


def _refitted(
    activation: NDArray[np.float32], columns: list[int], kernel: NDArray[np.float32], bias: NDArray[np.float32]
) -> Weights:
    """The kernel and bias with which a layer gives from some columns of [N, in] what it gave from all, as nearly as it can."""
    return _least_squares(activation[:, columns], activation @ kernel + bias)


def _without_a_layer(student: Student) -> tf_keras.Model:
    """Without the hidden dense layer that a linear map replaces best."""
    network = student.network
    x = student.scaling(_sample(student.states))
    filters, hidden = widths(network)
    dense = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.Dense)]
    best: tuple[float, int, Weights] | None = None
    for i in range(len(hidden)):
        entering = tf_keras.Model(network.input, dense[i].input)(x).numpy()  # [N, in]
        kernel, bias = dense[i + 1].get_weights()
        wanted = tf_keras.Model(network.input, dense[i].output)(x).numpy() @ kernel + bias  # [N, out]
        bridge = _least_squares(entering, wanted)
        error = float(np.square(entering @ bridge[0] + bridge[1] - wanted).mean() / max(wanted.var(), 1e-30))
        if best is None or error < best[0]:
            best = (error, i, bridge)
    assert best is not None
    _, index, bridge = best
    smaller = resized(network, filters, [*hidden[:index], *hidden[index + 1 :]])
    first = 2 * (len(filters) + index)
    weights = network.get_weights()
    smaller.set_weights([*weights[:first], *bridge, *weights[first + 4 :]])
    return smaller


def _least_squares(x: NDArray[np.float32], wanted: NDArray[np.float32], ridge: float = 1e-4) -> Weights:
    """[N, in], [N, out] -> kernel [in, out] and bias [out]."""
    extended = np.column_stack([x, np.ones(len(x))]).astype(np.float64)  # [N, in + 1]
    gram = extended.T @ extended
    gram += ridge * np.trace(gram) / len(gram) * np.eye(len(gram))
    solution = np.linalg.solve(gram, extended.T @ wanted).astype(np.float32)  # [in + 1, out]
    return [solution[:-1], solution[-1]]
