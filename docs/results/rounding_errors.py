"""Where a rounded network's choices are lost: one thing in int8 at a time, nothing trained.

python docs/results/rounding_errors.py RUN ...          # folders of runs, of tuning seeds; a minute each

Prints, for each share of `rewriting.with_balanced_ranges`, agreement by gap (and ties) with the float network in states of 100
fresh episodes (stream `agreement`), where only its weights, only its hidden activations, only its output or all of them are
rounded, on the agent's own states and 40,000 that it visits at epsilon 0.05.
"""

import argparse
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.files import read_json
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import EpsilonGreedy, gather_from_episodes, gather_observations
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.agreement import agreement
from edgedqn.compression.folding import InputScaling, fold_input_scaling, in_batches, pads_input, plain_network
from edgedqn.compression.rewriting import with_balanced_ranges, without_common_value
from edgedqn.compression.rounding import Range, Rounded, fake_quantized, round_network
from edgedqn.pipeline.seeds import SeedStreams

SHARES = (0.0, 0.2, 0.4, 0.6)
EPISODES, MOST_STATES, VISITED = 100, 200, 40_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    print("| run | share | weights | hidden activations | output | all |\n|" + "---|" * 6)
    for run in parser.parse_args().runs:
        for share, cells in measured(run):
            print("|", " | ".join((run.name, f"{share:.1f}", *cells)), "|", flush=True)


def measured(run: Path) -> Iterator[tuple[float, list[str]]]:
    """Of each share, the cells of its row."""
    agent, streams = TrainedAgent.load(run / "agent"), SeedStreams(int(read_json(run / "run.json", 1)["seed"]))
    with closing(agent_view(make_environment(agent.spec.source), agent.spec)) as env:
        seeds, rng = streams.first_reset_seeds("agreement", EPISODES), streams.rng("agreement")
        fresh = gather_from_episodes(agent.policy, env, reset_seeds=seeds, most=MOST_STATES, rng=rng)
        explorer = EpsilonGreedy(agent.policy, 0.05, n_actions=agent.spec.n_actions, rng=streams.rng("calibrate"))
        visited = gather_observations(explorer, env, reset_seeds=streams.reset_seeds("calibrate"), count=VISITED)
    states = np.concatenate([agent.observations, visited])
    network = plain_network(agent.network)
    scaling = InputScaling.fitting(agent.spec, agent.observations, pads=pads_input(network))
    network.set_weights(fold_input_scaling(network.get_weights(), scaling))
    assert scaling.limits is not None

    def inputs() -> Iterator[NDArray[np.float32]]:
        return map(scaling, in_batches(states))

    for share in SHARES:
        network.set_weights(with_balanced_ranges(network, inputs, share=share))
        network.set_weights(without_common_value(network, inputs))
        rounded = round_network(network, inputs, limits=scaling.limits)
        wanted = agent.policy.q_values(fresh)
        yield share, [_cell(wanted, outputs(fresh)) for outputs in _parts(network, rounded, scaling)]


def _parts(
    network: tf_keras.Model, rounded: Rounded, scaling: InputScaling
) -> Iterator[Callable[[NDArray[Any]], NDArray[np.float32]]]:
    """Networks of which weights, hidden activations, the output, and all, are rounded: states [N, ...] -> [N, A]."""
    nothing: list[Range | None] = [None] * len(rounded.ranges)
    twin = tf_keras.models.clone_model(network)
    twin.set_weights(rounded.weights)
    hidden, output = [*rounded.ranges[:-1], None], [*nothing[:-1], rounded.ranges[-1]]
    for computed, ranges in ((twin, nothing), (network, hidden), (network, output), (twin, [*rounded.ranges])):
        yield lambda states, computed=computed, ranges=ranges: _outputs(computed, ranges, scaling, states)  # type: ignore[misc]


def _outputs(
    network: tf_keras.Model, ranges: list[Range | None], scaling: InputScaling, states: NDArray[Any]
) -> NDArray[np.float32]:
    found = []
    for x in map(scaling, in_batches(states)):
        remaining = iter(ranges)
        for layer in network.layers[1:]:
            x = layer(x)
            if layer.weights and (limits := next(remaining)) is not None:
                x = fake_quantized(x, limits)
        found.append(np.asarray(x))
    return np.concatenate(found)


def _cell(wanted: NDArray[np.float32], outputs: NDArray[np.float32]) -> str:
    found = agreement(wanted, outputs)
    return f"{found.gap_weighted_agreement:.1%} ({found.tie_rate:.1%})"


if __name__ == "__main__":
    main()
