"""What came of each environment of the survey, as values, and the tables of docs/measured/environments.md made of them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from edgedqn.agents.files import Json, JsonValue, read_json, write_json
from edgedqn.benchmarks.peers.environment_limits import Sight

SCHEMA = 1
FILE, REFUSED, NOT_INSTALLED, FAULT, TIMEOUT = OUTCOMES = ("file", "refused", "missing dependency", "fault", "timeout")


@dataclass(frozen=True, kw_only=True)
class Finding(JsonValue):
    """What came of one environment.

    Attributes:
      source: what the tables call where it is from.
      sight: its spaces, and the limit it is beyond.
      outcome: one of OUTCOMES. `file` is a verified one, `refused` and `missing dependency` are exit code 2 with one line,
        `fault` is any other code or a traceback.
      reason: that line, or the exception and where in EdgeDQN it was; None of a file.
      seconds: all of it, TensorFlow's import included.
    """

    MERGED: ClassVar[tuple[str, ...]] = ("sight",)

    source: str
    sight: Sight
    outcome: str
    reason: str | None = None
    seconds: float = 0.0

    @property
    def is_within(self) -> bool:
        """Whether it lies within the stated limits."""
        return self.sight.limit is None


@dataclass(frozen=True, kw_only=True)
class Package(JsonValue):
    """What was counted of a package: its version, and how many of its entries were left out; see `Listing`."""

    version: str
    older: int
    vector_only: int


@dataclass(frozen=True)
class Results:
    """What `docs/results/environments.json` holds: packages by source, in order, and findings."""

    machine: Json
    packages: Mapping[str, Package]
    findings: tuple[Finding, ...]

    @classmethod
    def load(cls, file: Path) -> "Results":
        """Raises InputError where it cannot be read."""
        there = read_json(file, SCHEMA)
        packages = {source: Package.from_json(value) for source, value in there["packages"].items()}
        return cls(there["machine"], packages, tuple(map(Finding.from_json, there["environments"])))

    def save(self, file: Path) -> None:
        """In the order of packages and ids, whatever the order in which they were tried."""
        order = list(self.packages)
        findings = sorted(self.findings, key=lambda each: (order.index(each.source), each.sight.id))
        packages = {source: package.to_json() for source, package in self.packages.items()}
        environments = [finding.to_json() for finding in findings]
        write_json(file, {"schema": SCHEMA, "machine": self.machine, "packages": packages, "environments": environments})


def render_tables(results: Results) -> str:
    """Markdown: what is taken of each package, what is beyond the limits, why others are refused, and each fault."""
    within = [each for each in results.findings if each.is_within]
    beyond = [each for each in results.findings if not each.is_within]
    parts = [
        _taken(results),
        "### Refused within the limits\n\n" + _said_of(within),
        "### Beyond the limits\n\n" + _by_limit(beyond),
        "What is said of them:\n\n" + _said_of(beyond),
        "### Faults and timeouts\n\n" + _one_by_one([each for each in results.findings if each.outcome in (FAULT, TIMEOUT)]),
    ]
    return "\n\n".join(parts) + "\n"


def said(finding: Finding) -> str:
    """The reason without what is this environment's own: its id, and what was got."""
    reason = (finding.reason or "").replace(finding.sight.id, "ENV")
    return re.split(r"\bGot:? ", reason)[0].rstrip(" .:")


def _taken(results: Results) -> str:
    rows = []
    for source, package in results.packages.items():
        of_source = [each for each in results.findings if each.source == source]
        rows.append(_taken_row(f"{source} {package.version}", of_source, [package]))
    rows.append(_taken_row("**all**", results.findings, list(results.packages.values())))
    head = ["package", "left out: older, vector only", "ids", "beyond the limits", "within", *OUTCOMES, "share"]
    return _table(head, rows)


def _taken_row(name: str, findings: Sequence[Finding], packages: Sequence[Package]) -> list[str]:
    left_out = f"{sum(each.older for each in packages)}, {sum(each.vector_only for each in packages)}"
    within = [each for each in findings if each.is_within]
    outcomes = Counter(each.outcome for each in within)
    share = f"{outcomes[FILE] / len(within):.0%}" if within else "-"
    counts = [len(findings), len(findings) - len(within), len(within), *(outcomes[outcome] for outcome in OUTCOMES)]
    return [name, left_out, *map(str, counts), share]


def _by_limit(findings: Iterable[Finding]) -> str:
    groups: dict[str, Counter[str]] = {}
    for each in findings:
        groups.setdefault(str(each.sight.limit), Counter())[each.outcome] += 1
    ordered = sorted(groups.items(), key=lambda item: (-item[1].total(), item[0]))
    return _table(["limit", *OUTCOMES], [[limit, *(str(counts[outcome]) for outcome in OUTCOMES)] for limit, counts in ordered])


def _said_of(findings: Iterable[Finding]) -> str:
    groups: dict[str, list[Finding]] = {}
    for each in findings:
        if each.outcome in (REFUSED, NOT_INSTALLED):
            groups.setdefault(said(each), []).append(each)
    ordered = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return _table(["what is said", "ids", "one of them"], [[text, str(len(e)), f"`{e[0].sight.id}`"] for text, e in ordered])


def _one_by_one(findings: Iterable[Finding]) -> str:
    return _table(
        ["environment", "from", "within the limits", "outcome", "reason"],
        [
            [f"`{each.sight.id}`", each.source, "yes" if each.is_within else "no", each.outcome, each.reason or ""]
            for each in findings
        ],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, or `None.` without rows."""
    if not rows:
        return "None."
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
