"""What goes wrong is what is said, as often as is said, and the same for every policy."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from edgedqn.agents.playing.disturbances import (
    Delay,
    Disturbance,
    Flips,
    Hold,
    NoisyValues,
    RandomActions,
    SensorNoise,
)

EPISODE = np.arange(40, dtype=np.float32).reshape(20, 2)  # [T, F], no two numbers alike


class Witness:
    """Remembers what it sees; prefers action 1 of 3."""

    n_actions = 3

    def __init__(self) -> None:
        self.seen: list[NDArray[Any]] = []
        self.resets = 0

    def __call__(self, observation: ArrayLike, /) -> int:
        return int(self.preferences(observation).argmax())

    def preferences(self, observation: ArrayLike, /) -> NDArray[Any]:
        self.seen.append(np.array(observation))
        return np.array([0.0, 1.0, 0.0])

    def reset(self) -> None:
        self.resets += 1


def play(disturbance: Disturbance, observations: Sequence[Any] | NDArray[Any], seed: int = 0) -> tuple[Witness, list[int]]:
    policy = Witness()
    disturbed = disturbance.start(policy, np.random.default_rng(seed))
    shared = np.array(observations[0])
    actions = []
    for each in observations:  # in one array, as some environments give them
        shared[...] = each
        actions.append(disturbed(shared))
    assert policy.resets == 1
    return policy, actions


def seen(disturbance: Disturbance, observations: Sequence[Any] | NDArray[Any], seed: int = 0) -> NDArray[Any]:
    return np.array(play(disturbance, observations, seed)[0].seen)


NOISE = SensorNoise(0.1, (2.0, 0.0))
ALL = [RandomActions(0.5), NoisyValues(1.0), NOISE, Delay(), Hold(0.5, each=True), Hold(0.5, each=False)]


@pytest.mark.parametrize("disturbance", ALL, ids=str)
def test_the_same_generator_disturbs_alike_and_every_observation_is_seen(disturbance: Disturbance) -> None:
    (first, actions), (again, others) = play(disturbance, EPISODE), play(disturbance, EPISODE)
    assert actions == others and np.array_equal(first.seen, again.seen)
    assert len(first.seen) == len(EPISODE)
    assert all(each.dtype == np.float32 for each in first.seen)
    assert str(disturbance)


def test_random_actions_are_as_many_as_is_said() -> None:
    _, actions = play(RandomActions(0.3), np.zeros((20_000, 1)))
    assert np.mean(np.array(actions) != 1) == pytest.approx(0.3 * 2 / 3, abs=0.01)
    assert set(play(RandomActions(0.0), EPISODE)[1]) == {1}


def test_noise_on_values_changes_what_is_closer_than_it_is_wide() -> None:
    changed = [np.mean(np.array(play(NoisyValues(deviation), np.zeros((5_000, 1)))[1]) != 1) for deviation in (0.1, 0.5, 100)]
    # Against one rival a difference of 1 falls below 0 with probability Phi(-1 / (0.5 * sqrt 2)) = 0.079, and there are two.
    assert changed[0] == 0 and 0.079 < changed[1] < 0.158 and changed[2] == pytest.approx(2 / 3, abs=0.02)


def test_sensor_noise_has_its_deviation_and_spares_what_does_not_vary() -> None:
    noise = seen(NOISE, np.zeros((20_000, 2), np.float32))
    assert noise[:, 0].std() == pytest.approx(0.2, rel=0.03) and abs(noise[:, 0].mean()) < 0.01
    assert not noise[:, 1].any()


def test_noisy_bytes_stay_bytes() -> None:
    noisy = seen(SensorNoise(1.0, (100.0,)), np.full((500, 3, 3), 250, np.uint8))
    assert noisy.dtype == np.uint8 and noisy.max() == 255 and len(np.unique(noisy)) > 50


def test_booleans_flip_as_often_as_is_said() -> None:
    flipped = seen(Flips(0.05), np.zeros((2_000, 5, 5), bool))
    assert flipped.dtype == bool and flipped.mean() == pytest.approx(0.05, abs=0.005)


def test_a_delay_shows_the_step_before() -> None:
    assert np.array_equal(seen(Delay(), EPISODE), [EPISODE[0], *EPISODE[:-1]])
    assert seen(Delay(), [3, 1, 2]).tolist() == [3, 3, 1]


def test_what_holds_shows_its_last_value_as_a_whole_or_by_feature() -> None:
    for each in (False, True):
        shown = seen(Hold(0.4, each=each), EPISODE)
        held = shown != EPISODE  # [T, F]
        assert not held[0].any() and 0.15 < held[1:].mean() < 0.65
        assert np.array_equal(shown[1:][held[1:]], shown[:-1][held[1:]])
        assert (held[:, 0] == held[:, 1]).all() != each
    assert np.array_equal(seen(Hold(0.0, each=True), EPISODE), EPISODE)
    assert seen(Hold(1.0, each=False), [3, 1, 2]).tolist() == [3, 3, 3]
