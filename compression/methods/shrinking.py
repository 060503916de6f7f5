"""Fewer neurons, filters and layers: what is left is a smaller dense network, which every runtime makes faster."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.compression.folding import Weights, kernels_of, solve_ridge
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.ladder import SMALL_STUDENT, Quantize, judgement_of
from edgedqn.compression.networks import resized, size_of, widths
from edgedqn.compression.policy import Meaning
from edgedqn.compression.report import Attempt, Findings, Judgement
from edgedqn.compression.stage import CompressionContext, Stage, Student

MEASURED_STATES, MEASURED_NUMBERS = 4_096, 2**24  # at most; images fill the memory


@dataclass(frozen=True, kw_only=True)
class Shrink(Stage):
    """Looks for the fewest neurons and filters with which the gate passes: removes some, trains what is left, has it played as
    int8, and tries fewer, or not so few.

    What never fires is removed first, then what contributes least to the next layer per weight that it costs. The neurons that
    stay take over what the removed ones contributed, by least squares, before training.

    Attributes:
      least: neurons that each layer keeps, >= 1.
      attempts: how many candidates are judged at most. Each has as many neurons as the geometric mean of the fewest that passed
        and the most that failed ...
      precision: ... until those are no further apart than by this factor, > 1. A candidate with fewer neurons that is undecided
        is trained and judged once more, which is another attempt.
      remove_layers: at the end, try to do without a whole hidden layer, too.
      teaching: the training of each candidate, on the states that the student has.
      quantizing: the candidate's, before it is judged. The last that passed is returned as it was judged.
    Source: Su et al. (2024) on neurons without use in deep reinforcement learning; He et al. (2017), "Channel pruning", for
      least squares.
    """

    least: int = 2
    attempts: int = 8
    precision: float = 1.15
    remove_layers: bool = True
    teaching: Distil = Distil(
        learning=Distillation(steps=3_000, batch_size=128, learning_rate=5e-3, final_learning_rate=1e-4),
        rounds=1,
        student_states=4_000,
    )
    quantizing: Quantize = SMALL_STUDENT
    name: ClassVar[str] = "shrink"
    meaning: ClassVar[Meaning] = "preferences"  # of the output after it
    rounds_to_int8: ClassVar[bool] = True
    asks_gate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        given = f"{self.least} and {self.attempts}"
        require(min(self.least, self.attempts) >= 1, f"Expected least and attempts of 1 or more. Got {given}.")
        require(self.precision > 1, f"Expected a precision above 1: a factor. Got {self.precision}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        expected = "Candidates are distilled on the teacher's preferences. Expected a distil stage before shrink."
        require(student.meaning == "preferences", f"{expected} Got none.")
        relu = all(layer.activation.__name__ == "relu" for layer in _hidden(student.network))
        require(relu, "shrink understands hidden layers with ReLU alone. Got one without.")
        trials = _Trials(self, student, context=context)
        self._remove_neurons(trials)
        skipped = self._remove_layers(trials)
        rounded, kept = trials.rounded, trials.kept
        if rounded is None:
            skipped.append("the gate: no smaller network passed it, so what is handed on is as large as before, and unjudged")
            rounded, _ = self.quantizing.apply(kept, replace(context, judge=None))
        before, after = _neurons(student.network), _neurons(kept.network)
        passing = [i for i, attempt in enumerate(trials.attempts) if attempt.judgement.verdict == "pass"]
        return rounded, Findings(
            neurons_before=before,
            neurons_after=after,
            neurons_removed=1 - after / before if before else 0.0,
            size=size_of(kept.network),
            passed=bool(passing),
            chosen=passing[-1] if passing else None,
            skipped=tuple(skipped),
            attempts=tuple(trials.attempts),
        )

    def _remove_neurons(self, trials: "_Trials") -> None:
        """By bisection between the fewest neurons that passed and the most that failed."""
        fewest = sum(min(self.least, width) for width in sum(widths(trials.kept.network), ()))
        failing = fewest - 1  # so many neurons failed, or are not allowed
        while trials.may_go_on:
            passing = _neurons(trials.kept.network)
            goal = max(fewest, round(math.sqrt(max(failing, 1) * passing)))
            if not failing < goal < passing or passing <= self.precision * failing:
                return
            network = self._thinned(trials.kept, goal)
            verdict = trials.judge(network).verdict
            if verdict == "undecided" and trials.may_go_on:
                verdict = trials.judge(network).verdict  # it loses about what is allowed: other minibatches decide
            if verdict != "pass":
                failing = max(goal, _neurons(network))

    def _remove_layers(self, trials: "_Trials") -> list[str]:
        """Hidden dense layers, one at a time, until one is needed; returns what was skipped."""
        if not self.remove_layers or len(widths(trials.kept.network)[1]) <= 1:
            return []
        if len(trials.attempts) >= self.attempts:
            return [f"doing without a layer: {self.attempts} candidates were judged before"]
        while trials.may_go_on and len(widths(trials.kept.network)[1]) > 1:
            if trials.judge(_without_a_layer(trials.kept)).verdict != "pass":
                break
        return []

    def _thinned(self, student: Student, neurons: int) -> tf_keras.Model:
        """With so many of its neurons, the most useful ones; with fewer where others are of no use at all."""
        x = student.scaling(_sample(student.states))
        saliency = _saliency(student.network, x)
        kernels = itertools.pairwise(kernels_of(student.network))
        costs = [(own.size + following.size) // own.shape[-1] for own, following in kernels]  # weights of a neuron
        gone = _useless(saliency, costs, neurons=neurons, least=self.least)
        return _keeping(student.network, [sorted(set(range(len(s))) - g) for s, g in zip(saliency, gone, strict=True)], x)


class _Trials:
    """The candidates judged so far."""

    def __init__(self, stage: Shrink, student: Student, *, context: CompressionContext):
        self._stage, self._context = stage, context
        self.kept = student  # the smallest that passed, in float; the first one before any did
        self.rounded: Student | None = None  # the same as it was judged; None before any passed
        self.attempts: list[Attempt] = []

    @property
    def may_go_on(self) -> bool:
        """Whether attempts are left, and judging more can change anything."""
        pointless = bool(self.attempts) and self.attempts[-1].judgement.agent_is_no_better_than_random
        return not pointless and len(self.attempts) < self._stage.attempts

    def judge(self, network: tf_keras.Model) -> Judgement:
        """Trains a candidate of this network, rounds it, has it played, and keeps it if it passed."""
        label = f"shrink to {' x '.join(map(str, sum(widths(network), ())))}"
        candidate, _ = self._stage.teaching.train(replace(self.kept, network=network), self._context, label=label)
        rounded, findings = self._stage.quantizing.apply(candidate, self._context)
        judgement = judgement_of(findings)
        self.attempts.append(Attempt(judgement=judgement, size=size_of(candidate.network)))
        if judgement.verdict == "pass":
            self.kept, self.rounded = candidate, rounded
        return judgement


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
    """Of each neuron or filter, layer by layer: its share of the variance that its layer passes on; 0 where it is constant.

    What is constant costs nothing to remove: it goes into the next layer's bias.
    """
    kernels = kernels_of(network)
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


def _useless(saliency: list[NDArray[np.float64]], costs: list[int], *, neurons: int, least: int) -> list[set[int]]:
    """Which neurons of each layer go, until so many are left: those of the least saliency per weight, and whatever has none."""
    ranked = sorted((score / costs[i], i, j) for i, scores in enumerate(saliency) for j, score in enumerate(scores))
    gone: list[set[int]] = [set() for _ in saliency]
    for score, i, j in ranked:
        if len(ranked) - sum(map(len, gone)) <= neurons and score > 0:
            break
        if len(saliency[i]) - len(gone[i]) > least:
            gone[i].add(j)
    return gone


def _keeping(network: tf_keras.Model, kept: list[list[int]], x: NDArray[np.float32]) -> tf_keras.Model:
    """The network of these neurons of each hidden layer alone; each next dense layer makes up for the others on x [N, ...]."""
    weights = network.get_weights()
    for i, (activation, columns) in enumerate(zip(_activations(network, x), kept, strict=True)):
        kernel, bias, following, following_bias = weights[2 * i : 2 * i + 4]
        width = kernel.shape[-1]
        if following.ndim == 2 and following.shape[0] == width:
            inputs = activation.reshape(-1, width)  # [N, in]
            weights[2 * i + 2 : 2 * i + 4] = _least_squares(inputs[:, columns], inputs @ following + following_bias)
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
    smaller = resized(network, filters=counts[: len(filters)], hidden=counts[len(filters) : len(filters) + len(hidden)])
    smaller.set_weights(weights)
    return smaller


def _without_a_layer(student: Student) -> tf_keras.Model:
    """Without the hidden dense layer that a linear map replaces best."""
    network = student.network
    x = student.scaling(_sample(student.states))
    filters, hidden = widths(network)
    dense = [layer for layer in network.layers if isinstance(layer, tf_keras.layers.Dense)]
    bridges: list[tuple[float, int, Weights]] = []
    for i in range(len(hidden)):
        entering = tf_keras.Model(network.input, dense[i].input)(x).numpy()  # [N, in]
        kernel, bias = dense[i + 1].get_weights()
        wanted = tf_keras.Model(network.input, dense[i].output)(x).numpy() @ kernel + bias  # [N, out]
        bridge = _least_squares(entering, wanted)
        error = float(np.square(entering @ bridge[0] + bridge[1] - wanted).mean() / max(wanted.var(), 1e-30))
        bridges.append((error, i, bridge))
    _, index, bridge = min(bridges, key=lambda each: each[0])
    smaller = resized(network, filters=filters, hidden=[*hidden[:index], *hidden[index + 1 :]])
    first = 2 * (len(filters) + index)
    weights = network.get_weights()
    smaller.set_weights([*weights[:first], *bridge, *weights[first + 4 :]])
    return smaller


def _least_squares(x: NDArray[np.float32], wanted: NDArray[np.float32], ridge: float = 1e-4) -> Weights:
    """[N, in], [N, out] -> kernel [in, out] and bias [out]."""
    extended = np.column_stack([x, np.ones(len(x))]).astype(np.float64)  # [N, in + 1]
    return solve_ridge(extended.T @ extended, extended.T @ wanted, ridge)
