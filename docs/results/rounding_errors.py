"""Where a rounded network's choices are lost, and what that costs: one thing in int8 at a time, nothing trained.

python docs/results/rounding_errors.py RUN ...              # folders of runs, of tuning seeds; a minute or two each
python docs/results/rounding_errors.py RUN --play 2400      # played as well; for MinAtar's Space Invaders half an hour

Prints, for each share of `rewriting.with_balanced_ranges`, agreement by gap (and ties) with the float network in states of 100
fresh episodes (stream `agreement`), where only its weights are rounded, only its hidden activations, only its output or all of
them, with the output's range as the rung `round` has it and as `widen` has it. Weights are rounded on the agent's own states
and 40,000 that it visits at epsilon 0.05. With --play, the paired difference in return is printed, too, over that many episodes
(stream `select`), with its 95 % interval, in percent of the float network's return.
"""

import argparse
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.chain import ChainReader
from edgedqn.agents.files import read_json
from edgedqn.agents.numpy_network import Flatten, NumpyNetwork, Operator
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, evaluate, gather_from_episodes, gather_observations
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.agreement import agreement
from edgedqn.compression.folding import InputScaling, fold_input_scaling, in_batches, pads_input, plain_network
from edgedqn.compression.rewriting import with_balanced_ranges, without_common_value
from edgedqn.compression.rounding import Rounded, round_network
from edgedqn.compression.saturation import Range, fake_quantized
from edgedqn.pipeline.seeds import SeedStreams

SHARES = (0.0, 0.2, 0.4)
PARTS = ("weights", "hidden activations", "output", "output, wide", "all", "all, wide")
EPISODES, MOST_STATES, VISITED = 100, 200, 40_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    parser.add_argument("--play", type=int, default=0, metavar="N", help="episodes (default: 0)")
    arguments = parser.parse_args()
    print(f"| run | share | {' | '.join(PARTS)} |\n|" + "---|" * (2 + len(PARTS)))
    for run in arguments.runs:
        for share, cells in measured(run, episodes=arguments.play):
            print("|", " | ".join((run.name, f"{share:.1f}", *cells)), "|", flush=True)


def measured(run: Path, *, episodes: int) -> Iterator[tuple[float, list[str]]]:
    """Of each share, the cells of its row."""
    agent, streams = TrainedAgent.load(run / "agent"), SeedStreams(int(read_json(run / "run.json", 1)["seed"]))
    network = plain_network(agent.network)
    scaling = InputScaling.fitting(agent.spec, agent.observations, pads=pads_input(network))
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    assert scaling.limits is not None
    with closing(agent_view(make_environment(agent.spec.source), agent.spec)) as env:
        seeds, rng = streams.first_reset_seeds("agreement", EPISODES), streams.rng("agreement")
        fresh = gather_from_episodes(agent.policy, env, reset_seeds=seeds, most=MOST_STATES, rng=rng)
        explorer = EpsilonGreedy(agent.policy, 0.05, n_actions=agent.spec.n_actions, rng=streams.rng("calibrate"))
        visited = gather_observations(explorer, env, reset_seeds=streams.reset_seeds("calibrate"), count=VISITED)
        states, wanted = np.concatenate([agent.observations, visited]), agent.policy.q_values(fresh)

        def inputs() -> Iterator[NDArray[np.float32]]:
            return map(scaling, in_batches(states))

        def played(policy: Policy) -> NDArray[np.float64]:
            return np.array(evaluate(policy, env, seeds=streams.first_reset_seeds("select", episodes)).returns)

        before = played(agent.policy) if episodes else np.zeros(0)
        for share in SHARES:
            network.set_weights(with_balanced_ranges(network, inputs, share=share))
            network.set_weights(without_common_value(network, inputs))
            cells = []
            for partly in _parts(network, round_network(network, inputs, limits=scaling.limits), scaling):
                found = agreement(wanted, np.concatenate([partly.outputs(batch) for batch in in_batches(fresh)]))
                cells.append(f"{found.gap_weighted_agreement:.1%} ({found.tie_rate:.1%})")
                if episodes:
                    loss = bootstrap_interval((played(partly) - before) / before.mean())
                    cells[-1] += f", {loss.mean:+.1%} [{loss.low:+.1%}, {loss.high:+.1%}]"
            yield share, cells


class Partly:
    """Plays by a network of which some kernels or activations are rounded."""

    def __init__(
        self, operators: Sequence[Operator], scaling: InputScaling, ranges: Sequence[Range | None], shape: Sequence[int]
    ):
        """Takes a chain of scaled observations of a shape, and of each kernel's output the range, or None where it stays."""
        self._scaling, self._layers, flatten = scaling, list[tuple[NumpyNetwork, Range | None]](), list[Operator]()
        remaining, shape = iter(ranges), tuple(shape)
        for operator in operators:
            if isinstance(operator, Flatten):
                flatten = [operator]
                continue
            layer = NumpyNetwork([*flatten, operator], shape)
            self._layers.append((layer, next(remaining)))
            shape, flatten = layer.output_shape, []

    def outputs(self, observations: NDArray[np.generic]) -> NDArray[np.float32]:
        """[..., *shape] -> [..., A]."""
        x = self._scaling(observations)
        for layer, limits in self._layers:
            x = layer.q_values(x)
            x = x if limits is None else fake_quantized(x, limits).numpy()
        return x

    def __call__(self, observation: NDArray[np.generic], legal: NDArray[np.bool_] | None = None, /) -> int:
        return int(self.outputs(observation).argmax())


def _parts(network: tf_keras.Model, rounded: Rounded, scaling: InputScaling) -> Iterator[Partly]:
    """In the order of `PARTS`."""
    chain, shape = ChainReader(network), network.input_shape[1:]
    exact, integers = chain(network.get_weights()), chain(rounded.weights)
    *hidden, narrow = rounded.ranges
    wide, nothing = rounded.widest, list[Range | None](itertools.repeat(None, len(hidden)))
    for operators, ranges in (
        (integers, [*nothing, None]),
        (exact, [*hidden, None]),
        (exact, [*nothing, narrow]),
        (exact, [*nothing, wide]),
        (integers, [*hidden, narrow]),
        (integers, [*hidden, wide]),
    ):
        yield Partly(operators, scaling, ranges, shape)


if __name__ == "__main__":
    main()
