"""How to train: every number in one place, and the values that work per environment."""

from dataclasses import dataclass

from edgedqn.agents.errors import InputError


@dataclass(frozen=True)
class TrainingConfig:
    """All that decides a training besides the environment and the seed.

    Attributes:
      steps: environment steps.
      hidden: widths of the hidden layers.
      learning_rate: of Adam.
      batch_size: transitions per gradient step.
      buffer_size: transitions in the replay.
      learning_starts: environment steps before the first gradient step.
      discount: of the return, per step.
      target_update_interval: environment steps between copies to the target network.
      train_freq: environment steps between times of learning.
      gradient_steps: per time of learning.
      exploration_fraction: the part of the training over which epsilon falls from 1, in (0, 1].
      exploration_final: epsilon from then on.
      max_gradient_norm: the global norm gradients are clipped to.
      double: Double DQN.
      n_step: environment steps that a transition spans.
      averaging_steps: about how many environment steps the running average of the weights looks back; 0 averages nothing.
      evaluation_interval: environment steps between evaluations of the greedy policy.
      evaluation_episodes: per evaluation, on `select` seeds.
      finalists: how many of the best checkpoints are played again at the end, ten times as long, to choose one.
    """

    steps: int = 100_000
    hidden: tuple[int, ...] = (256, 256)
    learning_rate: float = 6.3e-4
    batch_size: int = 128
    buffer_size: int = 50_000
    learning_starts: int = 1_000
    discount: float = 0.99
    target_update_interval: int = 250
    train_freq: int = 16
    gradient_steps: int = 16
    exploration_fraction: float = 0.12
    exploration_final: float = 0.1
    max_gradient_norm: float = 10.0
    double: bool = True
    n_step: int = 3
    averaging_steps: int = 5_000
    evaluation_interval: int = 5_000
    evaluation_episodes: int = 10
    finalists: int = 4

    def __post_init__(self) -> None:
        counts = (
            "steps", "batch_size", "buffer_size", "target_update_interval", "train_freq", "gradient_steps",
            "n_step", "evaluation_interval", "evaluation_episodes", "finalists",
        )  # fmt: skip
        for name in counts:
            if getattr(self, name) < 1:
                raise InputError(f"Expected {name} of 1 or more. Got {name}={getattr(self, name)}.")
        for name in ("learning_starts", "averaging_steps"):
            if getattr(self, name) < 0:
                raise InputError(f"Expected {name} of 0 or more. Got {name}={getattr(self, name)}.")
        if not self.hidden or any(width < 1 for width in self.hidden):
            raise InputError(f"Expected at least one hidden width, each of 1 or more. Got hidden={self.hidden}.")
        for name in ("learning_rate", "max_gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"Expected {name} above 0. Got {name}={getattr(self, name)}.")
        for name in ("discount", "exploration_final"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"Expected {name} in [0, 1]. Got {name}={getattr(self, name)}.")
        if not 0 < self.exploration_fraction <= 1:
            raise InputError(f"Expected exploration_fraction in (0, 1]. Got {self.exploration_fraction}.")


PRESETS = {
    # The values of RL Baselines3 Zoo, with Double DQN, 3-step returns and averaged weights: without the last two, some seeds
    # never hold 500 (docs/decisions.md).
    "CartPole-v1": TrainingConfig(
        steps=50_000,
        learning_rate=2.3e-3,
        batch_size=64,
        buffer_size=100_000,
        learning_starts=1_000,
        target_update_interval=10,
        train_freq=256,
        gradient_steps=128,
        exploration_fraction=0.16,
        exploration_final=0.04,
        evaluation_interval=2_000,
    ),
}


def preset(env_id: str) -> TrainingConfig:
    """The tuned values for an environment, or the defaults of `TrainingConfig` where there are none."""
    return PRESETS.get(env_id.rpartition(":")[2], TrainingConfig())
