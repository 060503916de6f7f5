"""How often the gate passes policies whose loss is known.

python docs/results/gate_power.py RUN ...     # run folders with a trained agent: about a minute each
python docs/results/gate_power.py --looks     # seconds: how often each set of looks is right, on normal differences

For each agent, five candidates are paired with it on the same 5,000 reset seeds:

- `same`: the agent itself, on other reset seeds. It has lost nothing, but no episode is alike.
- `random actions`: with a share of random actions, chosen so that it loses the margin, or 5 %.
- `catastrophes`: whole episodes of random actions now and then, so that it loses the margin, or 5 %, on average.

Losses are shares of (the agent's return - a random policy's). Then the gate judges each candidate 100 times, each time on
episodes in another order, as if these were all there is. Writes docs/results/gate_power.json.

With --looks: paired differences are drawn from normal distributions whose standard deviation is so many times what may be
lost, and each gate looks at them 500 times, once without a loss and once with a loss of just what may not be lost. Written
there, too.
"""

import argparse
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, RandomPolicy, evaluate
from edgedqn.agents.playing.gate import ATARI_LOOKS, MANY_LOOKS, Gate, run_gate, simulated_power
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.run_folder import RunFolder

RESULTS = Path(__file__).with_suffix(".json")
EPISODES, REPETITIONS = 5_000, 100
GATE = Gate()
FIRST_SEED = 2**30  # far from those of any run
SPREADS = (2, 4, 8, 16, 32)  # standard deviations, in what may be lost
LOOKS = (GATE.looks, MANY_LOOKS, ATARI_LOOKS)


class Catastrophes:
    """A policy that now and then plays a whole episode at random."""

    def __init__(self, policy: Policy, share: float, n_actions: int, rng: np.random.Generator):
        self._policy, self._random = policy, RandomPolicy(n_actions, rng)
        self._share, self._rng = share, rng
        self.reset()

    def reset(self) -> None:
        """Before each episode."""
        self._now = self._random if self._rng.random() < self._share else self._policy

    def __call__(self, observation: NDArray[Any], /) -> int:
        return self._now(observation)


def measure(run: Path) -> dict[str, Any]:
    """One agent's candidates, their losses as shares of its range, and the gate's verdicts on them."""
    folder = RunFolder.open(run)
    agent = TrainedAgent.load(folder.agent)
    n_actions, rng = agent.spec.n_actions, np.random.default_rng(0)
    with closing(agent_view(make_environment(agent.spec.id), agent.spec)) as env:

        def play(policy: Policy, label: str, first: int = FIRST_SEED, episodes: int = EPISODES) -> NDArray[np.float64]:
            seeds = tqdm(range(first, first + episodes), f"{agent.spec.id}, {label}", disable=None, leave=False)
            return np.array(evaluate(policy, env, seeds=seeds).returns)  # [episodes]

        baseline = play(agent.policy, "float")
        range_ = float(baseline.mean() - play(RandomPolicy(n_actions, rng), "random", episodes=500).mean())

        def distracted(loss: float) -> tuple[float, NDArray[np.float64]]:
            """By bisection: the share of random actions that loses this much, and what it then scores."""
            low, high = 0.0, 0.5
            for _ in range(7):
                share = (low + high) / 2
                found = play(
                    EpsilonGreedy(agent.policy, share, n_actions=n_actions, rng=rng),
                    f"{share:.1%} random actions",
                    episodes=1_000,
                )
                low, high = (share, high) if baseline[:1_000].mean() - found.mean() < loss * range_ else (low, share)
            return share, play(EpsilonGreedy(agent.policy, share, n_actions=n_actions, rng=rng), f"{share:.1%} random actions")

        candidates = {"same, other seeds": play(agent.policy, "other seeds", FIRST_SEED + EPISODES)}
        for loss in (GATE.tolerance, 0.05):
            share, returns = distracted(loss)
            candidates[f"{share:.2%} random actions"] = returns
            policy = Catastrophes(agent.policy, loss, n_actions, rng)
            candidates[f"{loss:.0%} catastrophes"] = play(policy, f"{loss:.0%} catastrophes")
    margin = GATE.tolerance * range_
    return {
        "env_id": agent.spec.id,
        "return": float(baseline.mean()),
        "margin": margin,
        "candidates": {name: verdicts(returns - baseline, margin, range_, rng) for name, returns in candidates.items()},
    }


def verdicts(differences: NDArray[np.float64], margin: float, range_: float, rng: np.random.Generator) -> dict[str, Any]:
    """How often each verdict falls on paired differences [N] in random order."""
    counts = dict.fromkeys(("pass", "fail", "undecided"), 0)
    for _ in range(REPETITIONS):
        order = rng.permutation(differences)
        counts[run_gate(GATE, margin, paired_differences=lambda episodes, order=order: order[:episodes]).verdict] += 1
    return {"loss": float(-differences.mean() / range_), **counts}


def look_all() -> list[dict[str, Any]]:
    """For each set of looks and each spread, the shares that pass of files without a loss, and at the margin."""
    draws = np.random.default_rng(0).normal(size=100_000)
    return [
        {"looks": list(looks), "spread": spread, **simulated_power(Gate(looks=looks), 1.0, spread * draws).to_json()}
        for looks in LOOKS
        for spread in SPREADS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="run folders with a trained agent")
    parser.add_argument("--looks", action="store_true", help="what each set of looks sees")
    arguments = parser.parse_args()
    if arguments.looks:
        results = {**read_json(RESULTS, 1), "looks": look_all()}
        write_json(RESULTS, results)
        for row in results["looks"]:
            shares = (f"{row[name]:.1%}" for name in ("lossless_passes", "at_margin_passes"))
            print("|", ", ".join(f"{look:,}" for look in row["looks"]), "|", row["spread"], "|", " | ".join(shares), "|")
    for run in arguments.runs:
        with quiet():
            found = measure(run)
        results = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1, "agents": {}}
        results["agents"][found["env_id"]] = found
        write_json(RESULTS, results)
        print(f"{found['env_id']}: {found['return']:.2f}, margin {found['margin']:.2f}")
        for name, of in found["candidates"].items():
            counts = ", ".join(f"{verdict} {of[verdict]}" for verdict in ("pass", "fail", "undecided"))
            print(f"  {name:<24} loss {of['loss']:6.2%}: {counts}")


if __name__ == "__main__":
    main()
