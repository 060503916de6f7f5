"""The published JSON schemas: they are schemas, and hold for the files that lie in docs/results/."""

import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("jsonschema", reason="the extra `docs` is not installed")

import jsonschema

from edgedqn.benchmarks.machine import Machine
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Latency
from edgedqn.export.edge_policy import Feature

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="looks at the checkout, not at the package")
POLICIES = sorted((DOCS / "results" / "policies").glob("*.tflite"))


def validator(name: str) -> Any:
    schema = json.loads((DOCS / "reference" / "schemas" / f"{name}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def refusal(kind: str, value: object) -> str:
    """What the first error says; empty of a file that validates."""
    return next((f"{error.json_path}: {error.message}" for error in validator(kind).iter_errors(value)), "")


@pytest.mark.parametrize("policy", POLICIES, ids=lambda path: path.stem)
def test_real_files_validate(policy: Path) -> None:
    assert refusal("benchmark", json.loads(policy.with_suffix(".benchmark.json").read_text())) == ""
    assert refusal("policy", json.loads(policy.with_suffix(".json").read_text())) == ""


def test_what_is_written_today_validates() -> None:
    row = BenchmarkRow(name="a", file="models/a.tflite", latency_us=Latency(p50=1, p90=1, p99=1, mean=1, n=3, timer_us=0))
    benchmark = Benchmark(Machine(cpu=None), "a", (row,))
    assert refusal("benchmark", json.loads(json.dumps(benchmark.to_json()))) == ""


def test_the_schema_of_a_row_has_its_fields() -> None:
    schema = validator("benchmark").schema
    names = {BenchmarkRow.KEYS.get(field.name, field.name) for field in fields(BenchmarkRow)}
    assert schema["$defs"]["row"]["properties"].keys() == names
    machine = {Machine.KEYS.get(field.name, field.name) for field in fields(Machine)}
    assert schema["properties"]["machine"]["properties"].keys() == machine


def test_the_features_of_an_observation_validate() -> None:
    value = json.loads(POLICIES[0].with_suffix(".json").read_text())
    environment = value["device"]["environment"]
    features = [Feature("mode", 2, (2,)), Feature("gears", 5, (2, 3), (0, 1)), Feature("speed", 2)]
    environment["features"] = [feature.to_json() for feature in features]
    assert refusal("policy", value) == ""
    environment["features"] = [{"key": "mode", "size": 2, "one_hot": "yes"}]
    assert "features[0].one_hot" in refusal("policy", value)
    environment["features"] = [{"size": 2}]
    assert "features[0]" in refusal("policy", value)


@pytest.mark.parametrize(
    ("kind", "change", "said"),
    [
        ("benchmark", {"schema": 2}, r"\$.schema"),
        ("benchmark", {"rows": [{"name": "a", "file": "a", "status": "odd"}]}, r"rows\[0\].status"),
        ("policy", {"file_sha256": "abc"}, "file_sha256"),
        ("policy", {"device": {}}, r"\$.device"),
    ],
)
def test_what_is_wrong_is_refused(kind: str, change: dict[str, object], said: str) -> None:
    suffix = ".benchmark.json" if kind == "benchmark" else ".json"
    value = json.loads(POLICIES[0].with_suffix(suffix).read_text())
    assert re.search(said, refusal(kind, value | change))
