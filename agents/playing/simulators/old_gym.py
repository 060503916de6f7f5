"""Environments that are registered with OpenAI's gym, gymnasium's predecessor, through the extra `gym`."""

import inspect
import sys
from collections.abc import Container
from typing import Any

import gymnasium

from edgedqn.agents.errors import InputError

OLD_GYM = "What is made for gym, not gymnasium, needs the extra `gym`: pip install 'edgedqn[gym]'"


def is_old(name: str) -> bool:
    """Whether gym, which the user's module has imported, knows an environment of this name, and gymnasium does not."""
    gym = sys.modules.get("gym")
    return gym is not None and name not in gymnasium.registry and name in _known(gym.envs.registration.registry)


def _known(registry: Any) -> Container[str]:
    names: Container[str] = getattr(registry, "env_specs", registry)  # of gym 0.21
    return names


def make_old(name: str, **settings: object) -> gymnasium.Env[Any, Any]:
    """Makes it with gym, as gymnasium's own are made. InputError: the extra `gym` is missing."""
    try:
        import gym
        from shimmy.openai_gym_compatibility import GymV26CompatibilityV0
    except ImportError as error:
        raise InputError(f"{name} is an environment of gym. {OLD_GYM}. Got: {error}.") from error
    old = gym.spec(name)
    creator = old.entry_point if callable(old.entry_point) else gym.envs.registration.load(old.entry_point)
    resets = getattr(creator, "reset", None)
    is_older = resets is not None and "seed" not in inspect.signature(resets).parameters  # of gym 0.25 and before
    # Its checker asks for names that NumPy 2 has no more.
    made = gym.make(name, disable_env_checker=True, apply_api_compatibility=is_older, **settings)
    env = GymV26CompatibilityV0(env=made)
    env.spec = gymnasium.envs.registration.EnvSpec(name, max_episode_steps=made.spec.max_episode_steps)
    return env
