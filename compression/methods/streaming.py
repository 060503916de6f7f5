"""Distillation from a stream of states, for as long as it brings anything.

Source: Rusu et al. (2015), "Policy distillation"; Ross et al. (2011), "A reduction of imitation learning to no-regret online
learning", for learning in the states that the student visits itself.
"""

import itertools
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.errors import require
from edgedqn.agents.learner import FusedLearner, adam
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, gather_from_episodes, visit
from edgedqn.compression.folding import Weights
from edgedqn.compression.methods.distillation import (
    STEPS_PER_CALL,
    Distillation,
    distillation_error,
    final_loss,
    whole_calls,
)
from edgedqn.compression.policy import Meaning
from edgedqn.compression.preferences import Targets
from edgedqn.compression.report import Findings
from edgedqn.compression.stage import CompressionContext, Stage, Student

GAPS = Targets("advantages")  # in median action gaps, not clipped: the divergence sees to it
MEMORY_BYTES = 2**30  # of states at most; images fill the memory
MOST_HELD_OUT = 200  # states of an episode
AVERAGING = 0.98  # the share of the running average that each call of the learner keeps


@dataclass(frozen=True, kw_only=True)
class Stream(Stage):
    """Trains the float student on its teacher's choices in fresh states, until it gets no better in others.

    The teacher and the student play an episode each in turn, and minibatches are drawn from the newest states that they met.
    The loss is the Kullback-Leibler divergence of the softmax policies. From time to time the running average of the weights
    is compared with the teacher, in states of episodes that nothing is taught on: agreement, each state weighted by its action
    gap. Where it no longer rises, the next learning rate is taken, and after the last one the best average is the student.

    Attributes:
      rates: learning rates, falling.
      look: gradient steps between two looks; rounded up to a multiple of 50.
      gain: of agreement, in [0, 1], that counts as a rise.
      patience: looks without a rise before the next rate.
      most_states: at which it ends, too, whatever is gained ...
      minutes: ... or after these; 0 sets no limit. With a limit, two machines may come to different students.
      first_states: played before the first gradient step.
      states_per_step: played per gradient step, on average.
      memory: the newest states, that are learned from; fewer where they would fill more than 1 GiB.
      kept_states: the newest of those, for later stages.
      epsilon: of random actions, in the play of both.
      held_out_episodes: of the teacher without random actions, at most 200 states of each.
      batch_size: states per gradient step.
      temperature: of the softmax, in median action gaps.
    """

    rates: tuple[float, ...] = (1e-3, 3e-4, 1e-4)
    look: int = 5_000
    gain: float = 0.002
    patience: int = 3
    most_states: int = 600_000
    minutes: float = 0.0
    first_states: int = 20_000
    states_per_step: float = 2.0
    memory: int = 200_000
    kept_states: int = 40_000
    epsilon: float = 0.02
    held_out_episodes: int = 60
    batch_size: int = 64
    temperature: float = 0.5
    name: ClassVar[str] = "stream"
    meaning: ClassVar[Meaning] = "preferences"  # of the output after it

    def __post_init__(self) -> None:
        require(bool(self.rates) and min(self.rates) > 0, f"Expected learning rates above 0. Got {self.rates}.")
        names = ("look", "patience", "most_states", "first_states", "memory", "kept_states", "held_out_episodes", "batch_size")
        sizes = tuple(getattr(self, name) for name in names)
        require(min(sizes) >= 1, f"Expected {', '.join(names)} of 1 or more. Got {', '.join(map(str, sizes))}.")
        positive, shares = (self.states_per_step, self.temperature), (self.gain, self.epsilon)
        require(min(positive) > 0, f"Expected states_per_step and a temperature above 0. Got {positive[0]} and {positive[1]}.")
        require(min(shares) >= 0 and max(shares) <= 1, f"Expected gain and epsilon in [0, 1]. Got {shares[0]} and {shares[1]}.")
        require(self.minutes >= 0, f"Expected minutes of 0 or more. Got {self.minutes}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return self.train(self.gather(student, context), context)

    def gather(self, student: Student, context: CompressionContext) -> Student:
        """Gives the student the teacher's states in a number that stages before the training may look at."""
        states = context.teacher_states(self.first_states)  # [N, ...]
        preferences = context.preferences(states, GAPS)
        return replace(student, states=states, preferences=preferences, targets=GAPS, meaning="preferences")

    def train(self, student: Student, context: CompressionContext, *, label: str = "stream") -> tuple[Student, Findings]:
        """Trains a copy of the network of a student."""
        started, rng, spec = time.monotonic(), context.rng, context.teacher.spec
        student = student.with_weights(student.network.get_weights())
        look = _Look(student, context, episodes=self.held_out_episodes)
        players = _InTurns(context.teacher.policy, student.as_policy(spec))
        explorer = EpsilonGreedy(players, self.epsilon, n_actions=spec.n_actions, rng=rng)
        stream = visit(explorer, context.env, reset_seeds=context.reset_seeds)
        memory = _Memory(self.memory, context)
        learner = self._learner(student)
        best, most, losses, agreements = student.network.get_weights(), -1.0, np.zeros(1, np.float32), list[float]()
        stopped = "no learning rate gains any more"
        with tqdm(total=self.most_states, desc=label, unit=" states", disable=None, mininterval=0.5) as bar:
            bar.update(memory.add(stream, self.first_states))
            for rate in self.rates:
                learner.set_learning_rate(rate)
                learner.restart()
                student.network.set_weights(best)
                average, since, expected = best, 0, most + self.gain
                while since < self.patience and not (spent := self._spent(memory.seen, time.monotonic() - started)):
                    for call in range(whole_calls(self.look) // STEPS_PER_CALL):
                        bar.update(memory.add(stream, max(1, round(self.states_per_step * STEPS_PER_CALL))))
                        states, targets = memory.draw((STEPS_PER_CALL, self.batch_size), rng)
                        losses = learner.learn(states, targets).losses
                        players.student = student.as_policy(spec)
                        keep = np.float32(min(AVERAGING, call / (call + 1)) if not agreements else AVERAGING)
                        weights = student.network.get_weights()
                        average = [keep * old + (1 - keep) * new for old, new in zip(average, weights, strict=True)]
                    agreements.append(look(average))
                    bar.set_postfix({"by gap": f"{agreements[-1]:.1%}", "rate": f"{rate:g}"}, refresh=False)
                    since += 1
                    if agreements[-1] > most:
                        best, most = average, agreements[-1]
                    if most >= expected:
                        expected, since = most + self.gain, 0
                if spent:
                    stopped = spent
                    break
        states, preferences = memory.newest(self.kept_states)
        student = replace(
            student.with_weights(best), states=states, preferences=preferences, targets=GAPS, meaning="preferences"
        )
        return student, Findings(
            states=memory.seen, final_loss=final_loss(losses), held_out_agreement=tuple(agreements), stopped=stopped
        )

    def _learner(self, student: Student) -> FusedLearner:
        """Of the student's own network, on states and targets."""
        config = Distillation(steps=self.look, loss="kl", temperature=self.temperature)

        def loss(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            error = distillation_error(student.network(student.scaling.tensor(x), training=True), target, config)  # [B]
            return tf.reduce_mean(error), error

        variables = student.network.trainable_variables
        return FusedLearner(loss, variables, optimizer=adam(self.rates[0], variables))

    def _spent(self, states: int, seconds: float) -> str:
        """Which part of the budget is spent, if one is."""
        if states >= self.most_states:
            return f"after {states:,} states"
        return f"after {self.minutes:g} minutes" if self.minutes and seconds > 60 * self.minutes else ""


class _InTurns:
    """The teacher and the student, an episode each; the student's policy is replaced as it learns."""

    def __init__(self, teacher: Policy, student: Policy):
        self.student = student
        self._teacher = teacher
        self._is_students = False

    def reset(self) -> None:
        self._is_students = not self._is_students

    def __call__(self, observation: NDArray[Any], /) -> int:
        return (self.student if self._is_students else self._teacher)(observation)


class _Memory:
    """The newest states of a stream, and what the student is to output for them."""

    def __init__(self, size: int, context: CompressionContext):
        """Holds so many states of the teacher's shape, or as many as fill 1 GiB."""
        like, self._context = context.teacher.observations, context
        size = min(size, max(1, MEMORY_BYTES // like[0].nbytes))
        self._states = np.empty((size, *like.shape[1:]), like.dtype)
        self._targets = np.empty((size, context.teacher.spec.n_actions), np.float32)
        self.seen = 0

    def add(self, stream: Iterator[NDArray[Any]], count: int) -> int:
        """Takes so many from a stream, and says how many."""
        states = np.stack(list(itertools.islice(stream, count)))
        slots = (self.seen + np.arange(count)) % len(self._states)
        self._states[slots], self._targets[slots] = states, self._context.preferences(states, GAPS)
        self.seen += count
        return count

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """At random, with replacement: states [*shape, ...] and targets [*shape, A]."""
        slots = rng.integers(min(self.seen, len(self._states)), size=shape)
        return self._states[slots], self._targets[slots]

    def newest(self, count: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Copies of at most so many states and targets, from old to new."""
        count = min(count, self.seen, len(self._states))
        slots = (self.seen - count + np.arange(count)) % len(self._states)
        return self._states[slots], self._targets[slots]


class _Look:
    """Compares weights of a student's network with its teacher, in states of episodes that nothing is taught on."""

    def __init__(self, student: Student, context: CompressionContext, *, episodes: int):
        teacher = context.teacher
        seeds = itertools.islice(context.reset_seeds, episodes)
        self._states = gather_from_episodes(teacher.policy, context.env, reset_seeds=seeds, most=MOST_HELD_OUT, rng=context.rng)
        self._wanted = context.preferences(self._states, GAPS)  # [N, A]
        self._student, self._spec = student, teacher.spec

    def __call__(self, weights: Weights) -> float:
        """The share of agreement, each state weighted by its action gap; 1 where no choice costs anything."""
        chosen = self._student.with_weights(weights).as_policy(self._spec).actions(self._states)  # [N]
        ordered = np.sort(self._wanted, axis=1)
        gaps = ordered[:, -1] - ordered[:, -2]  # [N]
        same = chosen == self._wanted.argmax(axis=1)
        return float(gaps[same].sum() / gaps.sum()) if gaps.any() else 1.0
