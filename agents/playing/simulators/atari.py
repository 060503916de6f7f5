"""Games of the Arcade Learning Environment, seen as those who trained agents on them have shown them.

There are two ways. `ALE/Breakout-v5` is seen through gymnasium's AtariPreprocessing, and one action in four is replaced by the
one before (Machado et al. 2018). `BreakoutNoFrameskip-v4` is what Stable-Baselines3's zoo trains on, behind its AtariWrapper:
no action is replaced, and FIRE is pressed where a life begins, which its agents have therefore never learned to do. The id
decides, so whatever makes the environment again makes the same one.

Deviations from AtariWrapper: of two frames the brighter is taken after they are gray, not before, which is the same but where
sprites flicker; and a stack of frames begins with the first one repeated, not with zeros.
"""

import importlib
import re
from typing import Any

import gymnasium

from edgedqn.agents.errors import InputError, tell

_PREFIX = "ALE/"
_OF_THE_ZOO = re.compile(r"[A-Z]\w*(NoFrameskip|Deterministic)-v\d")
_LIKE_A_GAME = re.compile(r"[A-Z]\w*-v[045]")
_NOTHING, _FIRE, _ANOTHER = 0, 1, 2  # actions; SB3 takes a third one because some games begin with that


def register(name: str) -> None:
    """Has ale_py register its games where this may be one. InputError: it is one, and the extra is missing."""
    if name in gymnasium.registry or not (name.startswith(_PREFIX) or _LIKE_A_GAME.fullmatch(name)):
        return
    if any(known.startswith(_PREFIX) for known in gymnasium.registry):
        return
    try:
        ale = importlib.import_module("ale_py")
    except ImportError as error:
        if not name.startswith(_PREFIX) and not _OF_THE_ZOO.fullmatch(name):
            return  # it may be anything
        raise InputError(f"{name} needs the extra 'atari': pip install edgedqn[atari]. Got: {error}.") from error
    ale.ALEInterface.setLoggerMode(ale.LoggerMode.Error)  # it greets on stderr else
    gymnasium.register_envs(ale)


def is_atari(name: str) -> bool:
    """Whether an id, without its module, is that of a game; registered before or not."""
    if name.startswith(_PREFIX) or (name not in gymnasium.registry and _OF_THE_ZOO.fullmatch(name)):
        return True
    register(name)
    known = gymnasium.registry.get(name)
    return known is not None and str(known.entry_point).startswith("ale_py")


def of_the_zoo(name: str) -> str:
    """The id by which SB3's zoo trains on a game: BreakoutNoFrameskip-v4 for ALE/Breakout-v5."""
    return re.sub(r"(NoFrameskip|Deterministic)?-v\d$", "NoFrameskip-v4", name.removeprefix(_PREFIX))


def told_of(name: str, *, by_sb3: bool) -> str:
    """What an agent from elsewhere is shown of a game, `by_sb3` where SB3 has trained it; a line for a person."""
    if name.startswith(_PREFIX):
        hint = f" An agent of SB3's zoo was shown {of_the_zoo(name)}: name that instead." if by_sb3 else ""
        return f"{name} is seen through gymnasium's AtariPreprocessing, and repeats one action in four at random.{hint}"
    return (
        f"{name} is seen as in SB3's zoo: every 4th frame in 84x84 grays, after 1 to 30 no-ops; FIRE is pressed where a life "
        "begins and the game has it. Rewards are not clipped, and an episode ends with the last life."
    )


def as_seen(env: gymnasium.Env[Any, Any], name: str) -> gymnasium.Env[Any, Any]:
    """A game that was made with a frame skip of 1, as agents see it: every 4th frame in 84x84 grays, after 1 to 30 no-ops.

    Rewards are as the game gives them, and an episode ends with the last life: SB3 clips the former, and ends episodes at each
    life, to learn.
    """
    env = gymnasium.wrappers.AtariPreprocessing(env)
    if name.startswith(_PREFIX):
        return env
    skip = gymnasium.registry[name].kwargs.get("frameskip")
    if skip != 1:
        tell(f"{name} skips frames at random itself, {skip}: every 4th is seen in place of that, as in {of_the_zoo(name)}.")
    meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
    return FireAtEachLife(env) if meanings[_FIRE:][:1] == ["FIRE"] and len(meanings) > _ANOTHER else env


class FireAtEachLife(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Presses FIRE where a life begins, as FireResetEnv and EpisodicLifeEnv of SB3 do together, but within one episode."""

    _lives = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        for action in (_FIRE, _ANOTHER):
            observation, _, terminated, truncated, info = self.env.step(action)
            if terminated or truncated:
                observation, info = self.env.reset(options=options)
        self._lives = self._count()
        return observation, info

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = self.env.step(action)
        total = float(reward)
        if 0 < self._count() < self._lives:
            for press in (_NOTHING, _FIRE, _ANOTHER):
                if terminated or truncated:
                    break
                observation, reward, terminated, truncated, info = self.env.step(press)
                total += float(reward)
        self._lives = self._count()
        return observation, total, terminated, truncated, info

    def _count(self) -> int:
        return int(self.env.unwrapped.ale.lives())  # type: ignore[attr-defined]
