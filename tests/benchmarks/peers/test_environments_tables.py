"""The tables, on findings that are written down."""

from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.peers.environment_limits import REWARDS, Sight
from edgedqn.benchmarks.peers.environments_tables import Finding, Package, Results, render_tables, said

PACKAGES = {
    "first": Package(version="1.0", older=3, vector_only=1),
    "second": Package(version="2.0", older=0, vector_only=0),
}


def finding(
    env_id: str, outcome: str, reason: str | None = None, *, limit: str | None = None, source: str = "first"
) -> Finding:
    sight = Sight(id=env_id, observations="Box(0, 1, (2,))", actions="Discrete(2)", limit=limit)
    return Finding(source=source, sight=sight, outcome=outcome, reason=reason, seconds=1.5)


FINDINGS = (
    finding("m:D-v0", "refused", "m:D-v0 gives a vector of rewards. Got 2 | 3.", limit=REWARDS, source="second"),
    finding("C-v0", "fault", "TypeError: a | b (agents/dqn.py:3)"),
    finding("A-v0", "file"),
    finding("B-v0", "refused", "B-v0 has no numbers: expected some. Got Text(1)."),
    finding("B2-v0", "refused", "B2-v0 has no numbers: expected some. Got Text(2)."),
)
TABLES = """\
| package | left out: older, vector only | ids | beyond the limits | within | file | refused | missing dependency | fault | timeout | share |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| first 1.0 | 3, 1 | 4 | 0 | 4 | 1 | 2 | 0 | 1 | 0 | 25% |
| second 2.0 | 0, 0 | 1 | 1 | 0 | 0 | 0 | 0 | 0 | 0 | - |
| **all** | 3, 1 | 5 | 1 | 4 | 1 | 2 | 0 | 1 | 0 | 25% |

### Refused within the limits

| what is said | ids | one of them |
| --- | --- | --- |
| ENV has no numbers: expected some | 2 | `B-v0` |

### Beyond the limits

| limit | file | refused | missing dependency | fault | timeout |
| --- | --- | --- | --- | --- | --- |
| a vector of rewards | 0 | 1 | 0 | 0 | 0 |

What is said of them:

| what is said | ids | one of them |
| --- | --- | --- |
| ENV gives a vector of rewards | 1 | `m:D-v0` |

### Faults and timeouts

| environment | from | within the limits | outcome | reason |
| --- | --- | --- | --- | --- |
| `C-v0` | first | yes | fault | TypeError: a \\| b (agents/dqn.py:3) |
"""  # noqa: E501


def test_what_is_written_is_read_in_the_order_of_packages_and_ids(tmp_path: Path) -> None:
    Results({"cpu": "x"}, PACKAGES, FINDINGS).save(tmp_path / "found.json")
    found = Results.load(tmp_path / "found.json")
    assert set(found.findings) == set(FINDINGS) and found.packages == PACKAGES
    assert [each.sight.id for each in found.findings] == ["A-v0", "B-v0", "B2-v0", "C-v0", "m:D-v0"]
    (tmp_path / "found.json").write_text("{}")
    with pytest.raises(InputError, match="another schema"):
        Results.load(tmp_path / "found.json")


def test_the_tables_count_within_and_beyond_apart() -> None:
    assert render_tables(Results({}, PACKAGES, FINDINGS[:1] + FINDINGS[3:] + FINDINGS[1:3])) == TABLES


def test_without_any_fault_that_is_said() -> None:
    assert render_tables(Results({}, PACKAGES, FINDINGS[2:3])).endswith("### Faults and timeouts\n\nNone.\n")


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("X-v1 is odd. Got: 3.", "ENV is odd"), ("Unknown 'X-v1'", "Unknown 'ENV'"), ("no id: Got 3", "no id"), (None, "")],
)
def test_what_is_said_leaves_out_what_is_one_environments_own(reason: str | None, expected: str) -> None:
    assert said(finding("X-v1", "refused", reason)) == expected
