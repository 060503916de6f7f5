"""A stage of a recipe: what it is given, the student that it changes, and how that student plays."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import gymnasium
import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.numpy_network import NumpyNetwork, legal_alone
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, gather_observations
from edgedqn.agents.playing.spec import EnvironmentSpec, OneHot
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, Weights, in_batches, unfold_input_scaling
from edgedqn.compression.policy import FLOAT_INPUT, FLOAT_OUTPUT, CompressedPolicy, Conversion, Excess, Judge, Meaning
from edgedqn.compression.preferences import Targets
from edgedqn.compression.report import Findings
from edgedqn.compression.rounded_network import RoundedNetwork
from edgedqn.compression.tfmot import fake_quantization


@dataclass(frozen=True, kw_only=True)
class CompressionContext:
    """The teacher, its environment and where randomness comes from, as `compress` was given them. States are as the teacher's
    network sees them.

    Attributes:
      gap: the teacher's median action gap on-policy: the unit of the targets.
      conversion: what the exporter will do in the end.
      excess: why a candidate's file does not fit the board that it is for, empty where it does; None where any will do.
      tolerates: whether the policy may act otherwise in such a share of the states, each weighted by its action gap, at no cost
        that matters, see `Fragility.tolerates`. Where nobody measured it, it may not.
    """

    teacher: TrainedAgent
    env: gymnasium.Env[Any, Any]
    reset_seeds: Iterator[int]
    rng: np.random.Generator
    gap: float
    judge: Judge | None = None
    excess: Excess | None = None
    conversion: Conversion = "qat-int8"
    tolerates: Callable[[float], bool] = lambda disagreement: False

    def preferences(self, states: NDArray[Any], targets: Targets = Targets()) -> NDArray[np.float32]:
        """What the student is to output for states [N, ...]: float32 [N, A]."""
        return targets(q_values_of(self.teacher, states), self.gap)

    def gather_states(self, policy: Policy, count: int, *, epsilon: float) -> NDArray[Any]:
        """[count, ...] in the environment's dtype: the states that an epsilon-greedy `policy` visits."""
        if count == 0:
            return np.empty((0, *self.teacher.spec.input_shape), self.teacher.observations.dtype)
        explorer = EpsilonGreedy(policy, epsilon, n_actions=self.teacher.spec.n_actions, rng=self.rng)
        return gather_observations(explorer, self.env, reset_seeds=self.reset_seeds, count=count)

    def teacher_states(self, count: int) -> NDArray[Any]:
        """[N, ...]: the teacher's own observations, `count` that it visits at epsilon 0.05, and all states of a table."""
        visited = self.gather_states(self.teacher.policy, count, epsilon=0.05)
        return np.concatenate([self.teacher.observations, visited, self.table_states()])

    def table_states(self) -> NDArray[Any]:
        """All states [S, S], one-hot, where states have numbers, none, [0, ...], elsewhere.

        In a table nothing follows from one state for another, so the student learns each, also those the teacher rarely visits.
        """
        shape, dtype = self.teacher.spec.input_shape, self.teacher.observations.dtype
        is_table = self.teacher.spec.preprocessing == (OneHot(),)  # which actions are legal in each, only visits tell
        return np.eye(*shape, dtype=dtype) if is_table else np.empty((0, *shape), dtype)


@dataclass(frozen=True, kw_only=True)
class Student:
    """A network between two stages, and the states it is trained on.

    Attributes:
      network: plain, [B, ...] -> [B, A]; `quantized` is the same with fake quantization, once it is there.
      scaling: from what the teacher's network sees to this network's input.
      states: [N, ...] in the environment's dtype; `targets` made `preferences` [N, A] for them.
      meaning: of the output. Before any training it is the teacher's Q-values.
      pruned: its zeros must stay.
      clustered: weights that are equal must stay equal.
      per_output: whether `quantized` has one scale per output of a Dense kernel; None where it is TF-MOT's own.
    """

    network: tf_keras.Model
    scaling: InputScaling
    states: NDArray[Any]
    preferences: NDArray[np.float32]
    targets: Targets = Targets()
    meaning: Meaning = "q_values"
    quantized: tf_keras.Model | None = None
    pruned: bool = False
    clustered: bool = False
    per_output: bool | None = None

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """The states as the network takes them, in batches [B, ...]."""
        return map(self.scaling, in_batches(self.states))

    def with_states(self, states: NDArray[Any], context: CompressionContext) -> "Student":
        """Adds states [N, ...], and their targets, to those it is trained on."""
        return replace(
            self,
            states=np.concatenate([self.states, states]),
            preferences=np.concatenate([self.preferences, context.preferences(states, self.targets)]),
        )

    def with_weights(self, weights: Weights) -> "Student":
        """Another network of these weights."""
        network = tf_keras.models.clone_model(self.network)
        network.set_weights(weights)
        return replace(self, network=network)

    def as_agent(self, agent: TrainedAgent) -> TrainedAgent:
        """An agent in the place of the given one, with this network in float, before its input is clamped."""
        unscaled = self.with_weights(unfold_input_scaling(self.network.get_weights(), self.scaling))
        return replace(agent, network=unscaled.network)

    def as_policy(self, spec: EnvironmentSpec) -> "StudentPolicy":
        """Plays with its network as it is now: in float or, within rounding as its file will, fake-quantized."""
        scaling, quantized = self.scaling, self.quantized
        if quantized is None:
            operators = ChainReader(self.network)(self.network.get_weights())
            return scaled_policy(NumpyNetwork(operators, spec.input_shape), scaling, masked=spec.masked)

        def chosen(x: tf.Tensor) -> tf.Tensor:  # [B, ...] -> [B]
            values = quantized(scaling.tensor(x), training=False)  # [B, A]
            legal = tf.cast(x[:, -spec.n_actions :], tf.bool) if spec.masked else True
            return tf.argmax(tf.where(legal, values, values.dtype.min), axis=-1)

        compiled = tf.function(chosen)
        return StudentPolicy(lambda x: int(compiled(x[np.newaxis])[0]), compiled)

    def quantization_aware(self, conversion: Conversion) -> tf_keras.Model:
        """Its network with fake quantization as this conversion rounds. Zeros, clusters and one scale per output stay."""
        return fake_quantization.quantization_aware(
            self.network,
            self.scaling.limits,
            keep_zeros=self.pruned,
            keep_clusters=self.clustered,
            per_output=self.per_output,
            float_output=conversion == FLOAT_OUTPUT,
        )

    def as_compressed(self, agent: TrainedAgent, *, conversion: Conversion, recipe: str) -> CompressedPolicy:
        """The policy for the exporter, without reports and settings. A float input has no ends to be clamped to."""
        scaling = replace(self.scaling, limits=None) if conversion in FLOAT_INPUT else self.scaling
        return CompressedPolicy(
            network=self.quantized or self.network,
            conversion=conversion,
            scaling=scaling,
            meaning=self.meaning,
            spec=agent.spec,
            observations=agent.observations,
            recipe=recipe,
            reports=(),
            layers=describe(self.network),
            per_output=self.per_output,
        )


@dataclass(frozen=True)
class StudentPolicy:
    """Chooses actions for observations as the teacher's network sees them, one [...] or a batch [B, ...] at a time."""

    act: Callable[[NDArray[Any]], int]
    act_in_batch: Callable[[NDArray[Any]], NDArray[np.int64]]

    def __call__(self, observation: NDArray[Any], legal: NDArray[np.bool_] | None = None, /) -> int:
        """[...] -> an action; which are legal is in the observation."""
        return self.act(observation)

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """[N, ...] -> [N]."""
        return np.concatenate([self.act_in_batch(batch) for batch in in_batches(observations)])


def scaled_policy(network: NumpyNetwork | RoundedNetwork, scaling: InputScaling, *, masked: bool = False) -> StudentPolicy:
    """Plays by a network of scaled observations; `masked` as of `NumpyNetwork`."""

    def actions(x: NDArray[Any]) -> NDArray[np.int64]:  # [..., *shape] -> [...]
        values = network.q_values(scaling(x))
        return (legal_alone(values, x) if masked else values).argmax(axis=-1)

    return StudentPolicy(lambda x: int(actions(x)), actions)


class Stage(ABC):
    """A frozen dataclass of settings, which turns one student into the next.

    Attributes:
      name: in a recipe's file and in reports.
      rounds_to_int8: it returns a network with fake quantization, which no later stage may change.
      asks_gate: it exports candidates and plays them, so what it returns depends on the gate.
      fixes_weights: it sets weights to zero or to shared values, which later stages keep.
    """

    name: ClassVar[str]
    rounds_to_int8: ClassVar[bool] = False
    asks_gate: ClassVar[bool] = False
    fixes_weights: ClassVar[bool] = False

    @property
    def trains(self) -> Meaning | None:
        """What it trains the network to output, as it or its settings of a training say; None where it trains nothing."""
        return next((each.meaning for each in (self, *vars(self).values()) if hasattr(each, "meaning")), None)

    @abstractmethod
    def apply(self, student: Student, context: CompressionContext) -> tuple[Student, Findings]:
        """Returns the next student and what it did; the student it was given is left as it is."""


def q_values_of(agent: TrainedAgent, states: NDArray[Any]) -> NDArray[np.float32]:
    """The agent's Q-values [N, A] of states [N, ...] as its network sees them, in batches. An action that is not legal is worth
    as much as the worst that is."""
    policy, spec = agent.policy, agent.spec
    q_values = np.concatenate([policy.q_values(batch) for batch in in_batches(states)])
    if (legal := spec.legal_in(states)) is None:
        return q_values
    return np.where(legal, q_values, np.where(legal, q_values, np.inf).min(axis=1, keepdims=True))


def choices_of(agent: TrainedAgent, states: NDArray[Any]) -> NDArray[np.int64]:
    """The agent's actions [N] in states [N, ...] as its network sees them, in batches."""
    policy = agent.policy
    return np.concatenate([policy.actions(batch) for batch in in_batches(states)])
