"""What an environment gives against what it declares: passed on, cast and told, or refused as the user's own."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from edgedqn.agents.errors import EnvironmentWarning, InputError
from edgedqn.agents.playing.checks import CheckedEnvironment

VECTOR: Any = spaces.Box(-10, 10, (4,), np.float32)
GOOD = np.arange(4, dtype=np.float32)


class Gives(gymnasium.Env):
    """Gives the same from reset and step, whatever it declares."""

    action_space = spaces.Discrete(2)

    def __init__(
        self, observation: Any, space: Any = VECTOR, *, reward: Any = 1.0, step: Any = None, closed: bool = True
    ) -> None:
        self.observation_space, self._observation = space, observation
        self._step = (observation, reward, False, False, {}) if step is None else step
        self.options: Any = "never reset"
        self._closed = closed

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        self.options = options
        return self._observation, {}

    def step(self, action: Any) -> Any:
        return self._step() if callable(self._step) else self._step

    def close(self) -> None:
        if not self._closed:
            raise RuntimeError("cannot close")


class Tensor:
    """As one of another library that lives on a device."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def played(env: Gives) -> Any:
    checked = CheckedEnvironment(env, "My-v0")
    first, _ = checked.reset(seed=0)
    second, reward, *_ = checked.step(0)
    np.testing.assert_array_equal(first, second)
    assert type(reward) is float
    return second


def test_what_is_as_declared_is_passed_on_as_it_is() -> None:
    assert played(Gives(GOOD)) is GOOD
    assert played(Gives(3, spaces.Discrete(5))) == 3


@pytest.mark.parametrize(
    ("given", "space", "taken"),
    [
        (GOOD.astype(np.float64), VECTOR, GOOD),
        ([0, 1, 2, 3], VECTOR, GOOD),
        (GOOD, spaces.Box(0, 255, (4,), np.uint8), GOOD.astype(np.uint8)),
        (GOOD[None], VECTOR, GOOD),
        (GOOD > 1, spaces.Box(0, 1, (4,), np.int8), (GOOD > 1).astype(np.int8)),
        (np.array([3]), spaces.Discrete(5), 3),
    ],
)
@pytest.mark.filterwarnings("ignore::edgedqn.agents.errors.EnvironmentWarning")
def test_what_loses_nothing_is_cast(given: Any, space: Any, taken: Any) -> None:
    observation = played(Gives(given, space))
    np.testing.assert_array_equal(observation, taken)
    assert observation in space


@pytest.mark.parametrize(
    ("env", "told"),
    [
        (Gives(GOOD[None]), r"observations come as \[1, 4\]; they are taken as \[4\], as declared"),
        (Gives(GOOD, spaces.Box(0, 255, (4,), np.uint8)), r"observations come as float32; they are taken as uint8"),
        (Gives(GOOD, reward=np.ones(1)), r"rewards come as arrays of shape \[1\]; their one number is taken"),
        (Gives(GOOD + 10), r"some observations lie outside what it declares, Box\(-10\.0, 10\.0, \(4,\), float32\)"),
        (
            Gives(GOOD + 1.7e9, spaces.Box(-np.inf, np.inf, (4,), np.float32)),
            r"feature 0 .*around 1\.7e\+09\. In float32, .* by 128 or more",
        ),
        (
            Gives(np.array([1_700_000_000]), spaces.Box(0, 2**62, (1,), np.int64)),
            r"around 1\.7e\+09\. In float32, .* by 128 or",
        ),
        (
            Gives(np.array([1e300]), spaces.Box(-np.inf, np.inf, (1,), np.float64)),
            r"around 1e\+300\. .* no number so large can be",
        ),
        (Gives({"a": GOOD + 10}, spaces.Dict({"a": VECTOR})), r"some observations a lie outside what it declares, Box"),
        (
            Gives({"a": 0.5}, spaces.Dict({"a": spaces.Box(0, 1, (1,))})),
            r"observations a come as \[\]; they are taken as \[1\]",
        ),
        (Gives(GOOD, step=(GOOD, 1.0, False, False, {}), closed=False), r"failed in close\(\): RuntimeError: cannot close"),
        (
            Gives(np.array([2]), spaces.Discrete(3)),
            r"numbers of states come as int64 of shape \[1\] \[2\]; they are taken as int",
        ),
    ],
)
def test_what_is_not_as_declared_is_told(env: Gives, told: str) -> None:
    with pytest.warns(EnvironmentWarning, match=f"^My-v0.* {told}"):
        played(env)
        CheckedEnvironment(env, "My-v0").close()


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (
            Gives(GOOD / 3, spaces.Box(0, 255, (4,), np.uint8)),
            r"observation: expected what Box\(0, 255, .* can hold\. Got 0\.333333 in feature 1",
        ),
        (Gives(GOOD[:1]), r"observation: expected the shape \[4\], as Box\(.* Got float32 of shape \[1\] \[0\.0\]"),
        (Gives("left"), r"observation: expected Box\(.* Got str 'left'"),
        (Gives([GOOD, 1]), r"observation: expected Box\(.* Got list "),
        (Gives(7, spaces.Discrete(5)), r"observation: expected Discrete\(5\)\. Got int 7"),
        (Gives({"a": 1}, spaces.Dict({"a": VECTOR, "b": VECTOR})), r"observation: expected Dict\(.* Got dict"),
        (Gives({"a": GOOD, "b": 9}, spaces.Dict({"a": VECTOR, "b": spaces.Discrete(3)})), r"observation b: .* Got int 9"),
        (
            Gives((GOOD, 2), spaces.Tuple([VECTOR, spaces.MultiBinary(2)])),
            r"observation 1: expected the shape \[2\], as MultiBinary\(2\) says",
        ),
        (Gives(GOOD, reward=np.ones(2)), r"reward: expected one number\. Got float64 of shape \[2\].* A wrapper makes one"),
        (Gives(GOOD, reward="much"), r"reward: expected one number\. Got str 'much'"),
        (Gives(GOOD, step=(GOOD, 1.0, False, {})), r"step: expected observation, reward, terminated, truncated, info\. Got 4"),
        (Gives(GOOD, step=GOOD), r"step: expected observation, reward, .* Got float32 of shape"),
        (Gives(GOOD, step=(GOOD, 1.0, False, False, None)), r"info: expected a dict\. Got NoneType None"),
        (Gives(GOOD, step=(GOOD, 1.0, "False", False, {})), r"terminated: expected True or False\. Got str 'False'"),
        (
            Gives(GOOD, step=(GOOD, 1.0, False, np.zeros(2, bool), {})),
            r"truncated: expected True or False\. Got bool of shape \[2\]",
        ),
        (Gives(Tensor()), r"observation: expected Box\(.* Got Tensor"),
        (Gives(np.array([0, 1e300, 0, 0])), r"observation: expected what Box\(.* can hold\. Got 1e\+300 in feature 1"),
    ],
)
@pytest.mark.filterwarnings("ignore::edgedqn.agents.errors.EnvironmentWarning")
def test_what_would_lose_something_is_refused_in_one_line(env: Gives, reason: str) -> None:
    with pytest.raises(InputError, match=f"^My-v0 gave a bad {reason}") as caught:
        played(env)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("space", [None, "Box(4)"])
def test_what_has_no_space_is_refused(space: Any) -> None:
    with pytest.raises(InputError, match=r"^My-v0 has no observation_space: expected a space of gymnasium's\. Got "):
        CheckedEnvironment(Gives(GOOD, space), "My-v0")


def test_each_reset_has_the_options_as_they_were_asked_for() -> None:
    class Takes(Gives):
        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
            return GOOD, {"start": (options or {}).pop("start", "forgotten")}

    checked = CheckedEnvironment(Takes(GOOD), "My-v0", options={"start": 7})
    assert [checked.reset()[1]["start"] for _ in range(2)] == [7, 7]


def test_an_old_reset_is_refused() -> None:
    class Old(Gives):
        def reset(self, **_: Any) -> Any:
            return GOOD

    with pytest.raises(InputError, match=r"^My-v0 gave a bad reset: expected an observation and a dict\. Got float32 of shape"):
        CheckedEnvironment(Old(GOOD), "My-v0").reset()


def test_gymnasiums_own_wrappers_do_not_hide_four_values() -> None:
    limited = gymnasium.wrappers.TimeLimit(Gives(GOOD, step=(GOOD, 1.0, False, {})), 10)
    checked = CheckedEnvironment(limited, "My-v0")
    checked.reset()
    with pytest.raises(InputError, match=r"^My-v0 gave a bad step: expected observation, .* Got 4 values\.$"):
        checked.step(0)


def test_an_exception_is_told_as_the_users_with_their_line() -> None:
    def lost() -> Any:
        raise RuntimeError("the simulator\nlost its connection")

    checked = CheckedEnvironment(Gives(GOOD, step=lost), "My-v0")
    checked.reset()
    line = lost.__code__.co_firstlineno + 1
    with pytest.raises(InputError) as caught:
        checked.step(0)
    place = f"({__file__}, line {line})"
    assert str(caught.value) == f"My-v0 failed in step(): RuntimeError: the simulator lost its connection {place}"


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError, gymnasium.error.DependencyNotInstalled])
def test_what_is_not_theirs_passes(error: Callable[[], BaseException]) -> None:
    def end() -> Any:
        raise error()

    checked = CheckedEnvironment(Gives(GOOD, step=end), "My-v0")
    checked.reset()
    with pytest.raises(error):  # type: ignore[call-overload]
        checked.step(0)


def test_a_reset_has_no_options_but_its_own() -> None:
    env = Gives(GOOD)
    CheckedEnvironment(env, "My-v0").reset(options={})  # as several environments side by side hand them on
    assert env.options is None
    CheckedEnvironment(env, "My-v0", options={"start": 3}).reset()
    assert env.options == {"start": 3}
