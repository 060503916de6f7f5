"""What is asked of actors that collect the steps of a training."""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from edgedqn.agents.errors import make_plain, require
from edgedqn.agents.files import JsonValue

ActorPolicy = Literal["int8", "float"]
STEEPEST = 7.0  # alpha of Ape-X
AT_ONCE = 64  # steps: a call of Ray costs about as much as so many steps of CartPole


@dataclass(frozen=True, kw_only=True)
class CollectionConfig(JsonValue):
    """How actors of a Ray cluster collect the steps of a training. It is an experiment: what comes of it depends on who is done
    first, so that the same seed does not give the same weights.

    Attributes:
      actors: processes that play, >= 1, with one core of the cluster's each.
      policy: what they play with: the network's weights in float, or the `.tflite` that `ptq-int8` makes of it.
      publish_every: gradient steps after which they get new weights, >= 1. Until the first gradient step they act at random;
        where a training is gone on with, by its weights from the start.
      chunk_steps: environment steps that an actor sends at once, >= 1.
      chunks_ahead: chunks of an actor that are asked for and not yet learned from, >= 1. So the environments are at most
        `slack_steps` ahead of the learner, and an actor that is further waits.
      address: of the Ray cluster; that of this machine by default. It decides nothing, and is not written down.

    Source: Krishnan et al. (2022), "QuaRL: Quantization for Fast and Environmentally Sustainable Reinforcement Learning"
      (ActorQ: actors in int8, a learner in float); Horgan et al. (2018), "Distributed Prioritized Experience Replay" (Ape-X: an
      epsilon for each actor). Difference: actors set no priorities.
    """

    LEFT_OUT: ClassVar[tuple[str, ...]] = ("address",)

    actors: int = 2
    policy: ActorPolicy = "int8"
    publish_every: int = 250
    chunk_steps: int = AT_ONCE
    chunks_ahead: int = 2
    address: str | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        for name in ("actors", "publish_every", "chunk_steps", "chunks_ahead"):
            value = getattr(self, name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            require(whole and value >= 1, f"Expected {name} of 1 or more. Got {name}={value!r}.")
        policies = get_args(ActorPolicy)
        require(self.policy in policies, f"Expected policy to be one of {', '.join(policies)}. Got policy={self.policy!r}.")

    @property
    def slack_steps(self) -> int:
        """How many environment steps may have been taken, at most, that nothing was learned from yet."""
        return self.actors * self.chunks_ahead * self.chunk_steps

    @property
    def written(self) -> "CollectionConfig":
        """Without what decides nothing."""
        return replace(self, address=None)

    def options(self) -> str:
        """What asks for it on the command line, but for an address; no option is for the size of chunks."""
        return f"--engine ray --actors {self.actors} --actor-policy {self.policy} --publish-every {self.publish_every}"

    def exponent(self, actor: int) -> float:
        """Actor i of N acts at random with the probability epsilon ** (1 + 7 i / (N - 1)), where epsilon is the training's,
        which falls as its configuration says. So the first is as curious as one process would be, the last hardly at all.

        Source: Horgan et al. (2018), with alpha = 7. Difference: their epsilon is 0.4 throughout.
        """
        return 1 + STEEPEST * actor / max(1, self.actors - 1)
