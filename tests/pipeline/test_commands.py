"""The command line as a user types it: real runs, and bad input refused in one line with nothing written."""

import json
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Protocol

import pytest

from edgedqn.benchmarks.rows import ROW_KEYS
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.export.devices.browser import bundle as browser
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.run import RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.seeds import SeedStreams


class CommandLine(Protocol):
    """The fixture `edgedqn`."""

    def __call__(self, *arguments: str | Path, timeout: float = 300) -> subprocess.CompletedProcess[str]: ...


ENVIRONMENTS = textwrap.dedent(
    '''
    """Environments of a user's own."""
    import gymnasium, numpy as np

    class Base(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        steps = 0
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.t, self.side = 0, self.np_random.integers(2)
            return self.see(), {}
        def step(self, action):
            type(self).steps += 1
            reward = float(action == self.side)
            self.t, self.side = self.t + 1, self.np_random.integers(2)
            return self.see(), reward, False, self.t >= 20, {}
        def see(self):
            return np.array([2 * self.side - 1, 0.5], np.float32)

    class BadObservation(Base):
        def see(self):
            return super().see() * (np.float32("nan") if self.steps >= 1500 else 1)

    class BadReward(Base):
        def step(self, action):
            s, r, *rest = super().step(action)
            return s, float("nan") if self.steps >= 1500 else r, *rest

    class Continuous(Base):
        action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    class MultiDiscrete(Base):
        action_space = gymnasium.spaces.MultiDiscrete([2, 2])

    class DictObservation(Base):
        observation_space = gymnasium.spaces.Dict(a=Base.observation_space)

    class TupleObservation(Base):
        observation_space = gymnasium.spaces.Tuple([Base.observation_space])

    for name in ("Base", "BadObservation", "BadReward", "Continuous", "MultiDiscrete", "DictObservation", "TupleObservation"):
        gymnasium.register(f"{name}-v0", globals()[name])
    '''
)


@pytest.fixture
def own(tmp_path: Path) -> str:
    (tmp_path / "own.py").write_text(ENVIRONMENTS)
    return "own"


def assert_refused(answer: subprocess.CompletedProcess[str], *said: str) -> None:
    """Exit code 2 and one line on stderr, nothing on stdout."""
    assert (answer.returncode, answer.stdout) == (2, ""), answer.stderr
    assert answer.stderr.count("\n") == 1 and answer.stderr.startswith("edgedqn: "), answer.stderr
    for words in said:
        assert words in answer.stderr


def test_unknown_environment_names_the_nearest(edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPol-v1"), "Unknown environment 'CartPol-v1'", "Nearest: CartPole-v1")
    assert_refused(edgedqn("run", "no_such_module:Thing-v0"), "no_such_module", "Expected module:Id")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Continuous", "expected Discrete(n). Got Box"),
        ("MultiDiscrete", "expected Discrete(n). Got MultiDiscrete"),
        ("DictObservation", "expected a Box or Discrete. Got Dict"),
        ("TupleObservation", "expected a Box or Discrete. Got Tuple"),
    ],
)
def test_spaces_that_cannot_be_learned_are_refused(
    name: str, said: str, edgedqn: CommandLine, own: str, tmp_path: Path
) -> None:
    assert_refused(edgedqn("run", f"{own}:{name}-v0"), said)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("name", ["BadObservation", "BadReward"])
def test_a_nan_stops_the_training_with_the_step_and_keeps_the_best_checkpoint(
    name: str, edgedqn: CommandLine, own: str, tmp_path: Path
) -> None:
    # Training and checkpoint evaluation share the count that turns the environment bad.
    short = ("--steps=5000", "--hidden=8", "--learning-starts=100", "--evaluation-interval=400", "--evaluation-episodes=2")
    answer = edgedqn("train", f"{own}:{name}-v0", "--out", "run", *short)
    assert answer.returncode == 2
    what = "observation" if name == "BadObservation" else "reward"
    assert re.match(rf"edgedqn: .*{name}-v0.* gave a bad {what} at step \d+: expected", answer.stderr.splitlines()[-1])
    assert RunFolder.open(tmp_path / "run").description["stages"] == [
        {"name": "train", "status": "failed", "seconds": pytest.approx(0, abs=300)}
    ]
    # What was kept is what was scored: the same episodes give the same return.
    kept = json.loads((tmp_path / "run" / "agent" / "checkpoints" / "best" / "agent.json").read_text())["statistics"]
    first = str(SeedStreams(0).first_reset_seed("select"))
    played = edgedqn("evaluate", "run", "--episodes", "2", "--seed", first, "--json")
    assert "best checkpoint so far" in played.stderr
    assert json.loads(played.stdout)["mean"] == kept["mean_return"]
    assert not (tmp_path / "run" / "agent" / "agent.json").exists()


def test_unknown_recipe_gives_the_choices(edgedqn: CommandLine, tmp_path: Path) -> None:
    assert_refused(edgedqn("run", "CartPole-v1", "--recipes", "int4"), "Unknown recipe 'int4'", "qat-int8, prune-int8")
    assert not (tmp_path / "runs").exists()


def test_another_run_in_the_folder_is_refused_and_left_alone(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")}
    assert_refused(edgedqn("run", "CartPole-v1", "--seed", "5", "--out", tiny_run.folder), "holds another run", "seed=5")
    assert_refused(edgedqn("run", "Acrobot-v1", "--out", tiny_run.folder), "holds another run", "env_id=Acrobot-v1")
    assert {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*")} == before


def test_a_folder_that_cannot_be_written_is_refused(edgedqn: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert_refused(edgedqn("run", "CartPole-v1", "--out", tmp_path / "file" / "run"), "Cannot make a run")


def test_a_folder_in_use_is_refused(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    with RunFolder.open(tmp_path / "run").locked():
        assert_refused(edgedqn("report", tmp_path / "run", "--force"), "in use by a running process")


def test_damaged_policy_files_are_refused(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
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


def test_a_manifest_of_a_newer_schema_is_refused(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    for suffix in (".tflite", ".json"):
        shutil.copy(tiny_run.folder / "models" / f"qat-int8{suffix}", tmp_path)
    sidecar = json.loads((tmp_path / "qat-int8.json").read_text())
    (tmp_path / "qat-int8.json").write_text(json.dumps({**sidecar, "schema": 2}))
    assert_refused(edgedqn("evaluate", tmp_path / "qat-int8.tflite"), "schema", "2")


def test_resuming_what_was_never_begun_is_said(edgedqn: CommandLine, tmp_path: Path) -> None:
    answer = edgedqn(
        "train", "FrozenLake-v1", "--steps", "500", "--evaluation-episodes", "1", "--resume", "--out", tmp_path / "run"
    )
    assert answer.returncode == 0
    assert f"Nothing to resume in {tmp_path / 'run'}: training starts at step 0." in answer.stderr


def test_a_stage_whose_input_is_missing_is_refused(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    assert_refused(edgedqn("compress", tmp_path / "nothing"), "cannot be read")
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    description = json.loads((tmp_path / "run" / "run.json").read_text())
    description["stages"] = []
    (tmp_path / "run" / "run.json").write_text(json.dumps(description))
    assert_refused(edgedqn("export", tmp_path / "run"), "expected 'compress/float32' to be done", "edgedqn compress")


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


def test_evaluate_takes_a_run_and_an_agent_folder(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    returns = [
        json.loads(edgedqn("evaluate", path, "--episodes", "5", "--seed", "9", "--json").stdout)["returns"]
        for path in (tiny_run.folder, tiny_run.folder / "agent", tiny_run.folder / "models" / "float32.tflite")
    ]
    assert returns[0] == returns[1] == returns[2]


def test_bench_of_a_finished_run_prints_its_benchmark(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    answer = edgedqn("bench", tiny_run.folder, "--json")
    assert answer.returncode == (0 if tiny_run.best else 3) and answer.stderr == ""
    assert json.loads(answer.stdout) == tiny_run.benchmark


def test_bench_of_files_compares_them(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    models = tiny_run.folder / "models"
    answer = edgedqn("bench", models / "float32.tflite", models / "qat-int8.tflite", "--no-play", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    benchmark = json.loads(answer.stdout)
    assert [row["name"] for row in benchmark["rows"]] == ["float32", "qat-int8"]
    assert all(set(row) == set(ROW_KEYS) and row["return"] is None and row["speedup"] for row in benchmark["rows"])


def test_what_became_worse_since_an_earlier_benchmark_is_named_and_may_fail(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, earlier = str(tiny_run.folder), tmp_path / "earlier.json"
    ends = 0 if tiny_run.best else 3
    earlier.write_text(json.dumps(tiny_run.benchmark))
    assert main(["bench", run, "--against", str(earlier), "--fail-on-regression"]) == ends
    assert "beyond noise" in capsys.readouterr().out
    better = json.loads(json.dumps(tiny_run.benchmark))
    better["rows"][2]["size_bytes"] -= 1
    earlier.write_text(json.dumps(better))
    assert main(["bench", run, "--against", str(earlier)]) == ends
    assert "worse    qat-int8, size: " in capsys.readouterr().out
    assert main(["bench", run, "--against", str(earlier), "--fail-on-regression", "--json"]) == 3
    (found,) = json.loads(capsys.readouterr().out)["against"]["regressions"]
    assert (found["name"], found["what"]) == ("qat-int8", "size")
    for arguments in (["--fail-on-regression"], ["--against", str(tmp_path / "absent.json")]):
        assert main(["bench", run, *arguments]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_what_a_board_measured_is_shown_beside_the_hosts_rows(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    bundle = [sys.executable, "bench_on_device.py", tmp_path / "board.json", "--calls", "20"]
    subprocess.run(bundle, cwd=folder / "device", capture_output=True, check=True)
    assert main(["bench", str(folder), "--merge", str(tmp_path / "board.json")]) == 0
    assert "\nOn " in capsys.readouterr().out and "<h2>On " in (folder / "report.html").read_text()
    benchmark = json.loads((folder / "benchmark.json").read_text())
    assert benchmark["rows"] == tiny_run.benchmark["rows"]
    ((policy, twin),) = (device["rows"] for device in benchmark["devices"])
    best = tiny_run.best or pytest.fail("the tiny run has a best file")
    assert policy["sha256"] == best["sha256"] and policy["name"] == twin["name"] == best["name"]
    model = str(folder / best["file"])
    assert main(["bench", model, "--no-play", "--merge", str(tmp_path / "board.json"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == benchmark["devices"]
    before = (folder / "benchmark.json").read_bytes()
    (tmp_path / "board.json").write_text("{")
    assert main(["bench", str(folder), "--merge", str(tmp_path / "board.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and (folder / "benchmark.json").read_bytes() == before


def test_compress_says_how_often_the_gate_was_asked(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    *_, judged = CompressedPolicy.load(RunFolder.open(folder).compressed("qat-int8")).reports
    assert judged.stage == "quantize_judged"
    assert main(["compress", str(folder)]) == 0  # all is done: it only tells
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.lstrip().startswith("quantize_judged")]
    assert f"{len(judged.findings.attempts)} tried" in line and ("none passed" in line) == (not judged.findings.passed)


def test_a_whole_run_of_an_own_environment_in_one_command(edgedqn: CommandLine, own: str, tmp_path: Path) -> None:
    answer = edgedqn("run", f"{own}:Base-v0", "--steps", "1500", "--recipes", "qat-int8", "--out", "run")
    assert answer.returncode == 0, answer.stderr
    assert answer.stderr == ""  # no chatter, and no progress bar where there is no terminal
    for name in ("float32", "ptq-int8", "qat-int8"):
        assert f"\n{name} " in answer.stdout
    assert "Deploy: run/device" in answer.stdout
    scripts = {"edge_policy.py", "run_policy.py", "bench_on_device.py"}
    bundle = {path.name for path in (tmp_path / "run" / "device").iterdir()}
    assert bundle == {"policy.tflite", "policy.json", "README.md", *scripts, "board", "microcontroller"}
    assert "Not in it: browser. `edgedqn bundle run` adds what it can" in answer.stdout
    again = edgedqn("run", f"{own}:Base-v0", "--steps", "1500", "--recipes", "qat-int8", "--out", "run", "--json")
    assert again.returncode == 0 and json.loads(again.stdout)["best"] in ("ptq-int8", "qat-int8")


def test_a_bundle_is_completed_when_somebody_asks_for_it(
    tiny_run: RunResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = []
    monkeypatch.setattr(browser, "runtime_files", lambda fetch: asked.append(fetch) or {"litert.js": b""})
    monkeypatch.chdir(tmp_path)
    best = tiny_run.best or pytest.fail("the tiny run has a best file")
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "device")
    assert main(["bundle", "run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bundle"] == "run/device" and [part["there"] for part in told["parts"]] == [True, True, True]
    proven = (tmp_path / "run" / best["file"]).read_bytes()
    assert (tmp_path / "run" / "device" / "policy.tflite").read_bytes() == proven
    assert main(["bundle", f"run/{best['file']}"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == "Bundle: device" and [line.split()[0] for line in lines] == ["Linux", "microcontroller", "browser"]
    assert (tmp_path / "device" / "browser" / "index.html").exists() and asked == [True, True]


def test_a_run_has_its_own_place_for_a_bundle_and_nothing_to_ship_unless_it_passed(
    tiny_run: RunResult, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bundle", str(tiny_run.folder), "--out", str(tmp_path / "x")]) == 2
    assert "expected no --out, or a .tflite" in capsys.readouterr().err
    folder = tmp_path / "run"
    shutil.copytree(tiny_run.folder, folder)
    benchmark = json.loads((folder / "benchmark.json").read_text())
    for row in benchmark["rows"]:
        row["gate"] = row["gate"] and "fail"
    (folder / "benchmark.json").write_text(json.dumps(benchmark))
    before = sorted(folder.rglob("*"))
    assert main(["bundle", str(folder)]) == 2
    told = capsys.readouterr().err
    assert "nothing to ship" in told and told.count("\n") == 1
    assert sorted(folder.rglob("*")) == before


def test_nothing_that_passes_exits_with_3_and_makes_no_bundle(edgedqn: CommandLine, tmp_path: Path) -> None:
    # A policy that hardly learned is no better than a random one, so there is no margin to lose.
    hardly = ["--steps", "256", "--learning-starts", "255", "--gradient-steps", "1"]
    answer = edgedqn("run", "CartPole-v1", *hardly, "--recipes", "ptq-int8", "--out", "run")
    assert answer.returncode == 3, answer.stderr
    assert "No requested recipe, controls aside, passed its gate" in answer.stdout
    assert not (tmp_path / "run" / "device").exists()
    assert (tmp_path / "run" / "models" / "ptq-int8.tflite").exists()


def test_interrupted_and_called_again_it_goes_on(tmp_path: Path) -> None:
    # A shell starts background jobs with SIGINT ignored, and they pass that on; this one is to hear it.
    hear = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{hear}; from edgedqn.pipeline.cli import console; console()"]
    command += ["train", "CartPole-v1", "--steps", "4000", "--out", "run"]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True) as running:
        deadline = time.monotonic() + 120
        while not (tmp_path / "run" / "run.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == 130
    assert (
        stderr.startswith("Interrupted. What was finished is kept, and a training's last checkpoint;")
        and stderr.count("\n") == 1
    )
    assert RunFolder.open(tmp_path / "run").description["stages"][0]["status"] == "failed"
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=True)
    assert finished.stdout == "train done: run\n"
    assert not list((tmp_path / "run").rglob(".*.npz*"))


def test_doctor_tries_what_it_names(edgedqn: CommandLine) -> None:
    answer = edgedqn("doctor", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    findings = json.loads(answer.stdout)
    assert findings["checks"] == {"play": "works", "train and export": "works"}
    assert "tensorflow" in findings["versions"]


def test_lists_the_recipes_with_a_line_each(edgedqn: CommandLine) -> None:
    answer = edgedqn("compress", "--list")
    assert (answer.returncode, answer.stderr) == (0, "")
    lines = answer.stdout.splitlines()
    assert [line.split()[0] for line in lines[:2]] == ["ptq-int8", "dynamic"]
    assert all(len(line.split()) > 3 for line in lines)
    told = json.loads(edgedqn("compress", "--list", "--json").stdout)
    assert [recipe["name"] for recipe in told["recipes"]] == [line.split()[0] for line in lines]
    assert_refused(edgedqn("compress"), "Expected a run folder, or --list")


def test_writes_bare_files_by_a_recipe_of_ones_own(edgedqn: CommandLine, tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    (tmp_path / "mine.toml").write_text('conversion = "float16"\nstages = ["threshold"]\n')
    for command in (
        ["compress", folder, "--recipes", "mine.toml"],
        ["export", folder, "--strip", "--manifest", "beside"],
    ):
        answer = edgedqn(*command)
        assert (answer.returncode, answer.stderr) == (0, "")
        if command[0] == "compress":
            assert re.search(r"mine\n  threshold +\d+\.\d s  return \d+.*, agreement \d+\.\d%, zeros \d+%, ", answer.stdout)
    (report,) = json.loads(edgedqn("compress", folder, "--json").stdout)["reports"]["mine"]
    assert report["stage"] == "threshold" and len(report["sparsity_reached"]) == 3
    content = (folder / "models" / "mine.tflite").read_bytes()
    assert b"observation" not in content and b"EDGEDQN1" not in content
    assert (folder / "models" / "mine.json").exists()
    assert_refused(edgedqn("compress", folder, "--recipes", "nowhere.toml"), "nowhere.toml is no recipe")


def test_a_tolerance_that_is_none_is_refused_everywhere(edgedqn: CommandLine, tiny_run: RunResult) -> None:
    before = (tiny_run.folder / "run.json").read_bytes()
    file = tiny_run.folder / "models" / "float32.tflite"
    for command in (["run", "CartPole-v1", "--out", tiny_run.folder], ["bench", tiny_run.folder], ["bench", file]):
        assert_refused(edgedqn(*command, "--tolerance", "5"), "Expected it in (0, 1). Got 5")
    assert_refused(edgedqn("bench", file, "--no-play", "--tolerance", "0.1"), "Expected no --no-play beside it")
    assert (tiny_run.folder / "run.json").read_bytes() == before
