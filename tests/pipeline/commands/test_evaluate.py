"""`evaluate` of files."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from edgedqn.pipeline.job import RunResult

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


def test_damaged_policy_files_are_refused(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    good = (tiny_run.folder / "models" / "qat-int8.tflite").read_bytes()
    changed = bytearray(good)
    changed[len(good) // 2] ^= 1
    for name, content in (
        ("empty", b""),
        ("truncated", good[: len(good) // 2]),
        ("changed", bytes(changed)),
        ("foreign", b"x"),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        assert_refused(edgedqn("evaluate", path), f"{name}.tflite")
        assert_refused(edgedqn("bench", path), f"{name}.tflite")
    assert_refused(edgedqn("evaluate", tmp_path / "missing.tflite"), "missing.tflite")


def test_a_manifest_of_a_newer_schema_is_refused(
    assert_refused: Refused, edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path
) -> None:
    for suffix in (".tflite", ".json"):
        shutil.copy(tiny_run.folder / "models" / f"qat-int8{suffix}", tmp_path)
    sidecar = json.loads((tmp_path / "qat-int8.json").read_text())
    (tmp_path / "qat-int8.json").write_text(json.dumps({**sidecar, "schema": 2}))
    assert_refused(edgedqn("evaluate", tmp_path / "qat-int8.tflite"), "schema", "2")


def test_evaluate_prints_the_contract_and_the_same_return_as_the_row(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    row = tiny_run.benchmark["rows"][2]
    path = tiny_run.folder / row["file"]
    prove_seed = json.loads(path.with_suffix(".json").read_text())["evidence"]["prove_seed"]
    episodes = str(row["return"]["episodes"])
    answer = edgedqn("evaluate", path, "--episodes", episodes, "--seed", str(prove_seed), "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    result = json.loads(answer.stdout)
    assert set(result) == {"schema", "policy", "env_id", "mean", "ci95", "episodes", "seed", "returns"}
    assert (result["mean"], result["ci95"]) == (row["return"]["mean"], row["return"]["ci95"])
    assert len(result["returns"]) == row["return"]["episodes"]


def test_a_file_alone_imports_nothing_from_the_current_folder(
    assert_refused: Refused, edgedqn: CommandLine, own_file: Path, tmp_path: Path
) -> None:
    answer = edgedqn("evaluate", own_file)
    assert_refused(answer, "No module named 'own'", "--env own:Base-v0 does")
    assert not (tmp_path / "imported").exists()
    answer = edgedqn("evaluate", own_file, "--env", "own:Base-v0", "--episodes", "2", "--json")
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)["env_id"] == "own:Base-v0" and (tmp_path / "imported").exists()
    assert_refused(edgedqn("evaluate", own_file, "--env", "CartPole-v1"), "for another environment than CartPole-v1")
