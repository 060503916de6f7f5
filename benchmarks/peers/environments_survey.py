"""Which environments of public packages EdgeDQN takes: trained for 2,000 steps, does each come to a verified `.tflite`?

    python -m edgedqn.benchmarks.peers.environments_survey --python ENVIRONMENT/bin/python
    python -m edgedqn.benchmarks.peers.environments_survey --python ENVIRONMENT/bin/python --only minigrid --again fault refused
    python -m edgedqn.benchmarks.peers.environments_survey --table      # what docs/measured/environments.md shows

Some packages ask for versions that are not EdgeDQN's. All are installed without asking them, in an environment of their own:

    python3.11 -m venv ENVIRONMENT
    ENVIRONMENT/bin/python -m pip install --no-deps -r requirements.lock
    ENVIRONMENT/bin/python -m pip install -r requirements-peers.lock -c requirements.lock  # gymnasium-search-race wants PyTorch
    ENVIRONMENT/bin/python -m pip install --no-deps -r benchmarks/peers/environments.lock
    ENVIRONMENT/bin/python -m pip install --no-deps --no-build-isolation --editable .

It goes on where it stopped: results are written after each environment. Settings are small, and nothing is proven by playing:
the question is what comes in, not how well it is learned.
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.peers.environment_limits import MISSING, Listing, Sight
from edgedqn.benchmarks.peers.environments_tables import (
    FAULT,
    FILE,
    NOT_INSTALLED,
    OUTCOMES,
    REFUSED,
    TIMEOUT,
    Finding,
    Package,
    Results,
    render_tables,
)

RESULTS = Path("docs/results/environments.json")
SHORT = {"steps": 2_000, "evaluation-interval": 2_000, "evaluation-episodes": 1, "finalists": 1, "checkpoint-interval": 0}
# Of a DQN; the number of a state is learned by a table, which has none of these.
SMALL = {"hidden": 16, "learning-starts": 500, "batch-size": 32, "gradient-steps": 4, "buffer-size": 2_000}
STATES = 1_000  # as many as the export compares on
LONGEST_REASON = 240
LISTING_LIMIT_S = 900.0
# One thread each, no window, no sound, no accelerator.
SURROUNDINGS = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("SDL_VIDEODRIVER", "SDL_AUDIODRIVER"), "dummy"),
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "-1",
    "JAX_PLATFORMS": "cpu",
}


@dataclass(frozen=True)
class Source:
    """A package whose environments are tried; `wrapper`, `module:Class`, is put around each by the option `--wrapper`."""

    name: str
    module: str
    wrapper: str | None = None


SOURCES = (
    Source("gymnasium", "gymnasium"),
    Source("minigrid", "minigrid"),
    Source("highway-env", "highway_env"),
    Source("gymnasium-search-race", "gymnasium_search_race"),
    Source("flappy-bird-gymnasium", "flappy_bird_gymnasium"),
    Source("gym-anytrading", "gym_anytrading"),
    Source("memory-gym", "memory_gym"),
    Source("mo-gymnasium by LinearReward", "mo_gymnasium", wrapper="mo_gymnasium.wrappers:LinearReward"),
    Source("mo-gymnasium", "mo_gymnasium"),  # refused: a vector of rewards
)


@dataclass(frozen=True)
class Runner:
    """Starts the processes that look and learn: with which Python, a path, and for how many seconds one may learn."""

    python: str
    limit_s: float

    def list(self, source: Source) -> Listing:
        """What a package registers. Raises InputError where that cannot be found out."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "listing.json"
            arguments = [source.module, str(file), *([source.wrapper] if source.wrapper else [])]
            code, errors = self._run("environment_limits", arguments, LISTING_LIMIT_S)
            require(code == 0, f"{source.name} cannot be listed: expected it installed for {self.python}. Got: {_last(errors)}")
            return Listing.read(file)

    def learn(self, source: Source, sight: Sight) -> Finding:
        """Tries one environment."""
        settings = SHORT | ({} if sight.has_states else SMALL)
        options = [text for name, value in settings.items() for text in (f"--{name}", str(value))]
        options += ["--wrapper", source.wrapper] if source.wrapper else []
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            code, errors = self._run("environment_job", [sight.id, folder, str(STATES), *options], self.limit_s)
        finding = Finding(source=source.name, sight=sight, outcome=FILE, seconds=round(time.monotonic() - started, 1))
        if code == 0:
            return finding
        if code is None:
            return replace(finding, outcome=TIMEOUT, reason=f"not done after {self.limit_s:g} s")
        if code == 2 and (line := refusal(errors)) is not None:
            return replace(finding, outcome=NOT_INSTALLED if sight.limit == MISSING else REFUSED, reason=line)
        return replace(finding, outcome=FAULT, reason=fault(code, errors))

    def _run(self, module: str, arguments: Sequence[str], limit_s: float) -> tuple[int | None, str]:
        """The exit code, None where the time was over, and what was written to stderr."""
        command = [str(Path(self.python).absolute()), "-W", "ignore", "-m", f"edgedqn.benchmarks.peers.{module}", *arguments]
        # In a folder of its own, because MuJoCo writes into it; to a file, because a process that stays would hold a pipe open.
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", errors="replace") as errors:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env={**os.environ, **SURROUNDINGS},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
            code = None
            try:
                with suppress(subprocess.TimeoutExpired):
                    code = child.wait(limit_s)
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)  # what it has started, too
                child.wait()
            errors.seek(0)
            return code, errors.read()


def refusal(errors: str) -> str | None:
    """The line of a refusal, in what a command wrote to stderr; None where there is none, or a traceback beside it."""
    lines = [line.removeprefix("edgedqn: ") for line in errors.splitlines() if line.startswith("edgedqn: ")]
    return _shown(lines[-1]) if lines and "Traceback (most recent call last)" not in errors else None


def fault(code: int, errors: str) -> str:
    """What a traceback ends with, and where in EdgeDQN that was."""
    if code < 0:
        return f"ended by {signal.Signals(-code).name}"
    places = re.findall(r'File "[^"]*?\b((?:agents|compression|export|pipeline)/[\w/]+\.py)", line (\d+)', errors)
    return _shown(_last(errors)) + (f" ({':'.join(places[-1])})" if places else "")


def _last(errors: str) -> str:
    """The first line of the last exception's message; without an exception, the last line."""
    raised = [line for line in errors.splitlines() if re.match(r"[A-Za-z_][\w.]*(Error|Exception|Exit|NotInstalled)\b", line)]
    return (raised or errors.splitlines() or [""])[-1].strip()


def _shown(text: str) -> str:
    """Without this machine's folders, and not too long."""
    text = re.sub(r"(?<![\w.])/(?:[\w.+@-]+/){2,}", ".../", text)
    return text if len(text) <= LONGEST_REASON else f"{text[: LONGEST_REASON - 3]}..."


def survey(sources: Sequence[Source], runner: Runner, file: Path, *, again: Sequence[str] = (), processes: int = 1) -> None:
    """Tries the environments of `sources` that `file` has nothing of, or one of the outcomes `again`, and writes each there.

    Raises:
      InputError: a package is not installed, or the file is none of ours.
    """
    earlier = Results.load(file) if file.exists() else Results({}, {}, ())
    listings = {each: runner.list(each) for each in tqdm(sources, desc="list", unit=" packages", disable=None)}
    packages = dict(earlier.packages)
    for source, listing in listings.items():
        packages[source.name] = Package(version=listing.version, older=listing.older, vector_only=listing.vector_only)
    done = {(each.source, each.sight.id): each for each in earlier.findings}
    asked = {(source.name, sight.id): (source, sight) for source, found in listings.items() for sight in found.environments}
    for key, finding in list(done.items()):
        if key[0] in {source.name for source in sources} and (key not in asked or finding.outcome in again):
            del done[key]
    left = [pair for key, pair in asked.items() if key not in done]
    order = {source.name: packages[source.name] for source in SOURCES if source.name in packages}
    machine: Json = describe_machine(1).to_json()
    with ThreadPoolExecutor(processes) as pool, tqdm(total=len(left), unit=" environments", disable=None) as bar:
        running = [pool.submit(runner.learn, *pair) for pair in left]
        try:
            for each in as_completed(running):
                finding = each.result()
                done[finding.source, finding.sight.id] = finding
                Results(machine, order, tuple(done.values())).save(file)
                bar.set_postfix(Counter(one.outcome for one in done.values()))
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns its exit code."""
    names = [source.name for source in SOURCES]
    parser = argparse.ArgumentParser(prog="environments_survey", description="Which public environments EdgeDQN takes.")
    parser.add_argument("--python", default=sys.executable, metavar="FILE", help="that has the packages and EdgeDQN (this one)")
    parser.add_argument(
        "--only", nargs="+", default=names, choices=names, metavar="SOURCE", help=f"of {', '.join(names)} (all)"
    )
    parser.add_argument("--again", nargs="+", default=[], choices=OUTCOMES, metavar="OUTCOME", help="try these once more")
    parser.add_argument("--limit", type=float, default=1800.0, metavar="S", help="seconds for one environment (%(default)g)")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="at the same time (%(default)s)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FILE", help="(%(default)s)")
    parser.add_argument("--table", action="store_true", help="show what there is as Markdown, and try nothing")
    given = parser.parse_args(arguments)
    try:
        require(given.processes >= 1, f"Expected one process or more. Got --processes {given.processes}.")
        if given.table:
            print(render_tables(Results.load(given.results)), end="")
            return 0
        sources = [source for source in SOURCES if source.name in given.only]
        runner = Runner(given.python, given.limit)
        survey(sources, runner, given.results, again=given.again, processes=given.processes)
    except InputError as error:
        print(f"environments_survey: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
