"""How files play where sensors are noisy, late or stuck: is the small policy more brittle than the float one?"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.disturbances import Delay, Disturbance, Flips, Hold, SensorNoise
from edgedqn.agents.playing.statistics import bootstrap_interval
from edgedqn.benchmarks.playing import Play, Players
from edgedqn.benchmarks.rows import Stress, Stressed, StressTest

NOISE = (0.01, 0.02, 0.05, 0.10)  # shares of a feature's standard deviation
FLIPS = (0.001, 0.002, 0.005, 0.01)  # probabilities, of each boolean in each step: one in ten of a sensor's noise
HOLDS = (0.05, 0.10, 0.20)  # probabilities, in each step


def measure_stress(
    files: Mapping[str, Path], baseline: str, *, observations: NDArray[Any], play: Play, progress: bool = True
) -> StressTest:
    """Plays files undisturbed and under each stress, all on the same reset seeds and with the same draws.

    Args:
      files: `.tflite` files by name, the baseline among them.
      baseline: the name of the float file.
      observations: [N, *observation_shape] as a device gets them, on-policy: what noise is measured by.
      play: where; its gate's last look is how many episodes.
      progress: show bars on stderr, where that is a terminal.
    """
    episodes = play.gate.looks[-1]
    disturbances, note = _disturbances(observations)
    with Players(play, progress) as players:
        calm = {name: players.returns(path, episodes) for name, path in files.items()}  # each [episodes]
        stresses = []
        for disturbance in disturbances:
            returns = {name: players.returns(path, episodes, disturbance=disturbance) for name, path in files.items()}
            lost = {name: calm[name] - returns[name] for name in files}
            stressed = [
                Stressed(
                    name=name,
                    mean_return=float(returns[name].mean()),
                    loss=bootstrap_interval(lost[name]),
                    excess=None if name == baseline else bootstrap_interval(lost[name] - lost[baseline]),
                )
                for name in files
            ]
            stresses.append(Stress(str(disturbance), tuple(stressed)))
        return StressTest(episodes=episodes, note=note, stresses=tuple(stresses))


def _disturbances(observations: NDArray[Any]) -> tuple[list[Disturbance], str]:
    """What may happen to such observations, mildest first, and what it is, in words."""
    shape = observations.shape[1:]
    late = "A delay shows the observation of the step before."
    whole = "What holds is the whole observation, as where a frame is lost."
    if not shape:
        return [Delay(), *(Hold(share, each=False) for share in HOLDS)], f"A state's number has no noise. {late} {whole}"
    if observations.dtype == bool:
        flips = "Each boolean of an observation flips with that probability."
        return [*map(Flips, FLIPS), Delay(), *(Hold(share, each=False) for share in HOLDS)], f"{flips} {late} {whole}"
    if len(shape) > 1:
        spread, features = np.array([observations.std()]), "the standard deviation of all pixels"
        held = whole
    else:
        switches = np.array([len(np.unique(feature)) <= 2 for feature in observations.T])  # [F]
        spread = np.where(switches, 0, observations.std(axis=0))
        features = "each feature's standard deviation on-policy; one that takes only two values there is a switch, and has none"
        held = "What holds is each feature by itself."
    noise = [SensorNoise(share, tuple(spread.tolist())) for share in NOISE]
    holds = [Hold(share, each=len(shape) == 1) for share in HOLDS]
    return [*noise, Delay(), *holds], f"Noise is Gaussian, a share of {features}. {late} {held}"
