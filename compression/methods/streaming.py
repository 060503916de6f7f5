"""Distillation from a stream of states, for as long as it brings anything.

Source: Rusu et al. (2015), "Policy distillation"; Ross et al. (2011), "A reduction of imitation learning to no-regret online
learning", for learning in the states that the student visits itself.
"""

import itertools
import time
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from edgedqn.agents.errors import require
from edgedqn.agents.learner import FusedLearner, adam
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, gather_from_episodes, visit
from edgedqn.agents.playing.spec import OneHot
from edgedqn.agents.training.bars import tqdm
from edgedqn.compression.folding import Weights, in_batches
from edgedqn.compression.methods.distillation import (
    STEPS_PER_CALL,
    Distillation,
    distillation_error,
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
      gain: of agreement, a share, that counts as a rise, > 0.
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
        expected = "It learns before its budget is spent. Expected first_states below most_states."
        require(self.first_states < self.most_states, f"{expected} Got {self.first_states} and {self.most_states}.")
        positive = (self.gain, self.states_per_step, self.temperature)
        require(min(positive) > 0, f"Expected a gain, states_per_step and a temperature above 0. Got {positive}.")
        require(0 <= self.epsilon <= 1, f"Expected an epsilon in [0, 1]. Got {self.epsilon}.")
        require(self.minutes >= 0, f"Expected minutes of 0 or more. Got {self.minutes}.")

    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        return self.train(student, context)

    def train(self, student: Student, context: CompressionContext, *, label: str = "stream") -> tuple[Student, Findings]:
        """Trains a copy of the network of a student; its newest states, with clipped gaps, are those of later stages."""
        expected = "The states of a table do not follow from one another. Expected distil."
        require(OneHot() not in context.teacher.spec.preprocessing, f"{expected} Got stream.")
        started, look = time.monotonic(), _Look(context, self.held_out_episodes)
        streaming = _Streaming(self, look.in_gaps(student), context)
        best, stopped = streaming.student.network.get_weights(), ""
        agreements = [look(streaming.student, best)]
        with tqdm(total=self.most_states, desc=label, unit=" states", disable=None, mininterval=0.5) as bar:
            while streaming.memory.seen < self.first_states:
                bar.update(streaming.meet(min(1_000, self.first_states - streaming.memory.seen)))
            for rate in self.rates:
                streaming.start(best, rate)
                wanted, since = max(agreements) + self.gain, 0
                while since < self.patience and not stopped:
                    average = streaming.learn(bar)
                    agreements.append(look(streaming.student, average))
                    bar.set_postfix({"by gap": f"{agreements[-1]:.1%}", "rate": f"{rate:g}"}, refresh=False)
                    since += 1
                    if agreements[-1] > max(agreements[:-1]):
                        best = average
                    if agreements[-1] >= wanted:
                        wanted, since = agreements[-1] + self.gain, 0
                    stopped = self._spent(streaming.memory.seen, time.monotonic() - started)
        states = streaming.memory.newest(self.kept_states)
        student = streaming.student.with_weights(best)
        student = replace(student, states=states, preferences=context.preferences(states), targets=Targets())
        return replace(student, meaning=self.meaning), Findings(
            states=streaming.memory.seen,
            final_loss=streaming.loss,
            held_out_agreement=tuple(agreements),
            stopped=stopped or "no learning rate gains any more",
        )

    def _spent(self, states: int, seconds: float) -> str:
        """Which part of the budget is spent, if one is."""
        if states >= self.most_states:
            return f"after {states:,} states"
        return f"after {self.minutes:g} minutes" if self.minutes and seconds > 60 * self.minutes else ""


class _Streaming:
    """A student that learns from a stream, in a network of its own."""

    def __init__(self, settings: Stream, student: Student, context: CompressionContext):
        self.student = student.with_weights(student.network.get_weights())
        self.memory = _Memory(settings.memory, context)
        self.loss: float | None = None  # the mean of the last call
        self._settings, self._rng, self._spec = settings, context.rng, context.teacher.spec
        self._players = _InTurns(context.teacher.policy, self.student.as_policy(self._spec))
        explorer = EpsilonGreedy(self._players, settings.epsilon, n_actions=self._spec.n_actions, rng=self._rng)
        self._stream = visit(explorer, context.env, reset_seeds=context.reset_seeds)
        config = Distillation(steps=settings.look, loss="kl", temperature=settings.temperature)
        network, scaling = self.student.network, self.student.scaling

        def loss(x: tf.Tensor, target: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            error = distillation_error(network(scaling.tensor(x), training=True), target, config)  # [B]
            return tf.reduce_mean(error), error

        variables = network.trainable_variables
        self._learner = FusedLearner(loss, variables, optimizer=adam(settings.rates[0], variables))
        self._calls, self._average = 0, network.get_weights()

    def meet(self, count: int) -> int:
        """Lets teacher and student play on for so many states, and says how many."""
        return self.memory.add(np.stack(list(itertools.islice(self._stream, count))))

    def start(self, weights: Weights, rate: float) -> None:
        """Goes on from these weights at this learning rate."""
        self._learner.set_learning_rate(rate)
        self._learner.restart()
        self.student.network.set_weights(weights)
        self._calls = 0

    def learn(self, bar: "tqdm[Any]") -> Weights:
        """Learns up to the next look, and returns the running average of the weights."""
        settings = self._settings
        for _ in range(whole_calls(settings.look) // STEPS_PER_CALL):
            bar.update(self.meet(max(1, round(settings.states_per_step * STEPS_PER_CALL))))
            learned = self._learner.learn(*self.memory.draw((STEPS_PER_CALL, settings.batch_size), self._rng))
            self.loss = float(learned.losses.mean())
            self._players.student = self.student.as_policy(self._spec)
            # A plain mean at first, so that the weights it starts from are soon forgotten.
            keep = np.float32(min(AVERAGING, self._calls / (self._calls + 1)))
            self._average = [keep * old + (1 - keep) * new for old, new in zip(self._average, learned.weights, strict=True)]
            self._calls += 1
        return self._average


class _InTurns:
    """The teacher and the student, an episode each; the student's policy is replaced as it learns."""

    def __init__(self, teacher: Policy, student: Policy):
        self.student = student
        self._teacher = teacher
        self._is_students = False

    def reset(self) -> None:
        self._is_students = not self._is_students

    def __call__(self, observation: NDArray[Any], *legal: NDArray[np.bool_]) -> int:
        return (self.student if self._is_students else self._teacher)(observation, *legal)


class _Memory:
    """The newest states of a stream, and how much worse each action is there."""

    def __init__(self, size: int, context: CompressionContext):
        """Holds so many states of the teacher's shape, or as many as fill 1 GiB."""
        like, self._context = context.teacher.observations, context
        size = min(size, max(1, MEMORY_BYTES // like[0].nbytes))
        self._states = np.empty((size, *like.shape[1:]), like.dtype)
        self._targets = np.empty((size, context.teacher.spec.n_actions), np.float32)
        self.seen = 0

    def add(self, states: NDArray[Any]) -> int:
        """Takes states [N, ...], no more than it holds, and says how many."""
        slots = (self.seen + np.arange(len(states))) % len(self._states)
        self._states[slots], self._targets[slots] = states, self._context.preferences(states, GAPS)
        self.seen += len(states)
        return len(states)

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """At random, with replacement: states [*shape, ...] and targets [*shape, A]."""
        slots = rng.integers(min(self.seen, len(self._states)), size=shape)
        return self._states[slots], self._targets[slots]

    def newest(self, count: int) -> NDArray[Any]:
        """A copy of at most so many states, from old to new."""
        count = min(count, self.seen, len(self._states))
        return self._states[(self.seen - count + np.arange(count)) % len(self._states)]


class _Look:
    """Compares networks with their teacher, in states of episodes that nothing is taught on."""

    def __init__(self, context: CompressionContext, episodes: int):
        teacher = context.teacher
        seeds = list(itertools.islice(context.reset_seeds, episodes))
        shown = tqdm(seeds, "states to compare", unit=" episodes", disable=None, leave=False)
        self._states = gather_from_episodes(teacher.policy, context.env, reset_seeds=shown, most=MOST_HELD_OUT, rng=context.rng)
        wanted = context.preferences(self._states, GAPS)  # [N, A]
        self._wanted, self._gaps = wanted.argmax(axis=1), _gaps(wanted)  # [N], [N]
        self._spec = teacher.spec

    def in_gaps(self, student: Student) -> Student:
        """The same choices in the unit of the targets: between the two best actions lies 1, in the median. Of the agent itself
        that is exact; fresh weights begin with outputs that are neither all alike nor far apart."""
        *rest, kernel, bias = student.network.get_weights()
        inputs = in_batches(self._states[:: -(-len(self._states) // 1_000)])
        gaps = _gaps(np.concatenate([student.network(student.scaling(batch)).numpy() for batch in inputs]))
        unit = np.median(gaps[gaps > 0]) if gaps.any() else np.float32(1)  # a small network may be born dead
        return student.with_weights([*rest, kernel / unit, bias / unit])

    def __call__(self, student: Student, weights: Weights) -> float:
        """The share of states in which a student of these weights chooses as its teacher, each weighted by its action gap; 1
        where no choice costs anything."""
        same = student.with_weights(weights).as_policy(self._spec).actions(self._states) == self._wanted  # [N]
        return float(self._gaps[same].sum() / self._gaps.sum()) if self._gaps.any() else 1.0


def _gaps(outputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Between the best and the second-best action: [N, A] -> [N]."""
    second, best = np.sort(outputs, axis=1)[:, -2:].T
    gaps: NDArray[np.float32] = best - second
    return gaps
