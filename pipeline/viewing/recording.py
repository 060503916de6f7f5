"""What a policy that looks at images is shown in an episode, for the browser's page, which cannot simulate it."""

from contextlib import closing

import numpy as np

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import choose
from edgedqn.export.devices.browser.bundle import Recording
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile
from edgedqn.pipeline.proving import source_of, spec_for

LONGEST = 600  # steps; 40 seconds of an Atari game
SEED = 0


def recorded(file: VerifiedFile) -> Recording | None:
    """The first steps of an episode that the policy plays, 600 at most, and what it did; nothing where it looks at no images of
    bytes, or its environment cannot be made here. A file's word alone has no module imported."""
    device = file.device
    if len(device.observation_shape) < 2 or device.observation_dtype not in ("uint8", "bool") or ":" in device.env_id:
        return None
    policy, observations, actions = EdgePolicy.load(file.path), [], []
    try:
        source = source_of(file)
        with closing(make_environment(source)) as env:
            spec_for(policy, env, source=source)
            observation, info = env.reset(seed=SEED)
            for _ in range(LONGEST):
                observations.append(np.array(observation, np.uint8))
                actions.append(choose(policy, observation, info))
                observation, _, terminated, truncated, info = env.step(actions[-1])
                if terminated or truncated:
                    break
    except InputError:  # the environment is not installed, or another one by now
        return None
    return Recording(np.stack(observations), actions)
