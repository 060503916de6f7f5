"""Limits are decided by spaces alone; a package's list has the newest version of what it registers itself."""

from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.benchmarks.peers import environment_limits as limits
from edgedqn.benchmarks.peers.environment_limits import Listing, Sight, as_text, limit_of, list_package, look_at, main, newest

VECTOR = spaces.Box(-1, 1, (4,))
TWO = spaces.Discrete(2)
CASES = [
    (VECTOR, TWO, 1.0, None),
    (spaces.Dict(text=spaces.Text(9), image=VECTOR), spaces.MultiDiscrete([8, 8, 8]), np.float32(1), None),
    (VECTOR, TWO, np.array([1.0]), None),
    (VECTOR, TWO, np.array([1.0, 2.0]), limits.REWARDS),
    (VECTOR, spaces.Tuple([TWO, TWO]), (1.0, 1.0), limits.AGENTS),
    (VECTOR, spaces.MultiBinary(9), 1.0, None),
    (VECTOR, spaces.MultiBinary(10), 1.0, limits.TOO_MANY),
    (VECTOR, spaces.Box(-1, 1, (3,)), 1.0, None),  # 5 levels each: 125 actions
    (VECTOR, spaces.Box(-1, 1, (5,)), 1.0, None),  # 3 levels each: 243
    (VECTOR, spaces.Box(-1, 1, (6,)), 1.0, limits.TOO_MANY),  # 729
    (VECTOR, spaces.Box(0, np.inf, (1,)), 1.0, limits.UNBOUNDED),
    (VECTOR, spaces.Discrete(1), 1.0, limits.NO_CHOICE),
    (VECTOR, spaces.Dict(steer=TWO), 1.0, limits.OTHER_ACTIONS),
    (spaces.Text(9), TWO, 1.0, limits.NO_NUMBERS),
    (spaces.Tuple([spaces.Text(9), spaces.Discrete(3)]), TWO, 1.0, None),
]
PACKAGE = """
import gymnasium
gymnasium.register("Elsewhere-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv")
for name in ("Pole-v2", "Pole-v10", "Other/Pole-v1"):
    gymnasium.register(name, entry_point=f"{__name__}:make")
gymnasium.register("Many-v0", vector_entry_point=f"{__name__}:make")
gymnasium.register("Broken-v0", entry_point=f"{__name__}:absent")
gymnasium.register("Lacking-v0", entry_point="my_survey_package.nowhere:absent")

def make(**_):
    return gymnasium.make("CartPole-v1").unwrapped
"""


@pytest.mark.parametrize(("observations", "actions", "reward", "expected"), CASES)
def test_a_limit_is_a_matter_of_spaces_and_reward(
    observations: "spaces.Space[object]", actions: "spaces.Space[object]", reward: object, expected: str | None
) -> None:
    assert limit_of(observations, actions, reward) == expected


def test_of_each_name_the_newest_version_counts_as_a_number() -> None:
    assert newest(["B-v2", "B-v10", "a/B-v1", "C", "B-v9"]) == ["B-v10", "C", "a/B-v1"]


def test_what_gymnasium_shows_is_told_and_what_it_cannot_make_too() -> None:
    sight = look_at("FrozenLake-v1")
    assert sight == Sight(id="FrozenLake-v1", observations="Discrete(16)", actions="Discrete(4)", has_states=True)
    wrapped = look_at("CartPole-v1", "gymnasium.wrappers:NormalizeReward")
    assert (wrapped.actions, wrapped.has_states, wrapped.limit) == ("Discrete(2)", False, None)
    assert look_at("NoSuch-v0").limit == limits.BROKEN
    assert look_at("no_such_module:Any-v0").limit == limits.MISSING


def test_a_space_reads_alike_in_every_process() -> None:
    class Words(spaces.Text):
        def __repr__(self) -> str:
            return f"Words({object.__repr__(self)},\n {'x' * 500})"

    text = as_text(Words(3))
    assert " at 0x" not in text and "\n" not in text and len(text) == limits.LONGEST_TEXT


def test_a_package_lists_what_it_holds_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_survey_package.py").write_text(PACKAGE)
    about = tmp_path / "my_survey_package-1.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-survey-package\nVersion: 1.2\n")
    (about / "RECORD").write_text("my_survey_package.py,,\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    monkeypatch.setattr(gymnasium, "registry", gymnasium.envs.registration.registry)
    main(["my_survey_package", str(tmp_path / "listing.json")])
    listing = Listing.read(tmp_path / "listing.json")
    assert (listing.version, listing.older, listing.vector_only) == ("1.2", 1, 1)  # Elsewhere-v0 is gymnasium's own class
    assert {each.id: each.limit for each in listing.environments} == {
        "my_survey_package:Broken-v0": limits.BROKEN,
        "my_survey_package:Lacking-v0": limits.MISSING,
        "my_survey_package:Other/Pole-v1": None,
        "my_survey_package:Pole-v10": None,
    }
    assert listing == list_package("my_survey_package")
