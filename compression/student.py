"""Who is taught, and what: the things that the stages of a recipe hand on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import gymnasium
import numpy as np
import tensorflow as tf
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.architecture import describe
from edgedqn.agents.chain import ChainReader
from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, gather_observations
from edgedqn.agents.playing.preprocessing import OneHot
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import BATCH, InputScaling, Weights
from edgedqn.compression.judge import Judge
from edgedqn.compression.methods.distillation import Targets
from edgedqn.compression.policy import CompressedPolicy, Conversion, Meaning

Report = dict[str, Any]  # JSON: what a stage did, what it skipped and why


@dataclass(frozen=True)
class Lesson:
    """What is taught, and what it takes to teach it. States are as the teacher's network sees them.

    Attributes:
      teacher: the float agent.
      env: to gather states in, as the teacher's network sees it.
      reset_seeds: of the `calibrate` stream, endless.
      rng: for exploration and minibatches.
      gap: the teacher's median action gap on-policy: the unit of the targets.
      judge: says how a candidate plays as the exporter writes it; None where there is none: stages that search need one,
        `quantize_judged` does without.
      conversion: what the exporter will do in the end.
    """

    teacher: TrainedAgent
    env: gymnasium.Env[Any, Any]
    reset_seeds: Iterator[int]
    rng: np.random.Generator
    gap: float
    judge: Judge | None = None
    conversion: Conversion = "qat-int8"

    def preferences(self, states: NDArray[Any], targets: Targets = Targets()) -> NDArray[np.float32]:
        """What the student is to say of states [N, ...]: float32 [N, A]."""
        return targets(q_values_of(self.teacher, states), self.gap)

    def visit(self, policy: Policy, count: int, epsilon: float) -> NDArray[Any]:
        """[count, ...] in the environment's dtype: states that `policy`, with random actions mixed in, comes across."""
        if count == 0:
            return np.empty((0, *self.teacher.spec.input_shape), self.teacher.observations.dtype)
        explorer = EpsilonGreedy(policy, epsilon, n_actions=self.teacher.spec.n_actions, rng=self.rng)
        return gather_observations(explorer, self.env, reset_seeds=self.reset_seeds, count=count)

    def all_states(self) -> NDArray[Any]:
        """[S, S] one-hot where states have numbers, [0, ...] elsewhere.

        Nothing follows from one state of a table for another, so each must be taught, even where the teacher hardly comes.
        """
        spec = self.teacher.spec
        dtype = self.teacher.observations.dtype
        return (
            np.eye(*spec.input_shape, dtype=dtype)
            if OneHot() in spec.preprocessing
            else np.empty((0, *spec.input_shape), dtype)
        )


@dataclass(frozen=True)
class Student:
    """A network on its way.

    Attributes:
      network: plain, [B, ...] -> [B, A].
      scaling: from what the teacher's network sees to this network's input.
      states: [N, ...] in the environment's dtype: what it has been taught on.
      preferences: [N, A], the targets for them.
      targets: what they are made by.
      meaning: of the output. A network that nobody has taught gives its teacher's Q-values.
      quantized: the same network with fake quantization, once it is there.
      pruned: its zeros are meant, and must stay.
      clustered: so are the weights that are equal.
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

    def inputs(self) -> Iterator[NDArray[np.float32]]:
        """The states as the network takes them, in batches [B, ...]."""
        return self.scaling.batches(self.states)

    def taught(self, states: NDArray[Any], lesson: Lesson) -> "Student":
        """Remembers more states, [N, ...], and what their targets are."""
        return replace(
            self,
            states=np.concatenate([self.states, states]),
            preferences=np.concatenate([self.preferences, lesson.preferences(states, self.targets)]),
        )

    def with_weights(self, weights: Weights) -> "Student":
        """Another network of these weights."""
        network = tf_keras.models.clone_model(self.network)
        network.set_weights(weights)
        return replace(self, network=network)

    def as_policy(self, spec: EnvironmentSpec) -> "ScaledPolicy | QuantizedPolicy":
        """How it would play as it is."""
        if self.quantized is not None:
            return QuantizedPolicy(self.quantized, self.scaling)
        return ScaledPolicy(NumpyNetwork(ChainReader(self.network)(self.network.get_weights()), spec.input_shape), self.scaling)

    def as_compressed(
        self, spec: EnvironmentSpec, observations: NDArray[Any], conversion: Conversion, recipe: str
    ) -> CompressedPolicy:
        """What the exporter is handed; the reports are for whoever kept them."""
        return CompressedPolicy(
            network=self.quantized or self.network,
            conversion=conversion,
            scaling=self.scaling,
            meaning=self.meaning,
            spec=spec,
            observations=observations,
            recipe=recipe,
            reports=(),
            layers=describe(self.network),
        )


@dataclass(frozen=True)
class ScaledPolicy:
    """A network behind its input scaling."""

    network: NumpyNetwork
    scaling: InputScaling

    def __call__(self, observation: NDArray[Any], /) -> int:
        """[...] as the teacher's network sees it -> an action."""
        return self.network(self.scaling(observation))

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """[N, ...] -> [N]."""
        return np.concatenate([self.network.actions(batch) for batch in self.scaling.batches(observations)])


class QuantizedPolicy:
    """A network with fake quantization behind its input scaling: within rounding, how its file will play."""

    def __init__(self, network: tf_keras.Model, scaling: InputScaling):
        """Takes a network [B, ...] -> [B, A]."""

        @tf.function  # type: ignore[untyped-decorator] # TensorFlow ships no types
        def actions(x: tf.Tensor) -> tf.Tensor:  # [B, ...] -> [B]
            return tf.argmax(network(scaling.tensor(x), training=False), axis=-1)

        self._actions = actions

    def __call__(self, observation: NDArray[Any], /) -> int:
        """[...] as the teacher's network sees it -> an action."""
        return int(self._actions(observation[None])[0])

    def actions(self, observations: NDArray[Any]) -> NDArray[np.int64]:
        """[N, ...] -> [N]."""
        starts = range(0, len(observations), BATCH)
        return np.concatenate([self._actions(observations[start : start + BATCH]) for start in starts])


class Stage(Protocol):
    """One step of a recipe: a frozen dataclass."""

    name: ClassVar[str]  # as it stands in the report, and in a recipe's file
    rounds_to_int8: ClassVar[bool]  # it hands on a network with fake quantization

    def apply(self, student: Student, lesson: Lesson) -> tuple[Student, Report]:
        """Returns the next student, and what there is to report."""


def q_values_of(agent: TrainedAgent, states: NDArray[Any]) -> NDArray[np.float32]:
    """The agent's Q-values [N, A] of states [N, ...] as its network sees them, piece by piece."""
    policy = agent.policy
    return np.concatenate([policy.q_values(states[start : start + BATCH]) for start in range(0, len(states), BATCH)])
