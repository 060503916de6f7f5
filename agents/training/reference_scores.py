"""What the presets score, as docs/results/reference_scores.json has it in full: for who lists them, and installed with them."""

from typing import NamedTuple


class ReferenceScore(NamedTuple):
    """What chosen checkpoints return on episodes that nothing had seen: the mean return of each training seed, from 0 on."""

    means: tuple[float, ...]
    env_steps: int  # of each training

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return sum(self.means) / len(self.means)


REFERENCE_SCORES = {
    "CartPole-v1": ReferenceScore((500.0, 500.0, 500.0, 500.0, 500.0), 50_000),
    "Acrobot-v1": ReferenceScore((-75.1, -66.74, -79.725, -72.75, -74.005), 100_000),
    "LunarLander-v3": ReferenceScore((262.343, 253.595, 253.07, 239.381, 247.502), 300_000),
    "MountainCar-v0": ReferenceScore((-98.775, -97.665, -97.83, -98.45, -98.52), 120_000),
    "FrozenLake-v1": ReferenceScore((0.752, 0.74, 0.73, 0.739, 0.718), 500_000),
    "Taxi-v4": ReferenceScore((7.876, 7.867, 7.789, 7.9, 7.919), 500_000),
    "MinAtar/Breakout-v1": ReferenceScore((17.045, 16.02, 20.67), 1_000_000),
    "MinAtar/Freeway-v1": ReferenceScore((57.565, 57.255, 57.235), 1_500_000),
    "Pendulum-v1": ReferenceScore((-139.514, -153.845, -148.83, -145.049, -149.679), 40_000),
    "MountainCarContinuous-v0": ReferenceScore((94.255, 92.983, 93.85, 94.052, 94.96), 60_000),
}
