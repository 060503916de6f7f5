"""One measurement in a process of its own: TensorFlow's and PyTorch's thread pools must not share one.

`python -m edgedqn.benchmarks.peers.training_job JOB SETTINGS` prints one JSON object; `training_throughput` starts it.
"""

import itertools
import json
import math
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

import gymnasium
import numpy as np

from edgedqn.benchmarks.peers.training_sides import SIDES, Mark, Settings, clock, made_for, steady_state, train_edgedqn


def measure(side: str, settings: Settings) -> dict[str, Any]:
    """Trains one side once.

    Returns:
      The fields of `SteadyState`, and `peak_memory_mb`: the largest resident size of this process so far.
    """
    marks: list[Mark] = []
    SIDES[side](settings, marks.append)
    unit_bytes = 1 if platform.system() == "Darwin" else 1024
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit_bytes
    return {**asdict(steady_state(marks, settings)), "peak_memory_mb": peak_bytes / 1e6}


def profile_edgedqn(settings: Settings) -> dict[str, Any]:
    """Trains once with a clock round each part, and counts what the steady windows took.

    Returns:
      Under `shares`, the shares of wall time: `environment` (step and reset), `acting`, `replay` (adding and sampling),
      `learning` (the gradient steps, and handing the weights over to acting), and `other` (the loop, the checks, what
      is done to observations behind the environment, and the clocks); under `step_us`, the same in µs per environment step.
    """
    from edgedqn.agents.dqn import DQN
    from edgedqn.agents.replay import Replay

    spent = dict.fromkeys(("environment", "acting", "replay", "observing"), 0.0)

    def timed(call: Callable[..., Any], part: str) -> Callable[..., Any]:
        def timed_call(*args: Any, **kwargs: Any) -> Any:
            begin = clock()
            result = call(*args, **kwargs)
            spent[part] += clock() - begin
            return result

        return timed_call

    make = gymnasium.make

    def make_timed(env_id: str, **settings: Any) -> gymnasium.Env[Any, Any]:
        env = make(env_id, **settings)
        for name in ("step", "reset"):
            setattr(env, name, timed(getattr(env, name), "environment"))
        return env

    parts: dict[tuple[type, str], str] = {(DQN, "act"): "acting", (DQN, "observe"): "observing"}
    parts |= {(Replay, name): "replay" for name in ("store", "add", "sample")}
    snapshots: list[tuple[Mark, dict[str, float]]] = []
    with ExitStack() as patches:
        for (owner, name), part in parts.items():
            patches.enter_context(patch.object(owner, name, timed(getattr(owner, name), part)))
        patches.enter_context(patch.object(gymnasium, "make", make_timed))
        train_edgedqn(settings, lambda mark: snapshots.append((mark, dict(spent))))
    steady = [snapshot for snapshot in snapshots if snapshot[0].env_steps >= settings.settled_at]
    (begin, before), (end, after) = steady[0], steady[-1]
    total_s, steps = end.learned_s - begin.learned_s, end.env_steps - begin.env_steps
    seconds = {part: after[part] - before[part] for part in after}
    # Observing is remembering (`replay`) and, when it is time, learning.
    seconds["learning"] = seconds.pop("observing") - seconds["replay"]
    seconds["other"] = total_s - sum(seconds.values())
    return {
        "shares": {part: value / total_s for part, value in seconds.items()},
        "step_us": {part: 1e6 * value / steps for part, value in seconds.items()},
    }


def matrix_products(settings: Settings) -> dict[str, Any]:
    """Times the matrix products of one gradient step, alone, in NumPy and into ready memory: what no learner can go below.

    Returns:
      `us`: the median over one second's blocks, in µs, of the forward passes of the online and the target network and the
      backward pass of the online one, for one minibatch; a convolution counts as the one product it is once its inputs are
      laid out; `count`: how many products that is.
    """
    from edgedqn.agents.networks import CONVOLUTIONS

    env, spec = made_for(settings)
    env.close()
    layers, batch, shape = [], settings.config.batch_size, spec.input_shape
    for filters, size, stride in CONVOLUTIONS.get(settings.config.network_for(shape), ()):
        height, width = ((side - size) // stride + 1 for side in shape[:2])
        layers.append((batch * height * width, size * size * shape[2], filters))
        shape = (height, width, filters)
    widths = (math.prod(shape), *settings.config.hidden, spec.n_actions)
    layers += [(batch, *pair) for pair in itertools.pairwise(widths)]
    products = [
        (left, right, np.empty((left.shape[0], right.shape[1]), np.float32))
        for left, right in _factors(layers, np.random.default_rng(settings.seed))
    ]
    block = 20
    durations: list[float] = []
    begin = clock()
    while not durations or clock() - begin < 1.0:
        started = clock()
        for _ in range(block):
            for left, right, out in products:
                np.matmul(left, right, out=out)
        durations.append((clock() - started) / block)
    return {"us": 1e6 * statistics.median(durations), "count": len(products)}


def _factors(layers: list[tuple[int, int, int]], rng: np.random.Generator) -> list[tuple[Any, Any]]:
    """The factors of all products, for layers of (rows, inputs, outputs)."""

    def draw(*shape: int) -> Any:
        return rng.normal(size=shape).astype(np.float32)

    factors: list[tuple[Any, Any]] = []
    for i, (rows, inputs, outputs) in enumerate(layers):
        x, kernel, gradient = draw(rows, inputs), draw(inputs, outputs), draw(rows, outputs)
        factors += [(x, kernel), (draw(rows, inputs), draw(inputs, outputs))]  # online on s_tm1, target on s_t: [rows, out]
        factors.append((x.T, gradient))  # the kernel's gradient: [in, out]
        if i > 0:  # the gradient of the observations is not needed
            factors.append((gradient, kernel.T))  # [rows, in]
    return factors


def main(arguments: Sequence[str]) -> None:
    """Prints the object of one measurement: of a side, of the `matrix_products`, or of the `profile`."""
    job, text = arguments
    settings = Settings.from_json(json.loads(text))
    parts = {"matrix_products": matrix_products, "profile": profile_edgedqn}
    with redirect_stdout(sys.stderr):  # pygame greets
        result = parts[job](settings) if job in parts else measure(job, settings)
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
