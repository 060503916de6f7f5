"""Multi-step transitions against their definition, over whole episodes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.agents.n_step import NStepTransitions, Transition


@given(
    n=st.integers(1, 5),
    discount=st.sampled_from([0.0, 0.5, 0.9, 1.0]),
    episodes=st.lists(
        st.tuples(
            st.lists(st.floats(-10, 10), min_size=1, max_size=9),  # rewards
            st.sampled_from(["terminated", "truncated", "both"]),
        ),
        min_size=1,
        max_size=4,
    ),
)
def test_each_state_is_given_once_with_the_return_of_at_most_n_steps(
    n: int, discount: float, episodes: list[tuple[list[float], str]]
) -> None:
    joiner: NStepTransitions[NDArray[Any]] = NStepTransitions(n, discount)
    for rewards, ending in episodes:  # nothing is carried from one episode to the next
        length = len(rewards)
        found = []
        for t, reward in enumerate(rewards):
            over = t == length - 1
            terminated, truncated = over and ending != "truncated", over and ending != "terminated"
            for transition in joiner.step(
                np.array([t]), t, r_t=reward, terminated=terminated, truncated=truncated, s_t=np.array([t + 1])
            ):
                assert transition.s_t.tolist() == [t + 1]  # given as soon as it is complete
                found.append(transition)
        assert [f.s_tm1.tolist() for f in found] == [[t] for t in range(length)]
        assert [f.a_tm1 for f in found] == list(range(length))
        for t, transition in enumerate(found):
            end = min(t + n, length)
            assert transition.s_t.tolist() == [end]
            assert transition.r_t == pytest.approx(sum(discount**k * r for k, r in enumerate(rewards[t:end])), abs=1e-9)
            dead = end == length and ending != "truncated"
            assert transition.discount_t == pytest.approx(0 if dead else discount ** (end - t))


@given(n=st.integers(1, 5), rewards=st.lists(st.floats(-10, 10), max_size=7), again=st.integers(1, 4))
def test_an_episode_that_is_cut_is_one_that_was_truncated_after_its_last_step(n: int, rewards: list[float], again: int) -> None:
    cut: NStepTransitions[int] = NStepTransitions(n, 0.9)
    truncated: NStepTransitions[int] = NStepTransitions(n, 0.9)
    ours: list[Transition[int]] = []
    theirs: list[Transition[int]] = []
    for t, reward in enumerate(rewards):
        ours += cut.step(t, 0, r_t=reward, terminated=False, truncated=False, s_t=t + 1)
        theirs += truncated.step(t, 0, r_t=reward, terminated=False, truncated=t == len(rewards) - 1, s_t=t + 1)
    ours += cut.cut(len(rewards))
    assert ours == theirs
    # Nothing is left of it.
    for t in range(again):
        ours += cut.step(t, 1, r_t=1.0, terminated=False, truncated=False, s_t=t + 1)
        theirs += truncated.step(t, 1, r_t=1.0, terminated=False, truncated=False, s_t=t + 1)
    assert ours == theirs


@pytest.mark.parametrize("n", [0, -1])
def test_a_transition_takes_a_step(n: int) -> None:
    with pytest.raises(ValueError, match=rf"Expected n of 1 or more\. Got {n}\."):
        NStepTransitions(n, 0.9)
