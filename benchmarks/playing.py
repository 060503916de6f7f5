"""Play policy files in the real environment, episode by episode, in one process or several."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import one_line, require
from edgedqn.agents.playing.disturbances import Disturbance
from edgedqn.agents.playing.evaluation import Policy, RandomPolicy, evaluate
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.processes import Workers
from edgedqn.agents.training.bars import tqdm
from edgedqn.benchmarks.native_output import quiet
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, TfliteModel, VerifiedFile, read_file

EnvironmentFactory = Callable[[], gymnasium.Env[Any, Any]]

# Episodes a process plays before it reports: enough to outweigh loading the file, few enough for the progress bar to move.
CHUNK = 20

_Played = tuple[Path | None, Disturbance | None]  # what plays; None: acts at random, undisturbed
_Episodes = tuple[list[float], int]  # their returns, and the environment steps of all together


@dataclass(frozen=True, kw_only=True)
class Play:
    """How files are played.

    Attributes:
      make_environment: builds the environment, for example `functools.partial(make_environment, "module:Id")`. Its episodes
        depend on the reset seed and the actions alone.
      seeds: distinct reset seeds, at least as many as the gate's last look: `prove` for the verdict, `select` to choose.
      gate: the test each file is put to.
      random_seed: of the random policy and of disturbances.
      workers: processes. The results are the same for any number. Where no other process can make the environment, as where a
        script has registered it, this one plays alone and says so on stderr.
      taught_by: returns on those seeds of the policy that taught the baseline, as many as the gate's last look or more: files,
        the baseline too, are compared with these, then.
      fed: the device part of files without a manifest, by path, see `feeding.fed`; others have their own.
    """

    make_environment: EnvironmentFactory
    seeds: Sequence[int]
    gate: Gate
    random_seed: int
    workers: int = 1
    taught_by: NDArray[np.float64] | None = None
    fed: Mapping[Path, DeviceManifest] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needed, given = self.gate.looks[-1], len(self.seeds)
        require(given >= needed, f"The gate may look at {needed} episodes. Expected a reset seed for each. Got {given}.")
        twice = "A seed played twice counts one episode twice."
        require(len(set(self.seeds[:needed])) == needed, f"{twice} Expected {needed} distinct ones. Got repetitions.")
        require(self.workers >= 1, f"Somebody has to play. Expected 1 worker or more. Got workers={self.workers}.")


def load_policy(path: Path, device: DeviceManifest | None = None) -> EdgePolicy:
    """The policy in a file with a manifest, or in one without, of which `device` says what a manifest would."""
    if device is None:
        return EdgePolicy.load(path)
    return EdgePolicy.from_file(VerifiedFile(path=path, model=TfliteModel(read_file(path)), device=device, evidence={}))


class Players:
    """Plays each episode once, no earlier than it is asked for. A context manager: its processes end with it."""

    def __init__(self, play: Play, progress: bool):
        self._play = play
        self._hide = None if progress else True  # None leaves it to tqdm: off where the output is no terminal
        self._returns: dict[_Played, list[float]] = {}
        self._env_steps: dict[_Played, int] = {}
        self._alone = play.workers == 1
        self._workers: Workers | None = None

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
          WorkerDiedError: a playing process died.
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

    def to_compare(self, baseline: Path, episodes: int) -> NDArray[np.float64]:
        """What other files' returns are compared with: the baseline's, or those of the policy that taught it."""
        taught_by = self._play.taught_by
        return self.returns(baseline, episodes) if taught_by is None else taught_by[:episodes]

    def env_steps(self, path: Path | None, disturbance: Disturbance | None = None) -> int:
        """Environment steps in all episodes of this file that were played so far."""
        return self._env_steps.get((path, disturbance), 0)

    @property
    def env_steps_of_all(self) -> int:
        """Environment steps in all episodes of all that were played so far."""
        return sum(self._env_steps.values())

    def _play_chunks(self, path: Path | None, disturbance: Disturbance | None, chunks: list[list[int]]) -> Iterator[_Episodes]:
        self._start_processes()
        play = self._play
        how = partial(_play_seeds, make=play.make_environment, random_seed=play.random_seed, disturbance=disturbance)
        device = None if path is None else play.fed.get(path)
        calls = [partial(how, path, seeds, device=device) for seeds in chunks]
        if self._workers is None:
            yield from (call() for call in calls)
            return
        try:
            yield from self._workers.map(calls)
        except BaseException:
            self._end_processes()  # the next file gets new ones
            raise

    def _start_processes(self) -> None:
        """Where there are to be any, and they can make this very environment. What is wrong with it there may be right here."""
        if self._alone or self._workers is not None:
            return
        make = self._play.make_environment
        here = _describe(make)
        try:
            self._workers = Workers(self._play.workers)
            (there,) = self._workers.map([partial(_describe, make)])
            require(there == here, f"Expected {here}. Got {there}.")
        except Exception as error:
            self._end_processes()
            self._alone = True
            _say(f"Episodes are played in this process: another one cannot make this environment. {one_line(error)}")

    def _end_processes(self) -> None:
        if self._workers is not None:
            self._workers.end()
            self._workers = None


@cache  # for each reason once, not at every stage of a run
def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _describe(make: EnvironmentFactory) -> str:
    """An environment in words: the same ones in two processes that make the same environment."""
    with closing(make()) as env:
        made = env.spec
        source = None if made is None else made.entry_point
        if callable(source):  # its repr would have an address
            source = f"{source.__module__}:{getattr(source, '__qualname__', type(source).__name__)}"
        settings = made and (made.id, source, made.kwargs, made.max_episode_steps)
        return f"{env.observation_space}, {env.action_space}, {settings}"


@quiet()
def _play_seeds(
    path: Path | None,
    seeds: Sequence[int],
    *,
    make: EnvironmentFactory,
    random_seed: int,
    disturbance: Disturbance | None = None,
    device: DeviceManifest | None = None,
) -> _Episodes:
    """Plays one episode per reset seed."""
    with closing(make()) as env:
        policy = None if path is None else load_policy(path, device)
        n_actions = int(env.action_space.n)  # type: ignore[attr-defined]

        def of_episode(seed: int) -> Policy:
            # Seeded by the episode, so that it does not matter which process plays it.
            rng = np.random.default_rng([random_seed, seed])
            if policy is None:
                return RandomPolicy(n_actions, rng)
            return policy if disturbance is None else disturbance.start(policy, rng)

        played = [evaluate(of_episode(seed), env, seeds=[seed]) for seed in seeds]
    return [value for each in played for value in each.returns], sum(each.env_steps for each in played)
