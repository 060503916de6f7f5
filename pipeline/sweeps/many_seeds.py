"""The same run with many training seeds: what came of each, and of all together. A seed is a sample, an episode is not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from edgedqn.agents.files import Json, JsonValue
from edgedqn.agents.playing.statistics import Interval, across_seeds, percentile_bootstrap
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.recipes import FLOAT32
from edgedqn.pipeline.config import CONTROL
from edgedqn.pipeline.sweeps.sweep import RECIPE
from edgedqn.pipeline.sweeps.trials import Found


@dataclass(frozen=True, kw_only=True)
class AcrossSeeds(JsonValue):
    """A file, as it came out with each training seed that it could be made and proven with.

    Attributes:
      name: of its recipe.
      seeds: of training.
      returns: its mean return with each, in reward units.
      gates: its verdict with each; empty of the float agents.
      size_bytes: with each.
      middle: the interquartile mean of the returns.
      as_good: the probability that it plays as well as a float agent of *any* of the seeds: how often its return is higher, and
        half of how often it is equal.
    """

    name: str
    seeds: tuple[int, ...]
    returns: tuple[float, ...]
    gates: tuple[str, ...]
    size_bytes: tuple[int, ...]
    middle: Interval
    as_good: Interval


def across(found: Found) -> tuple[AcrossSeeds, ...]:
    """Of a sweep that has proven all its files: the float agents, the naive conversion, and each recipe."""
    rows: dict[str, dict[int, BenchmarkRow]] = {}
    for number, proofs in found.proofs.items():
        for proof in proofs:
            named = {FLOAT32.name: FLOAT32.name, CONTROL: CONTROL, str(found.trials[number].settings[RECIPE]): None}
            for name, there in named.items():
                row = proof.own_row if there is None else proof.row(there)
                if row is not None and row.episode_return is not None:
                    rows.setdefault(name, {}).setdefault(proof.work.file.teacher.seed, row)
    rows = {name: dict(sorted(by_seed.items())) for name, by_seed in rows.items()}
    floats = _returns(rows.get(FLOAT32.name, {}))
    return tuple(
        AcrossSeeds(
            name=name,
            seeds=tuple(by_seed),
            returns=_returns(by_seed),
            gates=tuple(row.gate for row in by_seed.values() if row.gate is not None),
            size_bytes=tuple(row.size_bytes or 0 for row in by_seed.values()),
            middle=across_seeds(_returns(by_seed)),
            as_good=as_good(_returns(by_seed), floats),
        )
        for name, by_seed in rows.items()
    )


def as_good(returns: Sequence[float], others: Sequence[float]) -> Interval:
    """The probability that one of the returns [N] is higher than one of the others [M], equal ones counted half, with a 95 %
    bootstrap interval over the first.

    Source: Agarwal et al. (2021), "Deep reinforcement learning at the edge of the statistical precipice": the probability of
      improvement, which is the Mann-Whitney U statistic over N times M.
    """
    mine, theirs = np.asarray(returns, np.float64), np.asarray(others, np.float64)
    wins = (np.sign(mine[:, np.newaxis] - theirs).mean(axis=1) + 1) / 2  # [N]
    return Interval(float(wins.mean()), *percentile_bootstrap(wins, lambda rows: rows.mean(axis=1)))


def to_json(files: Sequence[AcrossSeeds], errors: Sequence[str]) -> Json:
    """What `run --seeds` prints with `--json`."""
    return {"files": [each.to_json() for each in files], "errors": list(errors)}


def render(files: Sequence[AcrossSeeds]) -> str:
    """For people: a line for each file."""
    rows = [("file", "seeds", "return, middle half [95 %]", "as good as float [95 %]", "passed", "bytes")]
    for each in files:
        passed = f"{each.gates.count('pass')} of {len(each.gates)}" if each.gates else ""
        sizes = sorted(set(each.size_bytes))
        size = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        middle = f"{each.middle.mean:.1f} [{each.middle.low:.1f}, {each.middle.high:.1f}]"
        chance = (
            "" if each.name == FLOAT32.name else f"{each.as_good.mean:.0%} [{each.as_good.low:.0%}, {each.as_good.high:.0%}]"
        )
        rows.append((each.name, str(len(each.seeds)), middle, chance, passed, size))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)


def _returns(by_seed: Mapping[int, BenchmarkRow]) -> tuple[float, ...]:
    return tuple(row.episode_return.mean for row in by_seed.values() if row.episode_return is not None)
