"""How fragile an agent is, measured before it is compressed: on `select` seeds, with mistakes that are drawn at random."""

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgedqn.agents.playing.disturbances import Disturbance, NoisyValues, RandomActions
from edgedqn.agents.playing.fragility import Fragility, Loss, Mistakes
from edgedqn.agents.playing.gate import Gate, gate_for
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.agreement import agreement
from edgedqn.benchmarks.playing import Players
from edgedqn.compression.preferences import median_action_gap
from edgedqn.compression.stage import q_values_of
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.judge import write_float_file
from edgedqn.pipeline.proving import play_on_seeds
from edgedqn.pipeline.seeds import SeedStreams

RANDOM_ACTIONS = (0.005, 0.01, 0.02, 0.05)
NOISE = (0.1, 0.3, 1.0)  # median action gaps
DISAGREEMENT = 0.08  # by gap: as much as the ladder of `quantize` may leave is made by random actions, too
LEAST, FIRST, MOST = 10, 50, 1_000  # episodes of each kind of mistake; the second is where precision is looked at first
MOST_STEPS = 100_000  # of the environment, for each of them; `LEAST` episodes may take more
PRECISION = 0.005  # no more are played where half the interval of the loss, a share of (return - random return), is so small
Z_95 = 1.96
BEYOND = 2**20  # later than the seeds on which the agent was chosen: on those it was lucky


def measure_fragility(agent: TrainedAgent, *, streams: SeedStreams, gate: Gate) -> Fragility:
    """Plays an agent with random actions and with noise on its Q-values, against itself without, paired by reset seed.

    A budget of environment steps bounds the time, so the number of episodes depends on how long they are. It takes some seconds
    where a step takes microseconds. Where the gate's looks are not the environment's, a simulator may be slow: no mistake is
    played for more episodes than its first.

    Raises:
      InputError: all actions are equal in every state it was shown.
    """
    values = q_values_of(agent, agent.observations)  # [N, A]
    gap = median_action_gap(values)
    legal = agent.spec.legal_in(agent.observations)
    first = streams.first_reset_seed("select") + BEYOND
    play = play_on_seeds(agent.spec.source, streams, Gate(looks=(MOST,)), stream="select")
    play = replace(play, seeds=range(first, first + MOST))
    rng = streams.rng("select", "fragility")
    with tempfile.TemporaryDirectory() as folder, Players(play, progress=True) as players:
        path = Path(folder) / "float.tflite"
        write_float_file(agent, path, ExportConfig())
        usual = gate.looks == gate_for(agent.spec.id).looks
        opponents = _Opponents(players, path, most=MOST if usual else min(MOST, gate.looks[0]))
        losses: list[Loss] = []
        if opponents.unit > 0:
            otherwise = 1 - 1 / agent.spec.n_actions  # the share of actions drawn at random that are not the agent's own
            for share in sorted({*RANDOM_ACTIONS, DISAGREEMENT / otherwise}):
                changed = share * otherwise
                losses.append(opponents.loss(RandomActions(share), "random actions", share, disagreement=changed))
            noise = gap * rng.standard_normal(values.shape)  # [N, A]
            for gaps in NOISE:
                changed = 1 - agreement(values.astype(np.float64), values + gaps * noise, legal=legal).gap_weighted_agreement
                losses.append(opponents.loss(NoisyValues(gaps * gap), "noise", gaps, disagreement=changed))
        return Fragility(
            mean_return=float(players.returns(path).mean()),
            random_return=float(players.returns(None).mean()),
            median_gap=gap,
            env_steps=players.env_steps_of_all,
            losses=tuple(losses),
        )


class _Opponents:
    """The file of an agent, played against itself. `unit` is what it earns over acting at random: what can be lost."""

    def __init__(self, players: Players, path: Path, *, most: int):
        self._players, self._path = players, path
        players.returns(path, LEAST)
        self._most = int(np.clip(MOST_STEPS * LEAST // players.env_steps(path), LEAST, most))  # episodes
        self._first = min(FIRST, self._most)
        self.unit = float(players.returns(path, self._first).mean() - players.returns(None, self._first).mean())

    def loss(self, disturbance: Disturbance, mistakes: Mistakes, size: float, *, disagreement: float) -> Loss:
        episodes = self._first
        while True:
            disturbed = self._players.returns(self._path, episodes, disturbance=disturbance)
            lost = (self._players.returns(self._path, episodes) - disturbed) / self.unit  # [episodes]
            if episodes == self._most or Z_95 * lost.std(ddof=1) <= PRECISION * episodes**0.5:
                return Loss(
                    mistakes=mistakes,
                    size=size,
                    disagreement=disagreement,
                    mean_return=float(disturbed.mean()),
                    share=bootstrap_interval(lost),
                    episodes=episodes,
                )
            episodes = min(self._most, 2 * episodes)
