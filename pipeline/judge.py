"""The judge of stages with `asks_gate`: exports a candidate and plays the file on the `select` seeds, which prove nothing."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import gather_from_episodes
from edgedqn.agents.playing.gate import Gate, NotBetterThanRandomError, Verdict, run_gate
from edgedqn.agents.playing.simulators.atari import is_atari
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.bars import tqdm
from edgedqn.benchmarks.agreement import agreement, legal_in, preferences_of
from edgedqn.benchmarks.cores.budget import Budget
from edgedqn.benchmarks.playing import Players
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import CompressedPolicy, Excess, Judge
from edgedqn.compression.report import UNPLAYABLE, Judgement
from edgedqn.compression.stage import Student
from edgedqn.export.config import ExportConfig
from edgedqn.export.edge_policy import EdgePolicy, RuntimeRefusedError, read_verified
from edgedqn.export.tflite import exported as export_policy
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.pipeline.devices.fitting import fit_of_file
from edgedqn.pipeline.proving import play_on_seeds
from edgedqn.pipeline.seeds import SeedStreams

# A search takes the best of many: what just passes by luck here would not pass again. So it asks for a smaller loss.
STRICTNESS = 0.9
EARLY = 3  # the first look at a candidate is at a third of the gate's first
MOST_EPISODES, MOST_OF_ATARI = 4_800, 60  # of one candidate, where the gate itself would play on
EPISODES, MOST_STATES = 100, 200  # for the agreement: of the float policy, without random actions; states of one episode


@contextmanager
def judging(agent: TrainedAgent, *, streams: SeedStreams, gate: Gate, export: ExportConfig) -> Iterator[Judge]:
    """A judge of candidates against this agent, on the `select` seeds; its processes end with the context.

    It starts nothing before it is asked. The float agent is played as a file, too, once. Of the tolerance of the gate, which is
    as it will be applied in the end, 90 % is allowed here, and it looks once more, early. Where a policy taught the agent, that
    one's returns stand in the place of the float agent's.
    """
    taught_by = agent.taught_by.get(streams.first_reset_seed("select"))
    gate = gate if taught_by is None else gate.within(len(taught_by))
    looks = gate.within(MOST_OF_ATARI if is_atari(agent.spec.source.name) else MOST_EPISODES).looks
    early = max(2, looks[0] // EARLY)
    stricter = replace(gate, tolerance=STRICTNESS * gate.tolerance, looks=(early, *(look for look in looks if look > early)))
    play = play_on_seeds(agent.spec.source, streams, stricter, stream="select", taught_by=taught_by)
    with tempfile.TemporaryDirectory() as folder, Players(play, progress=True) as players:
        yield _FileJudge(
            agent=agent,
            streams=streams,
            players=players,
            gate=gate,
            stricter=stricter,
            export=export,
            folder=Path(folder),
            numbers=count(),
        )


@dataclass(frozen=True, kw_only=True)
class _FileJudge:
    """Writes each candidate as a file, plays it, and compares it with the float agent's file."""

    agent: TrainedAgent
    streams: SeedStreams
    players: Players
    gate: Gate  # as it will be applied
    stricter: Gate  # as it is applied here
    export: ExportConfig
    folder: Path
    numbers: Iterator[int]  # of the candidates' files

    def __call__(self, policy: CompressedPolicy) -> Judgement:
        """Says how a candidate plays."""
        float_file, players = self._float_file, self.players
        path = self.folder / f"candidate-{next(self.numbers)}.tflite"
        _write(policy, path, self.export)
        try:
            candidate = EdgePolicy.load(path)
        except RuntimeRefusedError as error:  # XNNPACK does not take int8 layers that never fire
            return Judgement(
                verdict="fail",
                mean_return=float(players.returns(None, self.stricter.looks[0]).mean()),
                loss=UNPLAYABLE,
                episodes=0,
                env_steps=0,
                size_bytes=path.stat().st_size,
                action_agreement=0.0,
                gap_weighted_agreement=0.0,
                tie_rate=1.0,
                reason=str(error),
            )
        verdict: Verdict = "undecided"
        reason = ""
        try:
            margin = self.gate.within(MOST_EPISODES).margin(
                float_returns=partial(players.to_compare, float_file), random_returns=partial(players.returns, None)
            )
        except NotBetterThanRandomError as error:  # nothing can be lost, nor proven
            reason = str(error)
            returns, loss = players.returns(path, self.stricter.looks[0]), 0.0
        else:
            result = run_gate(
                self.stricter,
                STRICTNESS * margin,
                paired_differences=lambda n: (players.returns(path, n) - players.to_compare(float_file, n)).tolist(),
            )
            returns, verdict, loss = players.returns(path), result.verdict, -result.interval.mean / margin
        like = agreement(
            self._float_preferences, preferences_of(candidate, self._states), legal=legal_in(candidate, self._states)
        )
        return Judgement(
            verdict=verdict,
            mean_return=float(returns.mean()),
            loss=loss,
            episodes=len(returns),
            env_steps=players.env_steps(path),
            size_bytes=path.stat().st_size,
            **asdict(like),
            reason=reason,
            returns=tuple(returns.tolist()),
        )

    @cached_property
    def _states(self) -> NDArray[Any]:
        """[N, *input_shape], of episodes that nothing was taught on."""
        agent, streams = self.agent, self.streams
        seeds = streams.first_reset_seeds("agreement", EPISODES)
        bar = tqdm(seeds, "states to compare", unit="episode", disable=None, leave=False)
        with closing(agent_view(make_environment(agent.spec.source), agent.spec)) as env:
            return gather_from_episodes(agent.policy, env, reset_seeds=bar, most=MOST_STATES, rng=streams.rng("agreement"))

    @cached_property
    def _float_preferences(self) -> NDArray[np.float64]:
        """The float file's outputs [N, A] in those states."""
        return preferences_of(EdgePolicy.load(self._float_file), self._states)

    @cached_property
    def _float_file(self) -> Path:
        """The float agent as a file, written when it is first needed."""
        path = self.folder / "float.tflite"
        write_float_file(self.agent, path, self.export)
        return path


def excess_of(budget: Budget, export: ExportConfig) -> Excess:
    """What says why a candidate, as a file, does not fit a board; empty where it does. Measured, as `measure_fit` does."""

    def excess(policy: CompressedPolicy) -> str:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "candidate.tflite"
            _write(policy, path, export)
            return fit_of_file(read_verified(path), budget, name=path.stem).reason or ""

    return excess


def write_float_file(agent: TrainedAgent, path: Path, config: ExportConfig) -> None:
    """Writes the float agent as a policy file, to be played."""
    student = Student(
        network=plain_network(agent.network),
        scaling=InputScaling.identity(),
        states=agent.observations,
        preferences=np.empty((0, agent.spec.n_actions), np.float32),
    )
    _write(student.as_compressed(agent, conversion="float32", recipe="float"), path, config.of_baseline())


def _write(policy: CompressedPolicy, path: Path, config: ExportConfig) -> None:
    exported = export_policy(policy, config)
    write_policy(path, exported.content, device=exported.device, evidence={})
