"""Which environments a package registers, and what each asks for, as gymnasium alone sees it: nothing here is EdgeDQN's view.

`python -m edgedqn.benchmarks.peers.environment_limits MODULE FILE [WRAPPER]` writes one JSON object; `environments_survey`
starts it, so that it runs where the packages are installed.
"""

import importlib
import json
import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec, parse_env_id

from edgedqn.agents.files import JsonValue, write_json

MOST_ACTIONS = 512
LEVELS, FEWER_LEVELS = 5, 3  # of each dimension of a continuous action: of up to three, and of four or more
LONGEST_TEXT = 160

# What lies outside the stated limits (docs/measured/environments.md). The first two are not EdgeDQN's.
MISSING = "a package it needs is not installed"
BROKEN = "gymnasium cannot make it without arguments, or at all"
REWARDS = "a vector of rewards"
AGENTS = "several agents at once"
NO_CHOICE = "fewer than two actions"
TOO_MANY = f"more than {MOST_ACTIONS} actions"
UNBOUNDED = "continuous actions without bounds"
OTHER_ACTIONS = "another kind of actions"
NO_NUMBERS = "observations without numbers"


@dataclass(frozen=True, kw_only=True)
class Sight(JsonValue):
    """An environment as gymnasium shows it.

    Attributes:
      id: as it is given to `edgedqn`: `module:Id`, or gymnasium's own.
      observations, actions: the spaces as text, shortened; None where it cannot be made.
      has_states: observations are the number of a state.
      limit: which stated limit it is beyond; None where it is within all.
    """

    id: str
    observations: str | None = None
    actions: str | None = None
    has_states: bool = False
    limit: str | None = None


@dataclass(frozen=True, kw_only=True)
class Listing(JsonValue):
    """What a package registers.

    Attributes:
      version: the package's.
      environments: the newest version of each name, sorted.
      older: how many older versions were left out.
      vector_only: how many entries were left out that only make many environments at once.
    """

    version: str
    environments: tuple[Sight, ...]
    older: int
    vector_only: int

    @classmethod
    def read(cls, file: Path) -> "Listing":
        """What `main` wrote."""
        return cls.from_json(json.loads(file.read_text()))


def list_package(module: str, wrapper: str | None = None) -> Listing:
    """Imports a package and looks at each environment whose class it holds.

    Args:
      module: the package's import name.
      wrapper: `module:Class`, put around each.
    """
    importlib.import_module(module)
    specs = [spec for spec in gymnasium.registry.values() if _home(spec) == module]
    single = [spec for spec in specs if spec.entry_point is not None]
    ids = newest(spec.id for spec in single)
    names = [env_id if module == "gymnasium" else f"{module}:{env_id}" for env_id in ids]
    return Listing(
        version=metadata.version(metadata.packages_distributions()[module][0]),
        environments=tuple(look_at(name, wrapper) for name in names),
        older=len(single) - len(ids),
        vector_only=len(specs) - len(single),
    )


def newest(env_ids: Iterable[str]) -> list[str]:
    """Of the ids that differ in their version alone, the one with the highest; sorted."""
    best: dict[tuple[str | None, str], tuple[int, str]] = {}
    for env_id in env_ids:
        namespace, name, version = parse_env_id(env_id)
        found = (-1 if version is None else version, env_id)
        best[namespace, name] = max(best.get((namespace, name), found), found)
    return sorted(env_id for _, env_id in best.values())


def look_at(env_id: str, wrapper: str | None = None) -> Sight:
    """Makes an environment, takes a step in it, and says what it asks for."""
    try:
        env = gymnasium.make(env_id, disable_env_checker=True)
        if wrapper is not None:
            module, _, name = wrapper.partition(":")
            env = getattr(importlib.import_module(module), name)(env)
        env.reset(seed=0)
        _, reward, *_ = env.step(env.action_space.sample())
    except (ImportError, gymnasium.error.DependencyNotInstalled):
        return Sight(id=env_id, limit=MISSING)
    except Exception:  # whatever somebody's environment raises
        return Sight(id=env_id, limit=BROKEN)
    env.close()
    return Sight(
        id=env_id,
        observations=as_text(env.observation_space),
        actions=as_text(env.action_space),
        has_states=isinstance(env.observation_space, spaces.Discrete),
        limit=limit_of(env.observation_space, env.action_space, reward),
    )


def limit_of(observations: spaces.Space[Any], actions: spaces.Space[Any], reward: object) -> str | None:
    """Which stated limit an environment with these spaces, which gave this reward, is beyond; None where it is within all."""
    if isinstance(actions, spaces.Tuple):
        return AGENTS
    if np.ndim(reward) and np.size(reward) > 1:  # type: ignore[arg-type]
        return REWARDS
    if isinstance(actions, spaces.Box) and not np.isfinite([actions.low, actions.high]).all():
        return UNBOUNDED
    count = count_actions(actions)
    if count is None:
        return OTHER_ACTIONS
    if count < 2:
        return NO_CHOICE
    if count > MOST_ACTIONS:
        return TOO_MANY
    return None if _has_numbers(observations) else NO_NUMBERS


def count_actions(space: spaces.Space[Any]) -> int | None:
    """How many actions DQN has to rank: all combinations, of continuous ones by levels. None where the kind is another."""
    match space:
        case spaces.Discrete():
            return int(space.n)
        case spaces.MultiDiscrete():
            return math.prod(map(int, space.nvec.ravel()))
        case spaces.MultiBinary():
            return int(2 ** math.prod(space.shape))
        case spaces.Box():
            dimensions = math.prod(space.shape)
            return int((LEVELS if dimensions <= 3 else FEWER_LEVELS) ** dimensions)
        case _:
            return None


def as_text(space: spaces.Space[Any]) -> str:
    """A space in one line that is the same in every process."""
    text = re.sub(r" at 0x[0-9a-f]+", "", " ".join(str(space).split()))
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


def _has_numbers(space: spaces.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return any(map(_has_numbers, space.values() if isinstance(space, spaces.Dict) else space))
    return isinstance(space, spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary)


def _home(spec: EnvSpec) -> str:
    """The top package that holds an environment's class."""
    entry = spec.entry_point if spec.entry_point is not None else spec.vector_entry_point
    return (entry if isinstance(entry, str) else getattr(entry, "__module__", "")).partition(":")[0].partition(".")[0]


def main(arguments: Sequence[str]) -> None:
    """Writes what a package registers to a file."""
    module, file, *wrapper = arguments
    write_json(Path(file), list_package(module, *wrapper).to_json())


if __name__ == "__main__":
    main(sys.argv[1:])
