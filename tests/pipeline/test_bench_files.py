"""Files that are in no run."""

import json
import shutil
import subprocess
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, FrameStack
from edgedqn.benchmarks.foreign import ForeignFile
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.edge_policy import PolicyFileError, TfliteModel
from edgedqn.export.tflite import to_tflite
from edgedqn.export.tflite_file.reader import stripped
from edgedqn.pipeline import bench_files as module
from edgedqn.pipeline import proving
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands import files as commands
from edgedqn.pipeline.job import RunResult

SHORT = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0)
bench_files = partial(module.bench, latency=SHORT)


def test_plays_the_environment_that_the_manifests_name(tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proving, "STRESS_EPISODES", 3)
    models = tiny_run.folder / "models"
    found = bench_files([models / "qat-int8.tflite", models / "float32.tflite"], seed=3, stress=True)
    assert found.stress is not None and found.stress.episodes == 3
    assert [each.excess is None for each in found.stress.stresses[0].files] == [False, True]
    benchmark = found.to_json()
    rows = {row["name"]: row for row in benchmark["rows"]}
    assert benchmark["baseline"] == "float32"
    assert rows["qat-int8"]["return"]["episodes"] >= 300 and rows["qat-int8"]["gate"] in ("pass", "fail", "undecided")
    assert rows["qat-int8"]["action_agreement"] == pytest.approx(tiny_run.benchmark["rows"][2]["action_agreement"], abs=0.1)
    assert rows["float32"]["action_agreement"] == 1.0


def test_the_baseline_can_be_chosen_and_must_be_there(tiny_run: RunResult) -> None:
    paths = [tiny_run.folder / "models" / f"{name}.tflite" for name in ("float32", "qat-int8")]
    assert bench_files(paths, baseline="qat-int8", play=False).baseline == "qat-int8"
    assert bench_files(paths[1:], play=False).baseline == "qat-int8"
    with pytest.raises(InputError, match=r"expected one of float32, qat-int8\. Got 'best'"):
        bench_files(paths, baseline="best")


def test_two_files_of_one_name_are_refused(tiny_run: RunResult, tmp_path: Path) -> None:
    path = tiny_run.folder / "models" / "qat-int8.tflite"
    shutil.copy(path, tmp_path)
    with pytest.raises(InputError, match="qat-int8"):
        bench_files([path, tmp_path / "qat-int8.tflite"], play=False)


def test_files_that_see_the_environment_differently_are_timed_but_not_played(tiny_run: RunResult, tmp_path: Path) -> None:
    spec = EnvironmentSpec(
        source=EnvironmentSource("CartPole-v1"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,),
        observation_high=(None,),
        n_actions=2,
        preprocessing=(FrameStack(2),),
    )
    network = q_network((8,), 2, hidden=(8,), rng=np.random.default_rng(0))
    identity = InputScaling.identity()
    policy = CompressedPolicy(
        network=network,
        conversion="float32",
        scaling=identity,
        meaning="q_values",
        spec=spec,
        observations=np.empty(0),
        recipe="stacked",
        reports=(),
        layers=describe(network),
    )
    (tmp_path / "stacked.tflite").write_bytes(to_tflite(policy))
    paths = [tiny_run.folder / "models" / "float32.tflite", tmp_path / "stacked.tflite"]
    with pytest.raises(InputError, match=r"see the environment differently.*Got \['frame_stack:2'\] and \[\]"):
        bench_files(paths)
    rows = bench_files(paths, play=False).to_json()["rows"]
    assert [row["status"] for row in rows] == ["ok", "ok"]
    assert all(row["step_latency_us"]["n"] > 0 for row in rows)


@pytest.fixture
def foreign(tiny_run: RunResult, tmp_path: Path) -> Path:
    """The int8 file as somebody else would have made it: no manifest inside, none beside."""
    path = tmp_path / "foreign.tflite"
    path.write_bytes(stripped(TfliteModel((tiny_run.folder / "models" / "qat-int8.tflite").read_bytes())))
    return path


def test_a_file_without_a_manifest_is_timed_beside_ours_and_not_played(tiny_run: RunResult, foreign: Path) -> None:
    models = tiny_run.folder / "models"
    benchmark = bench_files([models / "float32.tflite", foreign, models / "qat-int8.tflite"]).to_json()
    rows = {row["name"]: row for row in benchmark["rows"]}
    assert [row["status"] for row in rows.values()] == ["ok"] * 3
    assert "no manifest" in rows["foreign"]["reason"]
    assert rows["foreign"]["step_latency_us"]["n"] == rows["qat-int8"]["step_latency_us"]["n"] == 40
    assert rows["foreign"]["nonzero_weights"] == rows["qat-int8"]["nonzero_weights"]
    for key in ("return", "gate", "action_agreement", "resident_bytes"):
        assert rows["foreign"][key] is None
    assert rows["qat-int8"]["return"]["episodes"] >= 300


@pytest.fixture(scope="module")
def leaning(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy that pushes CartPole to where its pole leans, better than chance: `float32` is ours, `plain` and `uint8` are
    what TFLiteConverter makes of the same network, without a manifest."""
    folder = tmp_path_factory.mktemp("leaning")
    spec = EnvironmentSpec(
        source=EnvironmentSource("CartPole-v1"),
        observation_shape=(4,),
        observation_dtype="float32",
        observation_low=(None,),
        observation_high=(None,),
        n_actions=2,
    )
    network = q_network((4,), 2, hidden=(8,), rng=np.random.default_rng(0))
    hidden, out = np.zeros((4, 8)), np.zeros((8, 2))
    hidden[2, :2] = [1, -1]
    out[0, 1] = out[1, 0] = 1
    network.set_weights([hidden, np.zeros(8), out, np.zeros(2)])
    policy = CompressedPolicy(
        network=network,
        conversion="float32",
        scaling=InputScaling.identity(),
        meaning="q_values",
        spec=spec,
        observations=np.empty(0),
        recipe="float32",
        reports=(),
        layers=describe(network),
    )
    (folder / "float32.tflite").write_bytes(to_tflite(policy))
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, size=(200, 1, 4)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        (folder / "plain.tflite").write_bytes(converter.convert())
        converter = tf.lite.TFLiteConverter.from_keras_model(network)
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([sample] for sample in samples)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.uint8
        (folder / "uint8.tflite").write_bytes(converter.convert())
    return folder


PLAYED = ("return", "return_delta", "gate", "action_agreement", "tie_rate", "reason", "status", "size_bytes")


def test_anybodys_conversion_stands_in_the_same_table_with_the_gate(leaning: Path) -> None:
    shutil.copy(leaning / "plain.tflite", leaning / "negated.tflite")
    files: list[Path | ForeignFile] = [
        *(leaning / f"{name}.tflite" for name in ("float32", "plain", "uint8")),
        ForeignFile(leaning / "negated.tflite", scale=(-1.0,)),
    ]
    benchmark = bench_files(files, env="CartPole-v1").to_json()
    rows = {row["name"]: row for row in benchmark["rows"]}
    assert (benchmark["baseline"], [row["status"] for row in rows.values()]) == ("float32", ["ok"] * 4)
    assert rows["plain"]["return_delta"] == {"mean": 0.0, "ci95": [0.0, 0.0]} and rows["plain"]["return"]["mean"] > 30
    assert (rows["plain"]["gate"], rows["plain"]["action_agreement"]) == ("pass", 1.0)
    assert rows["plain"]["reason"] == "No manifest: its float32 input takes the numbers of an observation as they are."
    assert rows["uint8"]["gate"] in ("pass", "fail", "undecided") and rows["uint8"]["action_agreement"] > 0.8
    assert "its uint8 input takes" in rows["uint8"]["reason"] and "lie outside" in rows["uint8"]["reason"]  # speeds beyond 0.3
    assert (rows["negated"]["gate"], rows["negated"]["action_agreement"]) == ("fail", 0.0)


def test_the_command_plays_them_as_a_script_does_and_the_baseline_may_be_one(
    leaning: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [leaning / "plain.tflite", leaning / "uint8.tflite"]
    found = bench_files([ForeignFile(path, (1.0, 1.0, 0.5, 1.0)) for path in files], env="CartPole-v1", seed=1).to_json()
    monkeypatch.setattr(commands, "LatencyConfig", lambda **_: SHORT)
    arguments = ["--env", "CartPole-v1", "--seed", "1", "--scale", "1,1,1/2,1", "--json"]
    assert main(["bench", *map(str, files), *arguments]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["baseline"] == found["baseline"] == "plain"
    assert [[row[key] for key in PLAYED] for row in told["rows"]] == [[row[key] for key in PLAYED] for row in found["rows"]]
    assert all(row["return"]["episodes"] >= 300 and "times 1, 1, 0.5, 1" in row["reason"] for row in told["rows"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plain", "--env", "CartPole-v1", "--scale", "1,2,3"], "expected 4 numbers, one per feature. Got 3."),
        (["plain", "--env", "Acrobot-v1"], "plain.tflite: Wrong input for Acrobot-v1: expected [1, 6]. Got [1, 4]."),
        (["plain", "--scale", "2"], "Expected --env beside --scale"),
        (["plain", "--env", "CartPole-v1", "--scale", "2", "--no-play"], "and no --no-play"),
        (["float32", "--env", "CartPole-v1", "--scale", "2"], "--scale is for files without a manifest: expected one"),
    ],
)
def test_what_does_not_fit_is_one_line(
    leaning: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert main(["bench", str(leaning / f"{arguments[0]}.tflite"), *arguments[1:]]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("edgedqn: ") and said in line


def test_a_scale_of_a_file_that_has_its_own_is_refused(leaning: Path) -> None:
    with pytest.raises(InputError, match=r"A scale is for a file without a manifest.* expected none for .*float32\.tflite"):
        bench_files([ForeignFile(leaning / "float32.tflite", (2.0,))], env="CartPole-v1")


def test_a_network_of_another_kind_is_named(tmp_path: Path) -> None:
    (tmp_path / "policy.onnx").touch()
    with pytest.raises(InputError, match=r"is an ONNX network: expected a \.tflite\. `edgedqn import .*onnx ENV_ID`"):
        bench_files([tmp_path / "policy.onnx"])


def test_among_files_without_manifests_nothing_is_played_unless_it_is_said_where(
    foreign: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    benchmark = bench_files([foreign]).to_json()
    assert (benchmark["baseline"], benchmark["rows"][0]["return"]) == ("foreign", None)
    assert "Not played: foreign has no manifest" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import time; time.sleep(60)", "within 1 seconds"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "ended its process with -11"),
        (f"import sys; sys.exit({module.OUT_OF_MEMORY})", "more memory than there is"),
    ],
)
def test_a_foreign_file_that_takes_its_process_down_fails_its_row_alone(
    tiny_run: RunResult, foreign: Path, monkeypatch: pytest.MonkeyPatch, code: str, said: str
) -> None:
    monkeypatch.setattr(module, "PROBE", code)
    monkeypatch.setattr(module, "PROBE_S", 1)
    rows = bench_files([tiny_run.folder / "models" / "float32.tflite", foreign], play=False).to_json()["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert said in rows[1]["reason"]


def test_a_damaged_file_of_ours_fails_its_row_and_the_baseline_everything(tiny_run: RunResult, tmp_path: Path) -> None:
    models = tiny_run.folder / "models"
    content = bytearray((models / "qat-int8.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "damaged.tflite").write_bytes(content)
    rows = bench_files([models / "float32.tflite", tmp_path / "damaged.tflite"], play=False).to_json()["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed"]
    assert "changed" in rows[1]["reason"]
    with pytest.raises(PolicyFileError, match="changed"):
        bench_files([tmp_path / "damaged.tflite", models / "qat-int8.tflite"], play=False)


def test_the_command_says_why_nothing_was_played_and_an_environment_may_print(
    foreign: Path, edgedqn: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    done = edgedqn("bench", str(foreign), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["baseline"] == "foreign"
    assert "Not played: foreign has no manifest" in done.stderr


def test_what_becomes_of_the_child_is_one_line(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHILD", "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(InputError, match="process ended with -11"):
        bench_files([foreign])
    monkeypatch.setattr(module, "CHILD", "import time; time.sleep(60)")
    monkeypatch.setattr(module, "CHILD_S", 1)
    with pytest.raises(InputError, match="within 1 seconds"):
        bench_files([foreign])


def test_what_the_child_refuses_is_refused(foreign: Path, tmp_path: Path) -> None:
    shutil.copy(foreign, tmp_path / "float32.tflite")
    with pytest.raises(InputError, match="A tolerance is of what is played"):
        bench_files([foreign], tolerance=0.1, play=False)
    (tmp_path / "other.tflite").write_bytes(foreign.read_bytes()[:200])
    rows = bench_files([foreign, tmp_path / "other.tflite"]).to_json()["rows"]
    assert [row["status"] for row in rows] == ["ok", "failed"]


def test_the_command_names_threads_and_kernels(foreign: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", str(foreign), "--no-xnnpack", "--threads", "2", "--json"]) == 0
    machine = json.loads(capsys.readouterr().out)["machine"]
    assert (machine["xnnpack"], machine["threads"]) == (False, 2)
