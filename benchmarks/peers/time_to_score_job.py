"""One training up to a score, in a process of its own; `time_to_score` starts it.

`python -m edgedqn.benchmarks.peers.time_to_score_job SIDE ENV_ID SEED` prints one JSON object.
"""

import itertools
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import Policy, evaluate
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.presets import find_preset
from edgedqn.benchmarks.latency.pinning import pinned
from edgedqn.benchmarks.peers.training_sides import ZOO, Settings, clock, stable_baselines3_dqn

EPISODES = 20
FIRST_SEED = 2**29  # of the episodes that are looked at: far from those of the trainings
TWICE = 2  # the zoo's steps, after which a training is given up

_LUNAR_LANDER = replace(ZOO["LunarLander-v3"], steps=100_000)
_MOUNTAIN_CAR = replace(
    _LUNAR_LANDER,
    steps=120_000,
    learning_rate=4e-3,
    buffer_size=10_000,
    learning_starts=1_000,
    discount=0.98,
    target_update_interval=600,
    train_freq=16,
    gradient_steps=8,
    exploration_fraction=0.2,
    exploration_final=0.07,
)


@dataclass(frozen=True)
class Goal:
    """What is waited for.

    Attributes:
      score: mean return over 20 episodes of the greedy policy.
      zoo: what RL Baselines3 Zoo trains Stable-Baselines3's DQN with.
      look: environment steps between two looks at the policy.
    """

    score: float
    zoo: TrainingConfig
    look: int  # a multiple of how many steps are collected at once

    @property
    def most_steps(self) -> int:
        """After which a training is given up."""
        return TWICE * self.zoo.steps


GOALS = {
    "CartPole-v1": Goal(475.0, replace(ZOO["CartPole-v1"], steps=50_000), 512),
    "Acrobot-v1": Goal(-80.0, _LUNAR_LANDER, 1_000),
    "MountainCar-v0": Goal(-110.0, _MOUNTAIN_CAR, 960),
    "LunarLander-v3": Goal(200.0, _LUNAR_LANDER, 2_000),
}
Look = Callable[[int, Policy], bool]  # environment steps, the greedy policy -> whether to go on
Training = Callable[[str, int, Look], None]  # environment id, training seed, what is called after every `Goal.look` steps


class Looks:
    """Plays the policy of a training from time to time, while its clock stands still.

    Attributes:
      rows: environment steps, seconds of training, and the mean return, of each look.
    """

    def __init__(self, goal: Goal, env: gymnasium.Env[Any, Any]):
        self._goal, self._env, self._seeds = goal, env, itertools.count(FIRST_SEED)
        self.rows: list[tuple[int, float, float]] = []
        self._away, self._started = 0.0, clock()

    @property
    def seconds(self) -> float:
        """Of training, until now."""
        return round(clock() - self._started - self._away, 3)

    def __call__(self, env_steps: int, policy: Policy) -> bool:
        """Whether the training goes on: it has not reached its score, and has steps left."""
        begin, seconds = clock(), self.seconds
        mean = float(np.mean(evaluate(policy, self._env, seeds=itertools.islice(self._seeds, EPISODES)).returns))
        self.rows.append((env_steps, seconds, mean))
        self._away += clock() - begin
        return mean < self._goal.score and env_steps < self._goal.most_steps


def edgedqn() -> Training:
    """Ours, by the preset of the environment; it is imported here."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    from edgedqn.agents.training.build import build_dqn
    from edgedqn.agents.training.interaction import interact

    def train(env_id: str, seed: int, look: Look) -> None:
        config, env = find_preset(env_id), make_environment(env_id)
        assert isinstance(config, TrainingConfig)
        agent = build_dqn(spec_of(env, env_id), config, rng=np.random.default_rng(seed))
        for step in interact(env=env, env_id=env_id, agent=agent, reset_seeds=itertools.count(seed)):
            agent.observe(step)
            is_due = agent.env_steps % GOALS[env_id].look == 0 and agent.gradient_steps > 0
            if is_due and not look(agent.env_steps, agent.policy(agent.averaged_weights())):
                return

    return train


def stable_baselines3() -> Training:
    """Stable-Baselines3's DQN, as its zoo trains it, with epsilon falling in as many steps as there; it is imported here."""
    import torch
    import torch._dynamo  # which PyTorch would import with its first optimizer
    from stable_baselines3.common.callbacks import BaseCallback

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)

    class Looking(BaseCallback):  # type: ignore[misc] # SB3 takes only its own, and ships no types
        def __init__(self, every: int, look: Look):
            super().__init__()
            self._every, self._look, self._goes_on = every, look, True

        def _on_step(self) -> bool:
            return self._goes_on

        def _on_rollout_start(self) -> None:  # all that was collected is learned from
            if self.num_timesteps % self._every == 0 and self.num_timesteps > self.model.learning_starts:
                self._goes_on = self._look(self.num_timesteps, partial(_greedy, self.model))

        _on_training_end = _on_rollout_start

    def train(env_id: str, seed: int, look: Look) -> None:
        goal = GOALS[env_id]
        longer = replace(goal.zoo, steps=goal.most_steps, exploration_fraction=goal.zoo.exploration_fraction / TWICE)
        model = stable_baselines3_dqn(Settings(env_id, longer, seed=seed))
        model.learn(goal.most_steps, callback=Looking(goal.look, look))

    return train


def _greedy(model: Any, observation: NDArray[Any]) -> int:
    return int(model.predict(observation, deterministic=True)[0])


SIDES = {"edgedqn": edgedqn, "stable_baselines3": stable_baselines3}


def measure(side: str, env_id: str, seed: int) -> dict[str, Any]:
    """Trains until the score is reached, or the steps are spent.

    Returns:
      `reached`, and the `score` to reach; `seconds` of training up to there, or to its end, what is compiled included, what is
      imported and the looks not; `env_steps`; `import_s`; `cpu_share`, processor time / wall time, about 1 on one undisturbed
      core; `looks`, as of `Looks`; `diverged`: why it ended early, or None.
    """
    begin = clock()
    train = SIDES[side]()
    import_s = clock() - begin
    goal, diverged = GOALS[env_id], None
    with closing(make_environment(env_id)) as env, pinned(1):
        looks = Looks(goal, env)
        began, cpu = clock(), time.process_time()
        try:
            train(env_id, seed, looks)
        except DivergedError as error:
            diverged = str(error)
        ended, cpu_share = looks.seconds, (time.process_time() - cpu) / (clock() - began)
    env_steps, seconds, mean = looks.rows[-1] if looks.rows else (0, ended, -math.inf)
    reached = mean >= goal.score
    return {
        "reached": reached,
        "score": goal.score,
        "seconds": seconds if reached else ended,
        "env_steps": env_steps,
        "import_s": round(import_s, 3),
        "cpu_share": round(cpu_share, 3),
        "looks": looks.rows,
        "diverged": diverged,
    }


def main(arguments: Sequence[str]) -> None:
    """Prints the object of one training."""
    side, env_id, seed = arguments
    with redirect_stdout(sys.stderr):  # pygame greets
        result = measure(side, env_id, int(seed))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
