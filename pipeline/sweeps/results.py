"""What a sweep came to, as JSON and as a table, and the best of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json, JsonValue
from edgedqn.compression.recipes import FLOAT32
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Objective, Sweep
from edgedqn.pipeline.sweeps.trials import Found, Tried

SCHEMA = 1
BEST = ("size", "return", "latency")


@dataclass(frozen=True)
class Proven(JsonValue):
    """A file of the front, after it was put to the gate on the `prove` seeds, once for each training seed.

    Attributes:
      trial: its number.
      settings: what was tried, by name.
      passed: whether it passed with every seed.
      returns: its mean return, for each seed, in reward units.
      floats: the float agents'.
      size_bytes: the mean of its files.
      runs: the run folders, below that of the sweep, one for each seed.
      files: below them.
      errors: why it could not be proven, where it could not.
      latency_us: the median of one invoke(), of the first seed's file, measured apart; None where it was not.
      step_speedup: of a whole step, against the float32 file.
    """

    trial: int
    settings: Json
    passed: bool
    returns: tuple[float, ...]
    floats: tuple[float, ...]
    size_bytes: float
    runs: tuple[str, ...]
    files: tuple[str, ...]
    errors: tuple[str, ...] = ()
    latency_us: float | None = None
    step_speedup: float | None = None


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came to.

    Attributes:
      store: where all files are.
      sweep: the experiment.
      found: of each environment, what was tried.
      proven: of each environment, its front, from small to large.
    """

    store: Store
    sweep: Sweep
    found: Mapping[str, Found]
    proven: Mapping[str, tuple[Proven, ...]]

    def to_json(self) -> Json:
        """The object of `results.json`."""
        return {
            "schema": SCHEMA,
            "environments": {
                env_id: {
                    "teacher": found.teacher,
                    "error": found.error or None,
                    "trials": [_trial_to_json(each, self.sweep.objectives) for each in found.trials],
                    "front": [each.to_json() for each in self.proven[env_id]],
                }
                for env_id, found in self.found.items()
            },
        }

    def best(self, env_id: str, by: str = "size") -> Proven:
        """As `best_of`."""
        return best_of(self.proven, env_id, by)


def best_of(fronts: Mapping[str, Sequence[Proven]], env_id: str, by: str) -> Proven:
    """The smallest file that passed its gate with every seed, the one with the highest return, or the fastest.

    Raises:
      InputError: none did, or `by` is neither.
    """
    require(by in BEST, f"Expected the best by {', '.join(BEST)}. Got {by!r}.")
    passed = [each for each in fronts.get(env_id, ()) if each.passed]
    passed = passed if by != "latency" else [each for each in passed if each.latency_us is not None]
    timed = " and was timed" if by == "latency" else ""
    require(
        bool(passed), f"Nothing to take for {env_id}: expected a file that passed its gate with every seed{timed}. Got none."
    )
    keys = {
        "size": lambda each: each.size_bytes,
        "return": lambda each: -sum(each.returns),
        "latency": lambda each: each.latency_us,
    }
    return min(passed, key=lambda each: (keys[by](each), each.trial))


def read_fronts(store: Store) -> dict[str, Sequence[Proven]]:
    """Of each environment the front of a sweep that is done. InputError: there is none, or `results.json` is damaged."""
    text = store.read_text("results.json")
    expected = "expected the results.json of a sweep that is done, which `edgedqn sweep` without --best makes"
    if text is None:
        raise InputError(f"Nothing to take from {store.url}: {expected}. Got none.")
    try:
        found = json.loads(text)["environments"]
        return {env_id: tuple(map(Proven.from_json, each["front"])) for env_id, each in found.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{store.url}/results.json is damaged: {expected}. Got: {error!r}.") from error


def proven_of(found: Found, store: Store) -> tuple[Proven, ...]:
    """The front of a search, from small to large."""
    fronts = []
    for number, proofs in found.proofs.items():
        done = [(proof, row) for proof in proofs if (row := proof.own_row) is not None]
        floats = [proof.row(FLOAT32.name) for proof, _ in done]
        fronts.append(
            Proven(
                trial=number,
                settings=found.trials[number].settings,
                passed=len(done) == len(proofs)
                and not found.trials[number].error
                and all(row.gate == "pass" for _, row in done)
                and not any(result.misfit for result in found.trials[number].done),
                returns=tuple(row.episode_return.mean for _, row in done if row.episode_return),
                floats=tuple(row.episode_return.mean for row in floats if row is not None and row.episode_return),
                size_bytes=found.trials[number].value("bytes"),
                runs=tuple(store.place(proof.work.key) for proof, _ in done),
                files=tuple(row.file for _, row in done),
                errors=tuple(filter(None, (found.trials[number].error, *(proof.error for proof in proofs)))),
            )
        )
    return tuple(sorted(fronts, key=lambda each: (each.size_bytes, each.trial)))


def _trial_to_json(trial: Tried, objectives: Sequence[Objective]) -> Json:
    return {
        "number": trial.number,
        "settings": trial.settings,
        "passed": trial.passed,
        "error": trial.error or None,
        "values": None if trial.error else {each: trial.value(each) for each in objectives},
        "sha256": [None if result is None else result.sha256 for result in trial.results],
    }


def render(result: SweepResult, folder: Path | None) -> str:
    """For people: the front of each environment."""
    lines = []
    for env_id, found in result.found.items():
        if found.error:
            lines += [f"{env_id}: {found.error}", ""]
            continue
        failed = sum(1 for trial in found.trials if trial.error)
        passed = sum(1 for trial in found.trials if trial.passed)
        told = f", {failed} could not be done" if failed else ""
        lines.append(f"{env_id}: {len(found.trials)} trials{told}, {passed} passed; on the front, proven:")
        for each in result.proven[env_id]:
            shown = ", ".join(f"{name}={value}" for name, value in each.settings.items())
            seeds = len(each.returns)
            returns = sum(each.returns) / seeds if seeds else float("nan")
            floats = sum(each.floats) / seeds if seeds else float("nan")
            time = "" if each.latency_us is None else f"  {each.latency_us:7.2f} µs"
            verdict = "passed" if each.passed else "; ".join(each.errors) or "did not pass"
            lines.append(
                f"  {each.size_bytes:>9,.0f} B  {returns:9.1f} of {floats:.1f}{time}  {verdict}: trial {each.trial}, {shown}"
            )
        lines.append("")
    if folder is not None:
        lines.append(f"All files: {folder}")
    return "\n".join(lines).rstrip()
