"""What a policy that looks at images is shown in an episode, for the browser's page, which cannot simulate it."""

import json
import math
from contextlib import closing

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import choose
from edgedqn.export.devices.browser.bundle import Recording
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile
from edgedqn.pipeline.proving import source_of, spec_for

LONGEST = 600  # steps; 40 seconds of an Atari game
MOST_BYTES = 20_000_000
SEED = 0


def recorded(file: VerifiedFile) -> Recording | None:
    """The first steps of an episode that the policy plays, 600 and 20 MB at most, and what it did.

    Nothing where it looks at no images of bytes or is told which actions are legal, or where its environment cannot be made
    here, was wrapped, or names a module: a file's word alone has none imported.
    """
    device = file.device
    images = len(device.observation_shape) in (2, 3) and device.observation_dtype in ("uint8", "bool")
    if not images or device.masked:
        return None
    policy, observations, actions = EdgePolicy.load(file.path), [], []
    steps = min(LONGEST, max(1, MOST_BYTES // math.prod(device.observation_shape)))
    try:
        source = source_of(file)
        if ":" in json.dumps([source.id, dict(source.arguments)], separators=(",", "=")):  # module:Id, here or further inside
            return None
        with closing(make_environment(source)) as env:
            spec_for(policy, env, source=source)
            observation, info = env.reset(seed=SEED)
            for _ in range(steps):
                observations.append(np.array(observation, np.uint8))
                actions.append(choose(policy, observation, info))
                observation, _, terminated, truncated, info = env.step(actions[-1])
                if terminated or truncated:
                    break
    except InputError:  # the environment is not installed, or another one by now
        return None
    return Recording(np.stack(observations), actions)
