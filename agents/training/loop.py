"""The training loop: consumes a stream of steps, evaluates the agent, writes checkpoints and a log."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tqdm import tqdm

from edgedqn.agents.training.checkpoints import Checkpoints, prefixed, under
from edgedqn.agents.training.interaction import Agent, Play, Step
from edgedqn.agents.training.selection import Candidate, CheckpointSelection


@dataclass(frozen=True)
class TrainingSchedule:
    """How long a training is and what happens in it, counted in environment steps."""

    steps: int  # >= 1
    evaluation_interval: int  # the greedy policy is scored after each so many, and at the end
    checkpoint_interval: int = 0  # a checkpoint is written after each so many, and at the end; 0 writes none

    def next_stop(self, env_steps: int) -> int:
        """Where episodes are cut off next: at the next checkpoint or at the end."""
        if not self.checkpoint_interval:
            return self.steps
        return min(self.steps, (env_steps // self.checkpoint_interval + 1) * self.checkpoint_interval)


class EpisodeRecord(NamedTuple):
    """A finished training episode: a line of `training.csv`. `loss` is the mean of the last gradient steps."""

    env_steps: int
    episode_return: float
    episode_length: int
    epsilon: float
    learning_rate: float
    loss: float
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TrainingReport:
    """What happened: each finished episode, each evaluation, the candidate taken, and the time it all took."""

    episodes: tuple[EpisodeRecord, ...]
    evaluations: tuple[tuple[int, float], ...]  # (env_steps, mean greedy return)
    best: Candidate
    gradient_steps: int
    seconds: float


class TrainingLog:
    """Records what happens in a training; this one records nothing. `log.FileLog` writes files."""

    def resume(self, env_steps: int, records: Sequence[EpisodeRecord], evaluations: Sequence[tuple[int, float]] = ()) -> None:
        """Called first, where training goes on from a checkpoint: its step, and the episodes and evaluations before it."""

    def episode(self, record: EpisodeRecord, gradient_steps: int) -> None:
        """An episode ended."""

    def evaluation(self, env_steps: int, mean_return: float) -> None:
        """The greedy policy was scored."""

    def flush(self) -> None:
        """A checkpoint was written, or the training ended: nothing recorded so far will happen again."""


def train(
    agent: Agent,
    play: Play,
    *,
    label: str,
    schedule: TrainingSchedule,
    reset_seeds: Iterator[int],
    selection: CheckpointSelection,
    checkpoints: Checkpoints | None,
    log: TrainingLog,
) -> TrainingReport:
    """Trains a new agent for `schedule.steps` environment steps, from the newest checkpoint on where there is one. Without
    `checkpoints`, the schedule writes none.

    At a checkpoint the episodes in progress are cut off as if truncated, and new ones begin: what an environment holds inside
    cannot be saved. It is done whether or not the training is ever interrupted, so that both come to the same weights.

    A progress bar on stderr, called `label`, shows episode return, epsilon, steps/s and the time left; it is silent where
    stderr is no terminal.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
      DivergedError: the loss became NaN or infinite. What `selection` kept before stays with its `on_best`.
    """
    training = _Training(agent=agent, selection=selection, reset_seeds=reset_seeds, checkpoints=checkpoints, log=log)
    if training.resume():
        tqdm.write(f"{label}: going on at step {agent.env_steps:,} of {schedule.steps:,}.", file=sys.stderr)
    with ExitStack() as stack:
        stack.callback(log.flush)  # also what led to an error is worth reading
        bar = stack.enter_context(
            tqdm(total=schedule.steps, initial=agent.env_steps, desc=label, unit=" steps", disable=None, mininterval=0.5)
        )
        while agent.env_steps < schedule.steps:
            training.advance(play, schedule, bar=bar)
            agent.cut_episodes()
            if agent.env_steps < schedule.steps:
                training.save()
                log.flush()
        if not selection.scores or selection.scores[-1][0] != agent.env_steps:
            training.evaluate()
        if schedule.checkpoint_interval:  # choosing takes its time, and may be interrupted, too
            training.save()
    return TrainingReport(
        best=selection.best(agent),
        episodes=tuple(training.episodes),
        evaluations=tuple(selection.scores),
        gradient_steps=agent.gradient_steps,
        seconds=training.seconds,
    )


@dataclass(kw_only=True)
class _Training:
    """A training in progress: all that a checkpoint has to hold, and where it is written."""

    agent: Agent
    selection: CheckpointSelection
    reset_seeds: Iterator[int]
    checkpoints: Checkpoints | None
    log: TrainingLog
    episodes: list[EpisodeRecord] = field(default_factory=list)
    resets: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since the training began, without what lay between an interruption and its end."""
        return time.monotonic() - self.started

    def resume(self) -> bool:
        """Takes all to where the newest checkpoint was written; whether there was one."""
        if self.checkpoints is None or (saved := self.checkpoints.newest()) is None:
            return False
        arrays, values = saved  # the arrays keep the file on the disk while they live, which is until this returns
        self.agent.restore(under("agent", arrays), values["agent"])
        self.selection.restore(under("selection", arrays), values["selection"])
        self.episodes = [EpisodeRecord(*record) for record in values["episodes"]]
        for _ in range(values["resets"]):
            next(self.reset_seeds)
        self.resets = values["resets"]
        self.log.resume(self.agent.env_steps, self.episodes, self.selection.scores)
        self.started = time.monotonic() - values["seconds"]
        return True

    def advance(self, play: Play, schedule: TrainingSchedule, *, bar: "tqdm[Any]") -> None:
        """Trains up to the next checkpoint, or to the end."""
        agent, stop = self.agent, schedule.next_stop(self.agent.env_steps)
        for step in play(agent, self._seeds()):
            agent.observe(step)
            if step.episode_return is not None:
                self._record(step, step.episode_return)
                recent = sum(e.episode_return for e in self.episodes[-20:]) / len(self.episodes[-20:])
                bar.set_postfix({"return": f"{recent:.1f}", "epsilon": f"{agent.epsilon:.2f}"}, refresh=False)
            bar.update()
            if agent.env_steps % schedule.evaluation_interval == 0 and agent.gradient_steps > 0:
                self.evaluate()
            if agent.env_steps == stop:
                return

    def evaluate(self) -> None:
        self.selection.consider(self.agent)
        self.log.evaluation(*self.selection.scores[-1])

    def save(self) -> None:
        agent_arrays, agent_values = self.agent.state()
        selection_arrays, selection_values = self.selection.state()
        values = {
            "agent": agent_values,
            "selection": selection_values,
            "resets": self.resets,
            "seconds": self.seconds,
            "episodes": [list(record) for record in self.episodes],
        }
        arrays = prefixed("agent", agent_arrays) | prefixed("selection", selection_arrays)
        assert self.checkpoints is not None
        self.checkpoints.save(self.agent.env_steps, (arrays, values))

    def _seeds(self) -> Iterator[int]:
        for seed in self.reset_seeds:
            self.resets += 1
            yield seed

    def _record(self, last: Step, episode_return: float) -> None:
        agent = self.agent
        record = EpisodeRecord(
            env_steps=agent.env_steps,
            episode_return=episode_return,
            episode_length=last.episode_length,
            epsilon=agent.epsilon,
            learning_rate=agent.learning_rate,
            loss=agent.last_loss,
            seconds=round(self.seconds, 3),
        )
        self.episodes.append(record)
        self.log.episode(record, agent.gradient_steps)
