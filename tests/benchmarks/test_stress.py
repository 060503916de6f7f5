"""What is done to observations fits them, and a file is as brittle as what it depends on."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.playing.disturbances import Delay, Flips, Hold, SensorNoise
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.benchmarks.playing import Play
from edgedqn.benchmarks.rows import StressTest
from edgedqn.benchmarks.stress import _disturbances, measure_stress

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def test(models: Path, steer: str) -> StressTest:
    """In `Steer-v0`, where what was seen a step ago says nothing, and the third number decides."""
    play = Play(
        make_environment=partial(make_environment, f"{steer}:Steer-v0"), seeds=range(40), gate=Gate(looks=(40,)), random_seed=0
    )
    files = {name: models / f"{name}.tflite" for name in ("float32", "int8", "reversed")}
    observations = RNG.normal(size=(500, 4)).astype(np.float32)
    return measure_stress(files, "float32", observations=observations, play=play, progress=False)


def test_each_file_meets_each_stress(test: StressTest) -> None:
    assert [stress.what for stress in test.stresses] == [
        *("noise 1%", "noise 2%", "noise 5%", "noise 10%"), "delay 1 step", *("hold 5%", "hold 10%", "hold 20%")
    ]  # fmt: skip
    assert all([each.name for each in stress.files] == ["float32", "int8", "reversed"] for stress in test.stresses)
    assert "standard deviation" in test.note and "each feature by itself" in test.note
    assert StressTest.from_json(test.to_json()) == test


def test_losses_are_those_of_the_file_and_excess_is_what_the_baseline_does_not_lose(test: StressTest) -> None:
    by_name = {stress.what: {each.name: each for each in stress.files} for stress in test.stresses}
    late = by_name["delay 1 step"]
    # Of ten steps the first is seen on time; the others are guesses.
    assert late["float32"].mean_return == pytest.approx(5.5, abs=0.7) and late["float32"].excess is None
    assert late["float32"].loss.mean == pytest.approx(10 - late["float32"].mean_return)
    # The file that does the opposite has nothing to lose and gains as much.
    assert late["reversed"].mean_return == pytest.approx(10 - late["float32"].mean_return)
    excess = late["reversed"].excess
    assert excess is not None and excess.mean == pytest.approx(-2 * late["float32"].loss.mean) and excess.high < 0
    held = [by_name[f"hold {share}%"]["float32"].loss.mean for share in (5, 10, 20)]
    assert 0 < held[0] < held[1] < held[2] < 2
    assert all(abs(each["int8"].excess.mean) < 0.3 for each in by_name.values() if each["int8"].excess)


def test_stress_fits_what_is_observed() -> None:
    vectors = RNG.normal([0, 5, 0], [1, 2, 0], (1_000, 3))
    vectors[:, 2] = RNG.random(1_000) < 0.5  # a switch
    found, _ = _disturbances(vectors)
    noise = found[3]
    assert isinstance(noise, SensorNoise) and noise.share == 0.1
    assert noise.spread == pytest.approx((1, 2, 0), rel=0.1)
    assert found[-1] == Hold(0.2, each=True)
    booleans, note = _disturbances(RNG.random((50, 4, 4, 2)) < 0.5)
    assert booleans[:5] == [Flips(0.001), Flips(0.002), Flips(0.005), Flips(0.01), Delay()] and "flips" in note
    states, note = _disturbances(np.arange(16))
    assert states == [Delay(), *(Hold(share, each=False) for share in (0.05, 0.1, 0.2))] and "no noise" in note
    (pixels, *_), note = _disturbances(RNG.integers(0, 256, (20, 8, 8), np.uint8))
    assert isinstance(pixels, SensorNoise) and pixels.spread == pytest.approx((74,), rel=0.1) and "all pixels" in note
