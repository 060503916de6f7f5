"""Play policy files in the real environment, episode by episode, in one process or several."""

import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.errors import require
from edgedqn.agents.playing.disturbances import Disturbance
from edgedqn.agents.playing.evaluation import Policy, RandomPolicy, evaluate
from edgedqn.agents.playing.gate import Gate
from edgedqn.benchmarks.native_output import quiet
from edgedqn.export.edge_policy import EdgePolicy

EnvironmentFactory = Callable[[], gymnasium.Env[Any, Any]]

# Episodes a process plays before it reports: enough to outweigh loading the file, few enough for the progress bar to move.
CHUNK = 20

_Played = tuple[Path | None, Disturbance | None]  # what plays; None: acts at random, undisturbed


@dataclass(frozen=True, kw_only=True)
class Play:
    """How files are played.

    Attributes:
      make_environment: builds the environment. Must be picklable where `workers` > 1, for example
        `functools.partial(make_environment, "module:Id")`. Its episodes depend on the reset seed and the actions alone.
      seeds: distinct reset seeds, at least as many as the gate's last look: `prove` for the verdict, `select` to choose.
      gate: the test each file is put to.
      random_seed: of the random policy and of disturbances.
      workers: processes. The results are the same for any number.
    """

    make_environment: EnvironmentFactory
    seeds: Sequence[int]
    gate: Gate
    random_seed: int
    workers: int = 1

    def __post_init__(self) -> None:
        needed, given = self.gate.looks[-1], len(self.seeds)
        require(given >= needed, f"The gate may look at {needed} episodes. Expected a reset seed for each. Got {given}.")
        twice = "A seed played twice counts one episode twice."
        require(len(set(self.seeds[:needed])) == needed, f"{twice} Expected {needed} distinct ones. Got repetitions.")
        require(self.workers >= 1, f"Somebody has to play. Expected 1 worker or more. Got workers={self.workers}.")


class Players:
    """Plays each episode once, no earlier than it is asked for. A context manager: its processes end with it."""

    def __init__(self, play: Play, progress: bool):
        self._play = play
        self._hide = None if progress else True  # None leaves it to tqdm: off where the output is no terminal
        self._returns: dict[_Played, list[float]] = {}
        self._env_steps: dict[_Played, int] = {}
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Players":
        return self

    def __exit__(self, *error: object) -> None:
        self._end_processes()

    def returns(self, path: Path | None, episodes: int = 0, *, disturbance: Disturbance | None = None) -> NDArray[np.float64]:
        """Undiscounted returns [N] of a policy file, or of the random policy, on the first N seeds, in reward units.

        `episodes` is N; 0 is as many as were played so far. A `disturbance` draws the same for each file; the random policy
        has none.

        Raises:
          PolicyFileError: the file cannot be loaded.
          BadTransitionError: the environment gave a NaN or an infinity.
          RuntimeError: a playing process died.
        """
        known = self._returns.setdefault((path, disturbance), [])
        missing = list(self._play.seeds[len(known) : episodes])
        if missing:
            chunks = [missing[i : i + CHUNK] for i in range(0, len(missing), CHUNK)]
            name = ", ".join(filter(None, ["random" if path is None else path.stem, str(disturbance or "")]))
            with tqdm(total=len(missing), desc=f"play {name}", unit="episode", disable=self._hide, leave=False) as bar:
                for returns, env_steps in self._play_chunks(path, disturbance, chunks):
                    known.extend(returns)
                    self._env_steps[path, disturbance] = self.env_steps(path, disturbance) + env_steps
                    bar.update(len(returns))
        return np.array(known[:episodes] if episodes else known, np.float64)

    def env_steps(self, path: Path | None, disturbance: Disturbance | None = None) -> int:
        """Environment steps in all episodes of this file that were played so far."""
        return self._env_steps.get((path, disturbance), 0)

    @property
    def env_steps_of_all(self) -> int:
        """Environment steps in all episodes of all that were played so far."""
        return sum(self._env_steps.values())

    def _play_chunks(
        self, path: Path | None, disturbance: Disturbance | None, chunks: list[list[int]]
    ) -> Iterator[tuple[list[float], int]]:
        play = self._play
        task = partial(_play_seeds, path, play, disturbance=disturbance)
        if play.workers == 1:
            yield from map(task, chunks)
            return
        if self._pool is None:
            # Spawned, not forked: the fork of a process that holds TensorFlow's or XNNPACK's threads can hang.
            self._pool = ProcessPoolExecutor(play.workers, get_context("spawn"), initializer=_end_on_interrupt)
        futures = [self._pool.submit(task, chunk) for chunk in chunks]
        try:
            for future in futures:
                yield future.result()
        except BrokenProcessPool as error:
            self._end_processes()  # the next file gets new ones
            raise RuntimeError(
                "A process that played it died. A script must do its work under `if __name__ == '__main__':`, because each "
                "process imports it; or play with workers=1."
            ) from error
        finally:
            for future in futures:
                future.cancel()

    def _end_processes(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None


def _end_on_interrupt() -> None:
    # Ctrl-C reaches every process of the terminal: a worker just ends, and the parent says what happened.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@quiet()
def _play_seeds(
    path: Path | None, play: Play, seeds: Sequence[int], *, disturbance: Disturbance | None = None
) -> tuple[list[float], int]:
    """The returns, and the environment steps of all together."""
    with closing(play.make_environment()) as env:
        policy = None if path is None else EdgePolicy.load(path)
        n_actions = int(env.action_space.n)  # type: ignore[attr-defined]

        def of_episode(seed: int) -> Policy:
            # Seeded by the episode, so that it does not matter which process plays it.
            rng = np.random.default_rng([play.random_seed, seed])
            if policy is None:
                return RandomPolicy(n_actions, rng)
            return policy if disturbance is None else disturbance.start(policy, rng)

        played = [evaluate(of_episode(seed), env, seeds=[seed]) for seed in seeds]
    return [value for each in played for value in each.returns], sum(each.env_steps for each in played)
