import json

import pytest

from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.report import Attempt, Findings, Judgement, NetworkSize, StageReport

JUDGEMENT = Judgement(
    verdict="pass",
    mean_return=-98.5,
    loss=0.2,
    episodes=100,
    env_steps=9_850,
    size_bytes=1_136,
    action_agreement=0.9,
    gap_weighted_agreement=0.99,
    tie_rate=0.01,
)
SIZE = NetworkSize((), (8,), 58)


def report(stage: str, findings: Findings) -> StageReport:
    return StageReport(stage=stage, agreement=0.9, mean_return=-100.5, seconds=1.25, findings=findings)


def test_json_is_one_flat_object_of_the_figures_there_are() -> None:
    found = Findings(size=SIZE, passed=True, skipped=(), attempts=(Attempt(judgement=JUDGEMENT, size=SIZE),))
    assert json.loads(json.dumps(report("search", found).to_json())) == {
        "stage": "search",
        "agreement": 0.9,
        "return": -100.5,
        "seconds": 1.25,
        "filters": [],
        "hidden": [8],
        "weights": 58,
        "passed": True,
        "skipped": [],
        "attempts": [{"filters": [], "hidden": [8], "weights": 58, **JUDGEMENT.to_json()}],
    }


@pytest.mark.parametrize(
    ("stage", "null"), [("cluster", ["final_loss"]), ("quantize_aware", ["clusters_reached"]), ("prune", [])]
)
def test_some_figures_are_null_where_a_stage_has_none(stage: str, null: list[str]) -> None:
    written = report(stage, Findings(sparsity_reached=(0.5,))).to_json()
    assert [key for key, value in written.items() if value is None] == null
    assert written["sparsity_reached"] == [0.5]


@pytest.mark.parametrize(
    "findings",
    [
        Findings(),
        Findings(allocation="erk", structure="2:4", sparsity_asked=(0.5, 0.0), skipped=("kernel 1: why",)),
        Findings(allocation=(0.5, 0.1), structure=(1, 16), final_loss=0.25),
        Findings(size=NetworkSize((4,), (8,))),
        Findings(passed=False, chosen=0, attempts=(Attempt(judgement=JUDGEMENT),)),
        Findings(size=SIZE, attempts=(Attempt(judgement=JUDGEMENT, size=SIZE),)),
    ],
)
def test_reads_what_it_wrote(findings: Findings) -> None:
    written = report("prune", findings)
    assert StageReport.from_json(json.loads(json.dumps(written.to_json(), allow_nan=False))) == written


def test_reads_what_real_stages_report(policies: dict[str, CompressedPolicy]) -> None:
    for each in policies["tiny-pruned"].reports:
        assert StageReport.from_json(json.loads(json.dumps(each.to_json(), allow_nan=False))) == each


def test_a_judgement_is_plain_json() -> None:
    judgement = Judgement(
        verdict="pass",
        mean_return=-98.5,
        loss=0.2,
        episodes=100,
        env_steps=9_850,
        size_bytes=1_136,
        action_agreement=0.9,
        gap_weighted_agreement=0.99,
        tie_rate=0.01,
    )
    told = json.loads(json.dumps(judgement.to_json(), allow_nan=False))
    assert told == {
        "verdict": "pass",
        "mean_return": -98.5,
        "loss": 0.2,
        "episodes": 100,
        "env_steps": 9_850,
        "size_bytes": 1_136,
        "action_agreement": 0.9,
        "gap_weighted_agreement": 0.99,
        "tie_rate": 0.01,
        "reason": "",
    }
