"""Games are seen as those who trained agents on them have shown them: compared with Stable-Baselines3's own wrappers."""

import subprocess
import sys
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import EnvironmentWarning, InputError
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.simulators.atari import FireAtEachLife, is_atari, of_the_zoo, told_of
from edgedqn.agents.playing.spec import Atari, EnvironmentSpec, FrameStack, spec_of

pytest.importorskip("ale_py", reason="needs games: the extra atari")
STACK = 4


def theirs(env_id: str) -> Any:
    """What SB3's zoo makes of an id; an episode is a life."""
    pytest.importorskip("stable_baselines3", reason="needs Stable-Baselines3: the extra peers")
    from stable_baselines3.common.atari_wrappers import AtariWrapper
    from stable_baselines3.common.vec_env import DummyVecEnv, VecFrameStack

    return VecFrameStack(DummyVecEnv([lambda: AtariWrapper(gymnasium.make(env_id), clip_reward=False)]), STACK)


def ours(env_id: str) -> gymnasium.Env[Any, Any]:
    env = make_environment(env_id)
    return agent_view(env, spec_of(env, env_id, frame_stack=STACK))


@pytest.mark.parametrize(
    ("env_id", "lives", "unequal", "levels"),
    [
        ("BreakoutNoFrameskip-v4", 5, 0, 0),
        ("PongNoFrameskip-v4", 0, 0, 0),
        ("FreewayNoFrameskip-v4", 0, 0.02, 16),  # has no FIRE; where sprites meet, the brighter gray is another
    ],
)
def test_observations_are_those_of_sb3(env_id: str, lives: int, unequal: float, levels: int) -> None:
    """Both draw the number of no-ops from the same seed, and take the same actions; here an episode goes on with each life."""
    env, vector = ours(env_id), theirs(env_id)
    vector.seed(11)
    (expected,), (got, _) = vector.reset(), env.reset(seed=11)
    assert got.shape == expected.shape == (84, 84, STACK) and got.dtype == expected.dtype == np.uint8
    assert env.get_wrapper_attr("ale").lives() == lives
    rng, age, lost, frames = np.random.default_rng(0), 1, 0, set()
    for _ in range(80):
        # SB3 fills the stack with zeros where a life begins; here the first frame is repeated, or the last ones stay.
        theirs_now, ours_now = (each[..., -min(age, STACK) :].astype(int) for each in (expected, got))
        assert (theirs_now != ours_now).mean() <= unequal and abs(theirs_now - ours_now).max() <= levels
        frames.add(got[..., -1].tobytes())
        action = int(rng.integers(3))
        got, reward, terminated, truncated, _ = env.step(action)
        (expected,), (their_reward,), (over,), _ = vector.step([action])
        assert reward == their_reward and not terminated and not truncated
        assert over == (env.get_wrapper_attr("ale").lives() < lives)
        age, lost, lives = 1 if over else age + 1, lost + over, lives - over
    assert len(frames) > 40 and lost == (0 if lives == 0 else 3)
    env.close()


def raw_frames(env_id: str) -> tuple[int, gymnasium.Env[Any, Any]]:
    env = make_environment(env_id)
    env.reset(seed=1)
    before = env.get_wrapper_attr("ale").getEpisodeFrameNumber()
    env.step(0)
    return env.get_wrapper_attr("ale").getEpisodeFrameNumber() - before, env


@pytest.mark.parametrize(
    ("env_id", "sticky", "fires"),
    [
        ("ALE/Breakout-v5", 0.25, False),  # as ever
        ("BreakoutNoFrameskip-v4", 0.0, True),
        ("Breakout-v4", 0.0, True),
        ("FreewayNoFrameskip-v4", 0.0, False),
    ],
)
@pytest.mark.filterwarnings("ignore::edgedqn.agents.errors.EnvironmentWarning")
def test_every_fourth_frame_is_seen_whatever_the_id_skips(env_id: str, sticky: float, fires: bool) -> None:
    frames, env = raw_frames(env_id)
    assert frames == 4
    assert env.get_wrapper_attr("ale").getFloat("repeat_action_probability") == sticky
    assert ("FireAtEachLife" in str(env)) == fires
    assert spec_of(env, env_id, frame_stack=STACK).preprocessing == (Atari(), FrameStack(STACK))
    env.close()


def test_what_skips_frames_itself_is_told() -> None:
    with pytest.warns(EnvironmentWarning, match=r"Breakout-v4 skips frames at random itself, \(2, 5\): .* as in BreakoutNoFra"):
        make_environment("Breakout-v4").close()


def test_what_was_recorded_makes_the_same_game_again() -> None:
    env_id = "BreakoutNoFrameskip-v4"
    spec = EnvironmentSpec.from_json(spec_of(make_environment(env_id), env_id, frame_stack=STACK).to_json())
    found = []
    for source in (env_id, spec.source):
        env = make_environment(source)
        found.append([env.reset(seed=2)[0], *(env.step(2)[0] for _ in range(5))])
        assert env.unwrapped.spec is not None and env.unwrapped.spec.id == env_id
        env.close()
    np.testing.assert_array_equal(found[0], found[1])


class Lives(gymnasium.Env):
    """Three lives; action 3 loses one, and presses are noted."""

    observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(4)

    def __init__(self) -> None:
        self.ale = self
        self.left, self.pressed = 0, list[int]()

    def lives(self) -> int:
        return self.left

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[NDArray[Any], dict[str, Any]]:
        self.left, self.pressed = 3, []
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[NDArray[Any], float, bool, bool, dict[str, Any]]:
        self.left -= action == 3
        self.pressed.append(int(action))
        return np.full(1, len(self.pressed), np.float32), 1.0, self.left == 0, False, {}


def test_fire_is_pressed_at_each_life_but_the_last_and_its_rewards_count() -> None:
    game = Lives()
    env = FireAtEachLife(game)
    assert env.reset()[0].tolist() == [2] and game.pressed == [1, 2]
    assert env.step(0)[:3] == (np.full(1, 3, np.float32), 1.0, False)
    assert env.step(3)[1:3] == (4.0, False) and game.pressed == [1, 2, 0, 3, 0, 1, 2]
    env.step(3)
    assert env.step(3)[1:3] == (1.0, True) and game.pressed[-1] == 3


def test_ids_of_games_are_known() -> None:
    assert all(map(is_atari, ("ALE/Pong-v5", "BreakoutNoFrameskip-v4", "PongNoFrameskip-v0")))
    assert not any(map(is_atari, ("CartPole-v1", "MinAtar/Breakout-v1", "Acrobot-v4")))
    assert of_the_zoo("ALE/Breakout-v5") == of_the_zoo("Breakout-v4") == "BreakoutNoFrameskip-v4"
    assert "name that instead" in told_of("ALE/Pong-v5", by_sb3=True)
    assert "name that instead" not in told_of("ALE/Pong-v5", by_sb3=False) + told_of("PongNoFrameskip-v4", by_sb3=True)


def test_the_nearest_id_of_a_game_is_named() -> None:
    with pytest.raises(
        InputError, match=r"^Unknown environment 'Breakout-v5'\. Nearest: ALE/Breakout-v5\. One of your own is module:Id\.$"
    ):
        make_environment("Breakout-v5")


def in_a_fresh_process(code: str) -> list[str]:
    """What is printed where no games are registered yet."""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return answer.stdout.splitlines()


def test_what_is_not_installed_is_named() -> None:
    needed, unknown = in_a_fresh_process(
        "import sys; sys.modules['ale_py'] = None\n"
        "from edgedqn.agents.playing.environments import make_environment\n"
        "for name in ('BreakoutNoFrameskip-v4', 'Breakout-v4'):\n"
        "    try: make_environment(name)\n"
        "    except ValueError as error: print(error)\n"
    )
    assert needed.startswith("BreakoutNoFrameskip-v4 needs the extra 'atari': pip install edgedqn[atari]. Got: ")
    assert unknown.startswith("Unknown environment 'Breakout-v4'.")


def test_the_gate_of_a_game_does_not_depend_on_what_was_made_before() -> None:
    code = "from edgedqn.agents.playing.gate import gate_for\n"
    code += "for env_id in ('Breakout-v4', 'Mine-v4'): print(gate_for(env_id).tolerance)"
    assert in_a_fresh_process(code) == ["0.05", "0.02"]
