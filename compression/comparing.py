"""A last layer that compares outputs with each other, before int8 holds them. A is the actions, P their A * (A - 1) pairs."""

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.compression.folding import Weights
from edgedqn.compression.rewriting import Batches
from edgedqn.compression.rounding import LEVELS, Rounded, round_network
from edgedqn.compression.saturation import OutputRanges, Range, fake_quantized, legal_at_most, median_gap, output_ranges

REACHES = (3.0, 6.0, 12.0)  # in median gaps: how far an output may be from another one, as far as int8 sees
MOST_ACTIONS = 18  # Atari's. Pairs grow with their square


def round_compared(
    network: tf_keras.Model, batches: Batches, *, limits: Range, per_output: bool, legal: NDArray[np.bool_] | None = None
) -> tuple[tf_keras.Model, Rounded]:
    """Rounds a network whose outputs are compared with each other: the network that does so, in float, and its integers.

    Q-values lie far apart where an action ends the game, and close together elsewhere: 255 levels for all of them leave ties.
    So two layers take the place of the last one. The first has a neuron for each pair of actions, max(0, reach + Q_i - Q_j),
    and its int8 output saturates at 2 * reach; the second adds up those of each i. The sum is largest where Q_i is, whatever
    the reach: none of the neurons of the larger of two outputs is less than its counterpart of the other, and the one that
    compares the two is more. Its levels have to span small differences alone. The reach is measured.

    Args:
      network: [B, ...] -> [B, A], plain, A of 2 or more.
      batches: of inputs, as of `round_network`.
      limits: of the input.
      per_output: a Dense kernel has one scale per output, else one for all.
      legal: [N, A], which actions are legal in what the batches hold; None where all are.
    """
    choice = _Reach(network.output_shape[-1], legal)
    *trunk, kernel, bias = network.get_weights()
    weights: Weights = [*trunk, kernel @ choice.differ, bias @ choice.differ]
    name = network.layers[-1].name  # no other layer has it
    differing = _ending(network, [tf_keras.layers.Dense(len(choice.add), name=name)], weights)
    rounded = round_network(differing, batches, limits=limits, per_output=per_output, ranges_of=choice)

    def compared(given: Weights) -> Weights:
        offset = np.full(len(kernel[0]), -choice.reach * (len(kernel[0]) - 1), np.float32)
        return [*given[:-1], given[-1] + np.float32(choice.reach), choice.add, offset]

    last = [
        tf_keras.layers.Dense(len(choice.add), "relu", name=f"{name}_compared"),
        tf_keras.layers.Dense(len(kernel[0]), name=name),
    ]
    ones = np.full(len(kernel[0]), 1 / LEVELS, np.float32)
    return _ending(network, last, compared(weights)), replace(
        rounded,
        weights=compared(rounded.weights),
        scales=(*rounded.scales, ones),
        ranges=(*rounded.ranges[:-1], (0.0, 2 * choice.reach), choice.limits),
        widest=None,
    )


class _Reach:
    """Chooses the reach by which rounded differences lose the fewest choices, as soon as `round_network` has them.

    Attributes:
      differ: [A, P], outputs to differences.
      add: [P, A], the differences of each output to the sum of them.
      reach: in the unit of the outputs.
      limits: of the sums, less what the best one always has.
    """

    reach: float
    limits: Range

    def __init__(self, n_actions: int, legal: NDArray[np.bool_] | None):
        first, second = np.array(list(itertools.permutations(range(n_actions), 2))).T  # [P], [P]
        one_hot = np.eye(n_actions, dtype=np.float32)
        self.differ, self.add = one_hot[:, first] - one_hot[:, second], one_hot[first]
        self._legal = legal

    def __call__(self, differences: NDArray[np.float32], exact: NDArray[np.float32]) -> OutputRanges:
        """[N, P] as rounded kernels make them, and in float."""
        n_actions = self.add.shape[1]
        wanted = exact @ self.add / n_actions  # [N, A], the outputs less their mean
        gap, least = median_gap(legal_at_most(wanted, self._legal)), np.inf
        for reach in (gap * each for each in REACHES):
            within = fake_quantized(np.maximum(differences + reach, 0), (0.0, 2 * reach)).numpy()
            found = output_ranges(within @ self.add - reach * (n_actions - 1), wanted, self._legal)
            if found.lost <= least:
                least, self.reach, self.limits = found.lost, reach, found.few_ties
        return OutputRanges((-self.reach, self.reach), (-self.reach, self.reach), least)


def _ending(network: tf_keras.Model, last: Sequence[tf_keras.layers.Layer], weights: Weights) -> tf_keras.Model:
    """A plain network with other layers in the place of its last one, of these weights."""
    x = observation = tf_keras.Input(network.input_shape[1:], name=network.layers[0].name)
    for layer in network.layers[1:-1]:
        x = layer.__class__.from_config(layer.get_config())(x)
    for layer in last:
        x = layer(x)
    ended = tf_keras.Model(observation, x, name=network.name)
    ended.set_weights(weights)
    return ended
