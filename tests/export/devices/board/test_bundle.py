"""The board's part of a bundle, run as a user runs it: from its own folder, with nothing of ours on the path."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.preprocessing import parse_steps
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.export.devices.board.bundle import TWIN, readme, write_board
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, read_verified
from edgedqn.export.tflite_file.manifest import PolicyManifest, device_part, write_sidecar

Files = tuple[Path, Path]


def on_the_board(folder: Path, script: str, *arguments: str, without: str = "tensorflow") -> str:
    """Stdout of a script of the bundle, where neither we nor `without` can be imported."""
    code = (
        f"import runpy, sys\nsys.modules['edgedqn'] = sys.modules[{without!r}] = None\n"
        f"sys.argv = sys.argv[1:]\nsys.path.insert(0, '.')\nrunpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", code, script, *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
    return done.stdout if done.returncode == 0 else f"{done.stdout}exit {done.returncode}: {done.stderr.strip()}"


@pytest.fixture
def bundle(tmp_path: Path, cartpole_files: Files) -> Path:
    (tmp_path / "device").mkdir()
    write_board(read_verified(cartpole_files[0]), tmp_path / "device", read_verified(cartpole_files[1]))
    return tmp_path / "device"


def test_loops_over_stand_ins_where_there_is_no_gymnasium(bundle: Path) -> None:
    told = on_the_board(bundle, "run_policy.py", "--steps", "20", "--hertz", "1000", without="gymnasium").splitlines()
    assert re.search(rf"policy\.tflite [\d.]+ µs, board/{TWIN} [\d.]+ µs\. Taking (policy\.tflite|board/{TWIN})\.", told[0])
    actions = [int(action) for action in told[-1].split()]
    assert len(actions) == 20 and set(actions) <= {0, 1}


def test_plays_the_environment_as_the_host_does(bundle: Path, cartpole_files: Files) -> None:
    import gymnasium

    (bundle / "board" / TWIN).unlink()
    expected = evaluate(EdgePolicy.load(cartpole_files[0]), gymnasium.make("CartPole-v1"), seeds=range(5, 8)).returns
    told = on_the_board(bundle, "run_policy.py", "--env", "--episodes", "3", "--seed", "5")
    assert [float(value) for value in re.findall(r": return ([\d.]+)", told)] == list(expected)


def test_says_which_package_play_lacks(bundle: Path) -> None:
    told = on_the_board(bundle, "run_policy.py", "--env", without="gymnasium")
    assert "run_policy.py: --env plays CartPole-v1, which needs a package more" in told and "exit 1" in told


@pytest.mark.parametrize(
    ("script", "option", "value", "expected"),
    [
        ("run_policy.py", "--episodes", "0", "expected 1 or more, got 0"),
        ("run_policy.py", "--hertz", "0", "expected a number above 0, got 0"),
        ("run_policy.py", "--hertz", "nan", "expected a number above 0, got nan"),
        ("bench_on_device.py", "--calls", "0", "expected 1 or more, got 0"),
        ("bench_on_device.py", "--calls", "many", "invalid count value: 'many'"),
    ],
)
def test_a_number_that_is_none_is_refused_in_one_line(
    bundle: Path, script: str, option: str, value: str, expected: str
) -> None:
    told = on_the_board(bundle, script, option, value)
    assert "Traceback" not in told
    assert told.startswith("exit 2: ") and told.splitlines()[-1].endswith(f"argument {option}: {expected}")


def test_a_damaged_file_ends_the_loop_with_one_line(bundle: Path) -> None:
    content = bytearray((bundle / "policy.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (bundle / "policy.tflite").write_bytes(content)
    told = on_the_board(bundle, "run_policy.py")
    assert told.startswith("exit 1: run_policy.py: ") and "\n" not in told


def test_times_both_files_in_the_words_of_the_hosts_benchmark(bundle: Path, cartpole_files: Files) -> None:
    on_the_board(bundle, "bench_on_device.py", "figures.json", "--calls", "20")
    measured = json.loads((bundle / "figures.json").read_text())
    assert [row["file"] for row in measured["rows"]] == ["policy.tflite", f"board/{TWIN}"]
    for row, path in zip(measured["rows"], cartpole_files, strict=True):
        assert row["sha256"] == read_verified(path).file_sha256
        for key in ("latency_us", "step_latency_us"):
            assert set(row[key]) == {"p50", "p90", "p99", "mean", "n", "timer_us"}
            assert row[key]["n"] == 10 * 20 and row[key]["p50"] <= row[key]["p90"] <= row[key]["p99"]
    host = describe_machine(1).to_json()
    assert measured["machine"].items() <= host.items()


def test_ships_what_was_proven(bundle: Path, cartpole_files: Files) -> None:
    assert (bundle / "policy.tflite").read_bytes() == cartpole_files[0].read_bytes()
    assert (bundle / "board" / TWIN).read_bytes() == cartpole_files[1].read_bytes()
    assert sorted(path.name for path in bundle.rglob("policy*.json")) == ["policy-float-io.json", "policy.json"]


def test_the_twin_is_optional_and_of_the_same_environment(tmp_path: Path, cartpole_files: Files, float_policy: bytes) -> None:
    write_board(read_verified(cartpole_files[0]), tmp_path)
    assert not (tmp_path / "board").exists() and "board/" not in (tmp_path / "README.md").read_text()
    (tmp_path / "other.tflite").write_bytes(float_policy)
    with pytest.raises(PolicyFileError, match=r"of another environment: .* Got Test-v0"):
        write_board(read_verified(cartpole_files[0]), tmp_path, read_verified(tmp_path / "other.tflite"))


def test_the_readme_is_of_this_very_policy(bundle: Path, cartpole_files: Files) -> None:
    text = (bundle / "README.md").read_text()
    file = read_verified(cartpole_files[0])
    for fact in (
        "# A policy for CartPole-v1",
        f"{len(file.content):,} bytes",
        file.file_sha256,
        "an array [4] of float32",
        "0 .. 1: the index of the largest of 2 preferences",
        f"{file.device.scale[0]:g}",
        "Its return was not measured.",
        TWIN,
    ):
        assert fact in text


def test_the_readme_tells_the_return_where_it_was_measured(cartpole_files: Files) -> None:
    row = {"return": {"mean": 499.25, "ci95": [498.5, 500.0], "episodes": 300}, "gate": "pass"}
    path = cartpole_files[0]
    write_sidecar(path, PolicyManifest(read_verified(path).device, {"benchmark": row}))
    assert "499.25, 95 % interval [498.50, 500.00], over 300 episodes; gate against the float policy: pass." in readme(
        read_verified(path), has_twin=False
    )


@pytest.mark.parametrize(
    "shape, dtype, steps, own, left",
    [
        ((), "int64", ("one_hot",), "one_hot, scaling", "nothing"),
        ((2,), "float32", ("frame_stack:2",), "frame_stack:2, scaling", "clears the frame stack"),
        ((84, 84), "uint8", ("atari", "frame_stack:4"), "frame_stack:4, scaling", "AtariPreprocessing"),
    ],
)
def test_the_readme_tells_what_is_left_to_the_caller(
    cartpole_files: Files, shape: tuple[int, ...], dtype: str, steps: tuple[str, ...], own: str, left: str
) -> None:
    spec = EnvironmentSpec(
        id="Any-v0",
        observation_shape=shape,
        observation_dtype=dtype,
        observation_low=(None,),
        observation_high=(None,),
        n_actions=2,
        preprocessing=parse_steps(steps),
    )
    device = device_part(spec, np.ones(1, np.float32), np.zeros(1, np.float32), "preferences", "test")
    text = readme(replace(read_verified(cartpole_files[0]), device=device), has_twin=False)
    assert f"| `EdgePolicy` does | {own} |" in text
    assert re.search(rf"\| you do \| .*{left}.*\|", text)


def test_the_readme_tells_who_chooses_the_action(cartpole_files: Files) -> None:
    file = read_verified(cartpole_files[0])
    file = replace(file, device=replace(file.device, meaning="action"))
    assert "| action | 0 .. 1: the file itself chooses it |" in readme(file, has_twin=False)
