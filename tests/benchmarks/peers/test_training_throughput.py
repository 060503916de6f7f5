"""Both sides in turns: the arithmetic and the table, on figures that are written down."""

import importlib.util
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.benchmarks.peers import training_throughput
from edgedqn.benchmarks.peers.training_sides import Settings
from edgedqn.benchmarks.peers.training_throughput import compare, main, render


def fake_run(job: str, settings: Settings) -> dict[str, Any]:
    """SB3 slows from seed to seed: 1,000, 500, 250 steps/s against EdgeDQN's 4,000."""
    if job == "profile":
        return {"shares": {"environment": 0.25, "learning": 0.75}, "step_us": {"environment": 1.0, "learning": 3.0}}
    if job == "matrix_products":
        return {"us": 100.0, "count": 11}
    ours = job == "edgedqn"
    return {
        "steps_per_s": 4_000.0 if ours else 1_000.0 / 2**settings.seed,
        "gradient_step_us": 200.0 if ours else 1_000.0,
        "compile_s": 1.25 if ours else 0.0,
        "cpu_share": 1.0,
        "windows": 9,
        "peak_memory_mb": 500.0,
    }


# The report names the versions of both sides, so both must be installed.
needs_peers = pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs the extra `peers`")


@needs_peers
def test_the_sides_take_turns_and_ratios_are_per_round() -> None:
    order = []

    def run(job: str, settings: Settings) -> dict[str, Any]:
        order.append((job, settings.seed))
        return fake_run(job, settings)

    report = compare(Settings(), 3, run=run)
    rounds = [[("edgedqn", i), ("stable_baselines3", i), ("matrix_products", i)] for i in range(3)]
    assert order == [*sum(rounds, []), ("profile", 0)]  # noqa: RUF017 (nine items)
    assert report["ratio"] == {"median": 8.0, "range": [4.0, 16.0], "each": [4.0, 8.0, 16.0]}
    assert report["gradient_step_ratio"]["median"] == 5.0
    assert report["over_matrix_products"]["median"] == 2.0
    assert report["median"]["stable_baselines3"]["steps_per_s"] == 500.0
    assert {"schema", "machine", "versions", "settings", "runs", "median", "ratio", "profile"} <= set(report)
    assert json.loads(json.dumps(report, allow_nan=False)) == report


@needs_peers
def test_the_table_has_each_figure_once_and_lines_up() -> None:
    lines = render(compare(Settings(), 3, run=fake_run)).splitlines()
    assert lines[0] == "CartPole-v1, [256, 256], 20,000 steps, threads: 1, median of 3, 9 windows of 256 steps each"
    steps = next(line for line in lines if line.startswith("steps/s"))
    assert steps.split() == ["steps/s", "4,000", "500", "8.00x", "[4.00,", "16.00]"]
    assert lines[1].index("SB3") == steps.index("500")
    assert lines[-1] == "EdgeDQN's time: environment 25%, learning 75%"


@needs_peers
def test_a_busy_machine_is_told_under_the_table() -> None:
    def run(job: str, settings: Settings) -> dict[str, Any]:
        starved = job == "stable_baselines3" and settings.seed == 1
        return {**fake_run(job, settings), "cpu_share": 0.5} if starved else fake_run(job, settings)

    last = render(compare(Settings(), 3, run=run)).splitlines()[-1]
    assert last == "Processor time fell to 0.50 of wall time: the machine was busy, measure again."


@pytest.mark.parametrize(("package", "extra"), [("stable_baselines3", "peers"), ("torch", "peers"), ("tensorflow", "train")])
def test_a_missing_extra_is_named_in_one_line(
    package: str, extra: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else found("json"))
    assert main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    expected = (
        f'training_throughput: {package} is not installed. It comes with the extra {extra}: pip install "edgedqn[{extra}]".\n'
    )
    assert captured.err == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--env", "CartPole-v9"],
            "Expected --env to be one of CartPole-v1, LunarLander-v3, MinAtar/Breakout-v1, ALE/Pong-v5. Got 'CartPole-v9'",
        ),
        (["--steps", "1000"], "and steps=1000"),
        (["--steps", "0"], "Got steps=0"),
        (["--hidden", "0"], "Got hidden="),
        (["--repeats", "0"], "Got repeats=0"),
        (["--threads", "0"], "Got threads=0"),
        (["--json", "no/such/folder.json"], "existing folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_throughput, "NEEDED", {})
    monkeypatch.setattr(training_throughput, "run_in_process", pytest.fail)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@needs_peers
def test_the_command_prints_the_table_and_writes_the_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(training_throughput, "run_in_process", fake_run)
    out = tmp_path / "throughput.json"
    assert main(["--hidden", "64", "64", "--steps", "8000", "--repeats", "1", "--json", str(out)]) == 0
    report = json.loads(out.read_text())
    assert (report["settings"]["config"]["hidden"], report["settings"]["config"]["steps"]) == ([64, 64], 8_000)
    assert capsys.readouterr().out == render(report) + "\n"


def test_a_measurement_is_a_fresh_process_with_one_thread_per_library(small: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    def run(command: list[str], env: dict[str, str], **_: Any) -> Any:
        seen.update(command=command, env=env)
        return subprocess.CompletedProcess(command, 0, stdout='{"us": 1.0}', stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    assert training_throughput.run_in_process("matrix_products", small) == {"us": 1.0}
    assert "edgedqn.benchmarks.peers.training_job" in seen["command"][3] and seen["command"][4] == "matrix_products"
    assert {seen["env"][pool] for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, stdout="", stderr="it broke"))
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*it broke"):
        training_throughput.run_in_process("edgedqn", small)
