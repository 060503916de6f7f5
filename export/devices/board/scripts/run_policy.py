"""Run the policy on this board: `python run_policy.py`, or `--env` to play its environment where gymnasium is installed.

Put your sensors into `read_sensors` and your motors into `act`. Needs numpy and ai-edge-litert; Python 3.10 or newer.
"""

import argparse
import importlib
import itertools
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from edge_policy import ATARI, DeviceManifest, EdgePolicy, Json, read_verified
from numpy.typing import ArrayLike, NDArray

HERE = Path(__file__).resolve().parent
CALLS = 2_000  # that are timed before the loop starts
LONGEST_EPISODE = 27_000  # steps, with --env, where the environment sets no limit: as many as where the policy was proven


class Sensors:
    """Stands in for yours: random observations, shaped as the environment's."""

    def __init__(self, policy: EdgePolicy) -> None:
        self._observations = itertools.cycle(stand_ins(policy, 1_000))

    def read_sensors(self) -> ArrayLike:
        """One observation, in the units of the environment. REPLACE THIS with a reading of your sensors."""
        return next(self._observations)

    def act(self, action: int) -> bool:
        """Carries the action out, and says whether an episode has ended with it. REPLACE THIS with your motors."""
        print(action, end=" ", flush=True)
        return False


def main() -> int:
    """Loads the policy, times its step, then plays."""
    parser = argparse.ArgumentParser(description="Run the policy on this board.")
    parser.add_argument("--env", action="store_true", help="play the policy's environment with gymnasium")
    parser.add_argument("--episodes", type=count, default=10, metavar="N", help="to play with --env (default: 10)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="reset seeds count up from S (default: 0)")
    parser.add_argument("--steps", type=int, default=50, metavar="N", help="without --env; 0 never ends (default: 50)")
    parser.add_argument("--hertz", type=pace, default=50, metavar="X", help="steps per second without --env (default: 50)")
    arguments = parser.parse_args()
    try:
        policy = EdgePolicy.load(HERE)
        print(f"Observation to action: {np.median(step_us(policy, CALLS)):.1f} µs, the median.")
        if arguments.env:
            play(policy, arguments.episodes, arguments.seed)
        else:
            loop(policy, arguments.steps, arguments.hertz)
    except ValueError as error:  # PolicyFileError, or an observation that is none of the policy's
        sys.exit(f"run_policy.py: {error}")
    except KeyboardInterrupt:
        print()
    return 0


def count(text: str) -> int:
    """A number of things from the command line, 1 or more."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return number


def pace(text: str) -> float:
    """A number per second from the command line, above 0."""
    if not 0 < (number := float(text)) < float("inf"):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return number


def loop(policy: EdgePolicy, steps: int, hertz: float) -> None:
    """Sensors to actions at a steady pace. A step that comes late delays the next ones; it is not made up for.

    `steps`: how many; 0 runs without end. `hertz`: steps per second, as in the environment where the policy learned.
    """
    sensors = Sensors(policy)
    policy.reset()
    print("Random observations stand in for sensors: see Sensors in run_policy.py. Actions:")
    due = time.perf_counter()
    for _ in itertools.count() if steps == 0 else range(steps):
        if sensors.act(policy(sensors.read_sensors())):
            policy.reset()
        due = max(due + 1 / hertz, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))
    print()


def play(policy: EdgePolicy, episodes: int, seed: int) -> None:
    """Plays the environment the policy learned in, and prints each return, undiscounted, in reward units."""
    env = make_environment(policy.device, read_verified(HERE / "policy.tflite").evidence.get("environment", {}))
    returns = []
    for episode in range(episodes):
        observation, info = env.reset(seed=seed + episode)
        policy.reset()
        total, over = 0.0, False
        while not over:
            mask = None
            if policy.device.masked:
                is_inside = isinstance(observation, dict) and "action_mask" in observation
                mask = np.ravel((observation if is_inside else info)["action_mask"])
            if isinstance(observation, list) and policy.device.features:
                observation = tuple(observation)  # of a Tuple space
            observation, reward, terminated, truncated, info = env.step(policy.action(observation, mask))
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
        print(f"reset seed {seed + episode}: return {total:g}")
    env.close()
    print(f"mean return {np.mean(returns):g} over {episodes} episodes")


def make_environment(device: DeviceManifest, made: Json) -> Any:
    """The gymnasium environment that the manifest names; ends the program with a line where that cannot be.

    `made` is how it was made, as policy.json says.
    """
    name, settings = device.env_id, dict(made.get("arguments", {}))
    unknown = () if device.features else ("observe",)
    if ATARI in device.preprocessing or any(made.get(key) for key in ("wrappers", "reset_options", *unknown)):
        sys.exit(f"run_policy.py: {name} needs wrappers around it: play it with edgedqn instead.")
    if made.get("max_episode_steps"):
        settings["max_episode_steps"] = made["max_episode_steps"]
    module, colon, _ = name.rpartition(":")
    try:
        import gymnasium

        if colon:
            importlib.import_module(module)
        if name.startswith("MinAtar/"):
            from minatar.gym import register_envs

            register_envs()
        env = gymnasium.make(name, **settings)
        space = env.observation_space
        is_as_it_was = (space.shape or ()) == device.observation_shape and np.all(getattr(space, "start", 0) == 0)
        is_known = is_as_it_was and (device.observation_shape or hasattr(space, "n"))
        if not is_known and not device.features:  # what has keys, the policy puts together
            sys.exit(f"run_policy.py: {name} gives {space}, which edgedqn turns into a vector: play it with that instead.")
        limited = env.spec is not None and env.spec.max_episode_steps is not None
        return env if limited else gymnasium.wrappers.TimeLimit(env, LONGEST_EPISODE)
    except ImportError as error:
        if colon and error.name in (module, module.partition(".")[0]):
            path = f"{module.replace('.', '/')}.py"
            sys.exit(f"run_policy.py: --env plays {name} of a module that is not here: put {path} beside run_policy.py.")
        text, hint = str(error).rstrip("."), " Try pip install gymnasium." if error.name == "gymnasium" else ""
        sys.exit(f"run_policy.py: --env plays {name}, which needs a package more: {text}.{hint}")
    except Exception as error:  # gymnasium's own errors cannot be named where it may be missing
        sys.exit(f"run_policy.py: {name} cannot be made here: {error}")


def step_us(policy: EdgePolicy, calls: int) -> NDArray[np.float64]:
    """Durations [calls] of whole steps, observation to action, in µs with the clock's cost; a tenth as many warm up before."""
    observations = stand_ins(policy, min(calls, 1_000))
    policy.reset()
    for _, observation in zip(range(calls // 10), itertools.cycle(observations), strict=False):
        policy(observation)
    durations = np.empty(calls)
    for i, observation in zip(range(calls), itertools.cycle(observations), strict=False):
        start = time.perf_counter_ns()
        policy(observation)
        durations[i] = time.perf_counter_ns() - start
    policy.reset()
    return durations / 1_000


def stand_ins(policy: EdgePolicy, count: int) -> list[ArrayLike]:
    """Random observations of the environment's shape and dtype, always the same ones, [count] of [*observation_shape]; where
    the policy is told which actions are legal, as its network takes them, and all are."""
    shape, dtype = policy.device.observation_shape, np.dtype(policy.device.observation_dtype)
    rng = np.random.default_rng(0)
    if policy.device.masked:
        rows = rng.standard_normal((count, *policy.input_shape)).astype(np.float32)
        rows[:, -policy.n_actions :] = 1
        return list(rows)
    if not shape:
        return [int(state) for state in rng.integers(policy.input_shape[0], size=count)]
    if dtype.kind == "f":
        return list(rng.standard_normal((count, *shape)).astype(dtype))
    return list(rng.integers(2 if dtype.kind == "b" else 100, size=(count, *shape)).astype(dtype))


if __name__ == "__main__":
    sys.exit(main())
