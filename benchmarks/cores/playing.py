"""A policy on a core plays an environment of this machine, over a pipe, and is compared with TFLite Micro and `EdgePolicy`."""

import select
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.playing.evaluation import Evaluation, evaluate
from edgedqn.benchmarks.cores.core import Core
from edgedqn.benchmarks.cores.programs import TIMEOUT_S, command_for
from edgedqn.benchmarks.cores.stepping import Steps, Task, read_steps
from edgedqn.benchmarks.cores.trials import expected_rows, wrong_steps
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile
from edgedqn.export.tflite_file.tflm import int8_inputs


@dataclass
class CorePolicy:
    """A policy that acts on a core, as `agents.playing.evaluation.Policy`; of those whose frames are not stacked.

    Attributes:
      core: where it acts.
      process: a program of `build_stepping` that runs there.
      observations: all that it has acted on, in the order it met them, each of the environment's shape.
      lines: the core's answers.
    """

    core: Core
    process: "subprocess.Popen[bytes]"
    observations: list[NDArray[Any]] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)

    def __call__(self, observation: NDArray[Any]) -> int:
        """The action. RuntimeError where the core gives none within a minute, or refuses the observation."""
        told, heard = self.process.stdin, self.process.stdout
        assert told is not None and heard is not None
        told.write(Task.OBSERVATION.written(observation))
        told.flush()
        line = heard.readline().decode() if select.select([heard], [], [], TIMEOUT_S)[0] else ""
        if not line:
            raise RuntimeError(f"{self.core.name}: expected an action within {TIMEOUT_S:g} s. Got none.")
        self.observations.append(observation)
        self.lines.append(line)
        return int(line.split()[-2])


@contextmanager
def policy_on(core: Core, program: Path) -> Iterator[CorePolicy]:
    """A program of `build_stepping` at the other end of a pipe, which is stopped in the end."""
    with subprocess.Popen(command_for(core, program), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield CorePolicy(core, process)
        finally:
            process.kill()


@dataclass(frozen=True)
class PlayOnCore:
    """What a policy on a core did in whole episodes.

    Attributes:
      scored: its returns.
      steps: what it answered, [N] of all episodes together.
      wrong: how many of them are not TFLite Micro's, in any number of the rows or in the action.
      rounded_otherwise: in how many `EdgePolicy` acts otherwise, which rounds as XNNPACK does.
    """

    scored: Evaluation
    steps: Steps
    wrong: int
    rounded_otherwise: int


def play_on(core: Core, program: Path, *, file: VerifiedFile, env: gymnasium.Env[Any, Any], seeds: Iterable[int]) -> PlayOnCore:
    """Plays an episode per reset seed, N >= 1, with a program of `build_stepping` made of the file.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
      MicroUnavailableError: TFLite Micro is not installed.
      RuntimeError: the core gave no action.
    """
    with policy_on(core, program) as policy:
        scored = evaluate(policy, env, seeds=seeds)
    observations = np.stack(policy.observations)
    inputs = int8_inputs(file.device, observations).reshape(len(observations), -1)
    steps = read_steps(core, policy.lines, inputs.shape[1])
    here = EdgePolicy.load(file.path)
    return PlayOnCore(
        scored=scored,
        steps=steps,
        wrong=wrong_steps(steps, expected_rows(file.content, inputs)),
        rounded_otherwise=int((np.array([here(each) for each in observations]) != steps.actions).sum()),
    )
