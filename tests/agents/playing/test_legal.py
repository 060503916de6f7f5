"""Which actions are legal, from where an environment says it to where a policy is told."""

from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.legal import LegalActions, MaskFromObservation, legal_actions, mask_in
from edgedqn.agents.playing.source import EnvironmentSource


class Board(gymnasium.Env):
    """A game of four fields: a field can be taken once; its observations are as PettingZoo's."""

    action_space = spaces.Discrete(4)
    observation_space = spaces.Dict(
        {"observation": spaces.Box(0, 1, (4,), np.int8), "action_mask": spaces.Box(0, 1, (4,), np.int8)}
    )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.fields = np.zeros(4, np.int8)
        return self._seen(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.fields[action] = 1
        return self._seen(), 0.0, bool(self.fields.all()), False, {}

    def _seen(self) -> Any:
        return {"observation": self.fields.copy(), "action_mask": 1 - self.fields}


def test_taxi_says_which_actions_are_legal_only_to_whom_is_told() -> None:
    env = make_environment(EnvironmentSource("Taxi-v4", action_mask=True))
    _, info = env.reset(seed=1)
    legal = legal_actions(info)
    assert legal is not None and legal.dtype == bool
    np.testing.assert_array_equal(legal, info["action_mask"].astype(bool))
    plain = make_environment("Taxi-v4")
    assert legal_actions(plain.reset(seed=1)[1]) is None


def test_a_mask_among_the_observations_is_moved_to_info() -> None:
    assert mask_in(Board.observation_space, 4) and not mask_in(Board.observation_space, 3)
    assert not mask_in(spaces.Box(0, 1, (4,)), 4)
    env = LegalActions(MaskFromObservation(Board()), "Board-v0", 4)
    observation, info = env.reset()
    assert list(observation) == ["observation"] and env.observation_space == spaces.Dict(
        {"observation": spaces.Box(0, 1, (4,), np.int8)}
    )
    for action in range(4):
        observation, _, terminated, _, info = env.step(action)
        legal = legal_actions(info)
        assert legal is not None
        assert legal.tolist() == ([True] * 4 if terminated else [i > action for i in range(4)])  # at the end it does not matter


@pytest.mark.parametrize(("mask", "got"), [([1, 1], r"\[1 1\]"), ([0, 0, 0, 0], r"\[0 0 0 0\]"), (None, "none")])
def test_a_mask_that_leaves_nothing_is_refused(mask: Any, got: str) -> None:
    class Bad(gymnasium.Env):
        def reset(self, **_: Any) -> Any:
            return 0, {} if mask is None else {"action_mask": np.array(mask)}

    with pytest.raises(InputError, match=rf"^Bad-v0 gave a bad action_mask: expected \[4\] with .* Got {got}\."):
        LegalActions(Bad(), "Bad-v0", 4).reset()
