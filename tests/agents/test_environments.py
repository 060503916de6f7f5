"""What can be learned, what is refused and in which words."""

import json
import sys

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.environments import BadTransitionError, EnvironmentSpec, check_transition, make_environment, spec_of
from edgedqn.agents.errors import InputError

VECTOR = spaces.Box(-1, 1, (3,), np.float32)
TWO = spaces.Discrete(2)
LONG = np.arange(40, dtype=np.float32)  # printed, it fills several lines


class Fixed(gymnasium.Env):
    """Two spaces and no life."""

    def __init__(self, observations=VECTOR, actions=TWO):
        self.observation_space, self.action_space = observations, actions


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (Fixed(actions=spaces.Box(-1, 1, (2,))), r"an action space DQN cannot rank: expected Discrete\(n\)\. Got Box\(-1"),
        (Fixed(actions=spaces.Box(-LONG, LONG)), r"expected Discrete\(n\)\. Got Box\(\["),
        (Fixed(actions=spaces.MultiDiscrete([2, 3])), r"expected Discrete\(n\)\. Got MultiDiscrete\(\[2 3\]\)"),
        (Fixed(actions=spaces.MultiBinary(4)), r"expected Discrete\(n\)\. Got MultiBinary\(4\)"),
        (Fixed(actions=spaces.Discrete(3, start=1)), r"numbers its actions from 1: expected from 0\. Wrap the environment"),
        (Fixed(spaces.Dict({"a": VECTOR, "b": VECTOR})), r"no single vector: expected a Box\. Got Dict\(.*FlattenObservation"),
        (Fixed(spaces.Tuple([VECTOR, TWO])), r"no single vector: expected a Box\. Got Tuple\(.*FlattenObservation"),
        (Fixed(spaces.Discrete(16)), r"no single vector: expected a Box\. Got Discrete\(16\)"),
        (Fixed(spaces.Box(0, 255, (84, 84, 3), np.uint8)), r"observations of rank 3: expected a vector\. Got Box\("),
        (Fixed(spaces.Box(0, 1, (), np.float32)), r"observations of rank 0: expected a vector"),
    ],
)
def test_what_dqn_cannot_learn_is_refused_in_one_line(env, reason):
    with pytest.raises(InputError, match=rf"^My-v0 .*{reason}") as caught:
        spec_of(env, "My-v0")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


def test_the_spec_of_cartpole_round_trips_through_json():
    env = make_environment("CartPole-v1")
    spec = spec_of(env, "CartPole-v1")
    env.close()
    assert spec.observation_shape == (4,)
    assert spec.observation_dtype == "float32"
    assert spec.n_actions == 2
    # Position and angle have bounds, the velocities none; JSON has no infinity.
    assert [low is None for low in spec.observation_low] == [False, True, False, True]
    assert spec.observation_high[0] == pytest.approx(4.8)
    assert EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False))) == spec
    assert hash(spec) == hash(EnvironmentSpec.from_json(json.loads(json.dumps(spec.to_json()))))  # tuples again, no lists


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_infinity_and_the_largest_float_both_mean_unbounded(dtype):
    largest = np.finfo(np.float32).max
    high = np.array([1, np.inf, largest, 2], dtype)
    spec = spec_of(Fixed(spaces.Box(-high, high, dtype=dtype)), "My-v0")
    assert spec.observation_high == (1.0, None, None, 2.0)
    assert spec.observation_low == (-1.0, None, None, -2.0)


@pytest.mark.parametrize(
    ("env_id", "near"),
    [
        ("CartPole-v2", "CartPole-v1"),
        ("cartpole-v1", "CartPole-v1"),
        ("MountinCar-v0", "MountainCar-v0"),
        ("Acrobot", "Acrobot-v1"),
    ],
)
def test_an_unknown_id_gets_the_nearest_names(env_id, near):
    with pytest.raises(InputError, match=rf"^Unknown environment '{env_id}'\. Nearest: .*\b{near}\b.*\.$"):
        make_environment(env_id)


def test_an_id_like_no_other_gets_the_rule():
    with pytest.raises(InputError, match=r"^Unknown environment 'Qqqqqqqq'\. A gymnasium id, or module:Id, is expected\.$"):
        make_environment("Qqqqqqqq")


@pytest.mark.parametrize("module", ["no_such_module", "no.such.module", ".relative", "", "a:b"])
def test_a_module_that_cannot_be_imported(module):
    with pytest.raises(InputError, match=r"cannot be imported: .*Expected module:Id\.$"):
        make_environment(f"{module}:CartPole-v1")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module on the path: it registers two environments when it is imported, and one that needs what is not there."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "my_environments.py").write_text("""
import gymnasium, numpy as np
class My(gymnasium.Env):
    closed = False
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    def __init__(self, actions=2):
        print("My greets you")
        self.action_space = gymnasium.spaces.Discrete(actions) if actions else gymnasium.spaces.Box(-1, 1, (1,))
    def close(self):
        My.closed = True
class Lacking(gymnasium.Env):
    def __init__(self):
        import no_such_physics
gymnasium.register("EdgeDQNTest/My-v0", My)
gymnasium.register("EdgeDQNTest/MyContinuous-v0", My, kwargs={"actions": 0})
gymnasium.register("EdgeDQNTest/Lacking-v0", Lacking)
""")
    yield "my_environments"
    sys.modules.pop("my_environments", None)
    for name in ("My-v0", "MyContinuous-v0", "Lacking-v0"):
        gymnasium.registry.pop(f"EdgeDQNTest/{name}", None)


def test_a_users_own_environment(module, capsys):
    env_id = f"{module}:EdgeDQNTest/My-v0"
    env = make_environment(env_id)
    assert spec_of(env, env_id).id == env_id  # so that whoever reads the spec can make it again
    assert spec_of(env, env_id).observation_shape == (3,)
    assert capsys.readouterr().out == ""  # stdout is for --json
    with pytest.raises(InputError, match=r"Nearest: EdgeDQNTest/My-v0"):
        make_environment(f"{module}:EdgeDQNTest/Mi-v0")


def test_a_refused_environment_is_closed(module):
    with pytest.raises(InputError, match="cannot rank"):
        make_environment(f"{module}:EdgeDQNTest/MyContinuous-v0")
    assert sys.modules[module].My.closed


def test_an_environment_that_lacks_a_package(module):
    with pytest.raises(
        InputError, match=r"Lacking-v0 needs a package that is not installed: No module named 'no_such_physics'$"
    ):
        make_environment(f"{module}:EdgeDQNTest/Lacking-v0")


@given(
    values=st.lists(st.floats(-1e38, 1e38), min_size=1, max_size=6),
    dtype=st.sampled_from(["float32", "float64"]),
    bad=st.sampled_from([np.nan, np.inf, -np.inf]),
    data=st.data(),
)
def test_every_finite_observation_passes_and_no_other(values, dtype, bad, data):
    observation = np.array(values, dtype)
    check_transition("My-v0", 1, observation, 0.0)
    i = data.draw(st.integers(0, len(values) - 1))
    observation[i] = bad
    with pytest.raises(BadTransitionError, match=rf"^My-v0 gave a bad observation at step 12: .*Got {bad} in feature {i}\.$"):
        check_transition("My-v0", 12, observation, 0.0)


@pytest.mark.parametrize(
    "observation",
    [np.full(3, 1e30, np.float32), np.full(3, 1e300), np.full(3, 6e4, np.float16), np.full(9, 255, np.uint8), np.ones(2, bool)],
    ids=lambda observation: str(observation.dtype),
)
def test_large_is_not_infinite(observation):
    check_transition("My-v0", 1, observation, 1e300)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf])
def test_a_reward_is_a_number(reward):
    with pytest.raises(BadTransitionError, match=rf"bad reward at step 7: expected a finite number\. Got {reward}\.$"):
        check_transition("My-v0", 7, np.zeros(2), reward)


def test_a_complaint_is_one_line_however_long_the_observation():
    with pytest.raises(BadTransitionError) as caught:
        check_transition("My-v0", 7, np.full(500, np.nan), 0.0)
    assert "\n" not in str(caught.value)
