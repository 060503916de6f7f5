"""The race's arithmetic on synthetic clocks, its report, and a short real run of our side. No speed is asserted."""

import importlib.util
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.peers import training_throughput
from edgedqn.benchmarks.peers.training_job import measure
from edgedqn.benchmarks.peers.training_parts import matrix_products, profile_edgedqn
from edgedqn.benchmarks.peers.training_sides import ZOO, Mark, Settings, steady_state
from edgedqn.benchmarks.peers.training_throughput import compare, main, render

SMALL = Settings(config=replace(ZOO["CartPole-v1"], steps=2_560, hidden=(8,), gradient_steps=4, batch_size=8))


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


def test_settings_are_the_zoos_and_round_trip_through_json() -> None:
    settings = Settings("CartPole-v1", replace(ZOO["CartPole-v1"], hidden=(64, 64)), threads=2, seed=3)
    text = json.dumps(settings.to_json())
    assert Settings.from_json(json.loads(text)) == settings
    assert "evaluation_interval" not in text
    config = Settings().config
    assert (config.learning_rate, config.batch_size, config.buffer_size, config.learning_starts) == (2.3e-3, 64, 100_000, 1_000)
    assert (config.discount, config.target_update_interval, config.train_freq, config.gradient_steps) == (0.99, 10, 256, 128)
    assert (config.exploration_fraction, config.exploration_final, config.max_gradient_norm) == (0.16, 0.04, 10.0)
    assert config.hidden == (256, 256)
    assert not config.double


def test_the_steady_state_begins_after_exploration_or_after_learning_starts() -> None:
    assert Settings(config=replace(ZOO["CartPole-v1"], steps=20_000)).settled_at == 3_200
    assert Settings(config=replace(ZOO["CartPole-v1"], steps=5_000)).settled_at == 1_001
    with pytest.raises(InputError, match=r"begins after 1001 steps.*Got steps=1500"):
        Settings(config=replace(ZOO["CartPole-v1"], steps=1_500))


def test_steady_state_counts_whole_windows_and_no_compilation() -> None:
    """Windows of 100 steps: 0.5 s to collect, then 2 s to learn; the first time of learning takes 7 s more."""
    config = replace(
        ZOO["CartPole-v1"], steps=1_000, train_freq=100, gradient_steps=10, learning_starts=300, exploration_fraction=0.62
    )
    marks, now = [], 50.0
    for env_steps in range(100, 1_001, 100):
        collected = now + 0.5
        # The slow spell at 600 lies before the first steady window, which begins at 700, the first mark after 620.
        learning = {400: 9.0, 600: 30.0, 900: 2.4}.get(env_steps, 2.0) if env_steps > 300 else 0.0
        now = collected + learning
        marks.append(Mark(env_steps, collected, now, cpu_s=now / 4))
    found = steady_state(marks, Settings(config=config))
    assert found.windows == 3  # 700-800, 800-900, 900-1000
    assert found.steps_per_s == pytest.approx(300 / (3 * 0.5 + 2.0 + 2.4 + 2.0))
    assert found.gradient_step_us == pytest.approx(2.0 / 10 * 1e6)  # the median, which the 2.4 s do not move
    assert found.compile_s == pytest.approx(7.0)
    assert found.cpu_share == pytest.approx(0.25)


def test_the_window_of_the_first_learning_is_not_counted_when_exploration_ended_before_it() -> None:
    config = replace(
        ZOO["CartPole-v1"], steps=500, train_freq=100, gradient_steps=10, learning_starts=200, exploration_fraction=0.1
    )
    marks = [Mark(100, 1, 1, 0), Mark(200, 2, 2, 0), Mark(300, 3, 13, 0), Mark(400, 14, 15, 0), Mark(500, 16, 17, 0)]
    found = steady_state(marks, Settings(config=config))
    assert (found.windows, found.steps_per_s, found.compile_s) == (2, 200 / 4, 9)


@needs_peers
def test_the_sides_take_turns_and_ratios_are_per_round() -> None:
    order = []

    def run(job: str, settings: Settings) -> dict[str, Any]:
        order.append((job, settings.seed))
        return fake_run(job, settings)

    report = compare(Settings(), 3, run)
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
    lines = render(compare(Settings(), 3, fake_run)).splitlines()
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

    last = render(compare(Settings(), 3, run)).splitlines()[-1]
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
            "Expected --env to be one of CartPole-v1, LunarLander-v3, MinAtar/Breakout-v1. Got 'CartPole-v9'",
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


def test_a_measurement_is_a_fresh_process_with_one_thread_per_library(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {}

    def run(command: list[str], env: dict[str, str], **_: Any) -> Any:
        seen.update(command=command, env=env)
        return subprocess.CompletedProcess(command, 0, stdout='{"us": 1.0}', stderr="")

    monkeypatch.setattr(subprocess, "run", run)
    assert training_throughput.run_in_process("matrix_products", SMALL) == {"us": 1.0}
    assert seen["command"][1:4] == ["-m", "edgedqn.benchmarks.peers.training_job", "matrix_products"]
    assert {seen["env"][pool] for pool in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")} == {"1"}
    assert seen["env"]["CUDA_VISIBLE_DEVICES"] == "-1"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, stdout="", stderr="it broke"))
    with pytest.raises(RuntimeError, match=r"(?s)exit code 1.*it broke"):
        training_throughput.run_in_process("edgedqn", SMALL)


def test_matrix_products_are_those_of_two_forward_passes_and_one_backward() -> None:
    # Per layer: online, target, the kernel's gradient; and the gradient of the input, but for the first layer.
    found = matrix_products(SMALL)
    assert found["count"] == 3 + 4
    assert found["us"] > 0
    images = Settings("MinAtar/Breakout-v1", ZOO["MinAtar/Breakout-v1"])
    assert matrix_products(images)["count"] == 3 + 4 + 4  # one convolution, two Dense layers
    widths = replace(SMALL, config=replace(SMALL.config, hidden=(8, 8)))
    assert matrix_products(widths)["count"] == 3 + 4 + 4


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow refuses new thread counts once it runs, as it does in this process."""
    import tensorflow as tf

    monkeypatch.setattr(tf.config.threading, "set_intra_op_parallelism_threads", lambda _: None)
    monkeypatch.setattr(tf.config.threading, "set_inter_op_parallelism_threads", lambda _: None)


@pytest.mark.usefixtures("one_thread")
def test_our_side_really_trains() -> None:
    found = measure("edgedqn", SMALL)
    assert found["windows"] == 6  # learning starts at 1,024, and that window is the compiler's: 1,024 to 2,560
    assert found["compile_s"] > 0
    assert found["steps_per_s"] > 0
    assert found["gradient_step_us"] > 0
    assert found["peak_memory_mb"] > 100  # TensorFlow alone takes more


@pytest.mark.usefixtures("one_thread")
def test_the_profile_accounts_for_all_time_and_leaves_the_classes_as_they_were() -> None:
    from edgedqn.agents.dqn import DQN
    from edgedqn.agents.replay import Replay

    before = (DQN.act, DQN.observe, Replay.store, Replay.add, Replay.sample)
    shares = profile_edgedqn(SMALL)["shares"]
    assert set(shares) == {"environment", "acting", "replay", "learning", "other"}
    assert sum(shares.values()) == pytest.approx(1.0)
    assert all(share > 0 for share in shares.values())
    assert (DQN.act, DQN.observe, Replay.store, Replay.add, Replay.sample) == before
