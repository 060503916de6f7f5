"""What the collection of a training came to, as it stands in `agent.json`."""

from dataclasses import dataclass

from edgedqn.agents.files import Json
from edgedqn.pipeline.collection.config import CollectionConfig


@dataclass
class CollectionRecord:
    """Counts what is collected, by this process: where a training was interrupted, since it goes on.

    Attributes:
      env_steps: that were learned from.
      waiting_seconds: in which the learner had nothing to learn from.
      publishing_seconds: in which it made policies of its weights.
      seconds: in all, evaluations included.
      publications: of weights; `refused` of them no runtime took, and actors went on with the ones before.
      published_bytes: of them, once for each actor that was sent them.
      collected_bytes: of chunks.
      restarts: of actors that were gone.
      greedy_steps: that a policy's weights had a part in, not random ones before the first publication ...
      stale: ... and the sum over them of the gradient steps between these weights and the learner's.
    """

    config: CollectionConfig
    env_steps: int = 0
    waiting_seconds: float = 0.0
    publishing_seconds: float = 0.0
    seconds: float = 0.0
    publications: int = 0
    refused: int = 0
    published_bytes: int = 0
    collected_bytes: int = 0
    restarts: int = 0
    greedy_steps: int = 0
    stale: int = 0
    stalest: int = 0

    def took(self, steps: int, size: int, staleness: int | None) -> None:
        """A chunk of so many steps and bytes, by weights so many gradient steps older than the learner's; None: by none."""
        self.collected_bytes += size
        if staleness is not None:
            self.greedy_steps += steps
            self.stale += steps * staleness
            self.stalest = max(self.stalest, staleness)

    def to_json(self) -> Json:
        """An object; staleness in gradient steps."""
        config = self.config
        return {
            "engine": "ray",
            "reproducible": False,  # bit for bit: which actor is done first decides what is learned from first
            **config.written.to_json(),
            "slack_steps": config.slack_steps,
            "epsilon_exponents": [round(config.exponent(actor), 3) for actor in range(config.actors)],
            "env_steps": self.env_steps,
            "seconds": round(self.seconds, 2),
            "steps_per_second": round(self.env_steps / self.seconds, 1) if self.seconds else None,
            "waiting_seconds": round(self.waiting_seconds, 2),
            "publishing_seconds": round(self.publishing_seconds, 2),
            "publications": self.publications,
            "refused": self.refused,
            "published_bytes": self.published_bytes,
            "collected_bytes": self.collected_bytes,
            "staleness": {
                "mean": round(self.stale / self.greedy_steps, 1) if self.greedy_steps else None,
                "max": self.stalest if self.greedy_steps else None,
            },
            "restarts": self.restarts,
        }
