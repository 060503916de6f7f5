"""The main job: complete, repeatable, and done once."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.dqn import DQN
from edgedqn.agents.errors import DivergedError, EnvironmentWarning, InputError
from edgedqn.agents.files import load_arrays
from edgedqn.agents.playing.environments import register_factory
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.checkpoints import has_checkpoints
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.export.edge_policy import TfliteModel, read_verified
from edgedqn.export.tflite_file.reader import kernels
from edgedqn.pipeline import stages
from edgedqn.pipeline.config import Changes, ImportedAgent, resolved
from edgedqn.pipeline.job import Job, RunResult
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.stages import PlannedStage, dependents

NAMES = ["float32", "ptq-int8", "qat-int8", "prune-qat-int8"]


def test_the_run_folder_is_as_the_contract_has_it(tiny_run: RunResult) -> None:
    folder = tiny_run.folder
    for name in NAMES:
        manifest = read_verified(folder / "models" / f"{name}.tflite")
        assert manifest.device.recipe == name
        assert manifest.evidence["benchmark"]["name"] == name
    assert json.loads((folder / "benchmark.json").read_text()) == tiny_run.benchmark
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")
    assert (folder / "agent" / "training.csv").read_text().startswith("env_steps,episode_return,episode_length,")
    assert all(stage.status == "done" for stage in RunFolder.open(folder).description.stages)
    assert not list(folder.rglob(".*.*")), "a temporary file was left behind"


def test_a_result_is_printed_in_a_line(tiny_run: RunResult) -> None:
    assert tiny_run.shipped is not None
    said = f"RunResult(folder='{tiny_run.folder}', shipped='{tiny_run.shipped.name}', rows=['float32', "
    assert repr(tiny_run).startswith(said) and len(repr(tiny_run)) < 300


def test_rows_are_as_the_contract_has_them(tiny_run: RunResult) -> None:
    rows = tiny_run.benchmark["rows"]
    assert [row["name"] for row in rows] == NAMES
    for row in rows:
        assert set(row) == set(BenchmarkRow.keys().values()) - set(BenchmarkRow.LEFT_OUT) and row["status"] == "ok"
        content = (tiny_run.folder / row["file"]).read_bytes()
        assert row["size_bytes"] == len(content) and row["sha256"] == hashlib.sha256(content).hexdigest()
        assert row["return"]["episodes"] >= 300
    assert rows[0]["gate"] is None and all(row["gate"] in ("pass", "fail", "undecided") for row in rows[1:])


def test_pruned_kernels_are_sparse_in_the_file(tiny_run: RunResult) -> None:
    path = tiny_run.folder / "models" / "prune-qat-int8.tflite"
    found = kernels(TfliteModel(path.read_bytes()))
    (prune,) = [s for s in read_verified(path).evidence["recipe"]["stages"] if s["stage"] == "prune"]
    for kernel, asked in zip(found, prune["sparsity_asked"], strict=True):
        assert 1 - kernel.nonzero_weights / kernel.weights >= asked - 0.005
    assert sum(k.nonzero_weights for k in found) <= 0.205 * sum(k.weights for k in found)


def test_the_device_bundle_is_the_best_passing_file_or_absent(tiny_run: RunResult) -> None:
    device = tiny_run.folder / "device"
    passed = [row for row in tiny_run.benchmark["rows"] if row["gate"] == "pass"]
    if not passed:
        assert tiny_run.best is None and not device.exists()
        return
    assert tiny_run.best is not None and tiny_run.best["size_bytes"] == min(row["size_bytes"] for row in passed)
    scripts = {"edge_policy.py", "run_policy.py", "bench_on_device.py"}
    there = {entry.name for entry in device.iterdir()} - {"browser"}  # it is there if its runtime was fetched before
    assert there == {"policy.tflite", "policy.json", "README.md", *scripts, "board", "microcontroller"}
    assert hashlib.sha256((device / "policy.tflite").read_bytes()).hexdigest() == tiny_run.best["sha256"]


def test_what_is_done_is_not_done_again_and_force_does_it_again(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    job = Job.open(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    job.do(("train", "compress", "export", "bench", "report"))
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()} == before
    job.do(("report",), force=True)
    changed = {path.name for path, at in before.items() if path.stat().st_mtime_ns != at}
    assert changed == {"report.html", "report.md", "run.json"}


def test_recipes_stay_what_they_were_until_others_are_asked_for(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)

    def recipes(job: Job) -> list[str]:
        with job.locked():
            pass
        return list(json.loads((folder / "run.json").read_text())["config"]["recipes"])

    asked = Job.open(folder, Changes(recipes=resolved(["prune-qat-int8"])))
    assert recipes(asked) == [recipe.name for recipe in asked.settings.recipes] == ["prune-qat-int8"]
    assert not asked.folder.is_done("bench")
    later = Job.open(folder)
    assert recipes(later) == [recipe.name for recipe in later.settings.recipes] == ["prune-qat-int8"]


def test_a_recipe_of_ones_own_is_done_again_when_its_file_changes(tiny_run: RunResult, tmp_path: Path) -> None:
    folder, mine = tmp_path / "copy", tmp_path / "mine.toml"
    shutil.copytree(tiny_run.folder, folder)
    for value, done in ((0.02, False), (0.02, True), (0.03, False)):
        mine.write_text(f'conversion = "float32"\nstages = [{{ stage = "threshold", value = {value} }}]\n')
        job = Job.open(folder, Changes(recipes=resolved([str(mine)]), export={"strip": True, "manifest": "beside"}))
        with job.locked():
            assert job.folder.is_done("compress/mine") == job.folder.is_done("export/mine") == done
            assert job.folder.is_done("compress/qat-int8")
            job.do(("compress", "export"))
    stored = kernels(TfliteModel((folder / "models" / "mine.tflite").read_bytes()))
    assert all((np.abs(kernel.values[kernel.values != 0]) >= np.float32(0.03)).all() for kernel in stored)
    again = Job.open(folder)
    assert [recipe.to_json()["stages"] for recipe in again.settings.recipes] == [[{"stage": "threshold", "value": 0.03}]]


def test_another_way_to_write_files_writes_them_again_and_another_tolerance_searches_again(
    tiny_run: RunResult, tmp_path: Path
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    job = Job.open(folder, Changes(export={"strip": True}))
    with job.locked():
        assert [job.folder.is_done(name) for name in ("train", "compress/qat-int8", "export/qat-int8", "bench")] == [
            True, True, False, False,
        ]  # fmt: skip
    job = Job.open(folder, Changes(tolerance=0.1))
    with job.locked():
        # What asks the gate is searched for again, of the others the verdicts alone.
        assert [job.folder.is_done(name) for name in ("train", "compress/ptq-int8", "compress/qat-int8", "bench")] == [
            True, True, False, False,
        ]  # fmt: skip
        assert (job.settings.gate.tolerance, job.settings.export.strip) == (0.1, True)  # as it was asked for before
    with pytest.raises(InputError, match=r"Expected it in \(0, 1\)\. Got 2"):
        Job.open(folder, Changes(tolerance=2.0))


def test_for_another_board_a_search_is_done_again_and_nothing_else(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    for board in ("uno", "mega"):
        job = Job.open(folder, Changes(recipes=resolved(["qat-int8", "auto-int8"]), fit=find_budget(board, 100.0)))
        with job.locked():
            assert not any(job.folder.is_done(name) for name in ("compress/auto-int8", "bench", "report"))
            assert job.folder.is_done("compress/qat-int8") and job.folder.is_done("export/qat-int8")
            with job.folder.stage("compress/auto-int8"):
                pass
    later = Job.open(folder)
    with later.locked():
        assert later.settings.fit == find_budget("mega", 100.0) and later.folder.is_done("compress/auto-int8")


def test_what_another_process_finished_meanwhile_is_not_forgotten(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    description = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**description, "stages": []}))
    job = Job.open(folder)
    (folder / "run.json").write_text(json.dumps(description))
    with job.locked():
        assert job.folder.is_done("report")


def test_redoing_a_stage_undoes_what_was_built_on_it(tiny_run: RunResult, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(tiny_run.folder, folder)
    job = Job.open(folder)
    with quiet():
        job.do(("export",), force=True)
    undone = {name for name in job._plan() if not job.folder.is_done(name)}
    assert undone == {"bench", "report"}
    # The conversion is repeatable, so the files are the same bytes as before.
    for name in NAMES:
        file = f"models/{name}.tflite"
        assert (folder / file).read_bytes() == (tiny_run.folder / file).read_bytes()


def test_dependents_are_transitive() -> None:
    def stage(*needs: str) -> PlannedStage:
        return PlannedStage("x", needs, lambda: None)

    plan = {"a": stage(), "b": stage("a"), "c": stage("a"), "d": stage("b"), "e": stage("d", "c")}
    assert dependents(plan, "b") == {"d", "e"}
    assert dependents(plan, "a") == {"b", "c", "d", "e"}
    assert dependents(plan, "e") == set()


MAKE_FILES = """
import json, sys
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.pipeline.config import Changes, ImportedAgent, resolved
from edgedqn.pipeline.job import Job
def make_files(folder, training):
    training = TrainingConfig(**{**training, "hidden": tuple(training["hidden"])})
    asked = Changes(recipes=resolved(["qat-int8", "prune-qat-int8"]))
    job = Job.create("CartPole-v1", out=folder, training=training, changes=asked)
    with job.folder.locked():
        job.do(("train", "compress", "export"))
"""


def repeatable(folder: Path) -> dict[str, bytes]:
    """Every file whose bytes the seed decides, and of `training.csv` all but the last column, the seconds."""
    files = {path.name: path.read_bytes() for path in (*folder.glob("models/*.tflite"), *folder.glob("agent/*.npz"))}
    lines = (folder / "agent" / "training.csv").read_bytes().splitlines()
    return {**files, "training.csv": b"\n".join(line.rpartition(b",")[0] for line in lines)}


def test_the_same_seed_gives_the_same_bytes_in_one_process_and_across_two(
    tiny_run: RunResult, tiny_training: TrainingConfig, tmp_path: Path
) -> None:
    code = f"{MAKE_FILES}\nfor folder in sys.argv[2:]:\n    make_files(folder, json.loads(sys.argv[1]))"
    training = json.dumps(asdict(tiny_training))
    subprocess.run([sys.executable, "-c", code, training, tmp_path / "a", tmp_path / "b"], check=True, timeout=600)
    first = repeatable(tmp_path / "a")
    assert set(first) == {f"{name}.tflite" for name in NAMES} | {"weights.npz", "observations.npz", "training.csv"}
    assert first == repeatable(tmp_path / "b")  # twice within one process
    assert first == repeatable(tiny_run.folder)  # and in another


def test_another_seed_gives_another_agent(tiny_run: RunResult, tiny_training: TrainingConfig, tmp_path: Path) -> None:
    job = Job.create("CartPole-v1", out=tmp_path / "other", seed=1, training=tiny_training)
    job.do(("train",))
    ours, theirs = load_arrays(tiny_run.folder / "agent" / "weights.npz"), load_arrays(job.folder.agent / "weights.npz")
    assert not any(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True) if a.any())


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    for arguments in ({"source": "CartPol-v1"}, {"seed": -1}, {"changes": Changes(tolerance=2.0)}, {"settings": {"steps": 0}}):
        with pytest.raises(ValueError, match=r"Expected|Unknown"):
            Job.create(**{"source": "CartPole-v1", "out": tmp_path / "run", **arguments})  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_what_training_would_refuse_leaves_no_folder(tmp_path: Path) -> None:
    for settings, message in (
        ({"buffer_size": 10**12}, r"needs .* GB of memory"),
        ({"network": "minatar"}, "looks at images"),
        ({"network": "nowhere:at_all"}, "No network"),
        ({"hidden": (10**6, 10**6)}, "Expected smaller widths"),
        ({"keep_checkpoints": 10**9}, r"1000000000 checkpoints and one being written need .* GB"),
    ):
        with pytest.raises(InputError, match=message):
            Job.create("CartPole-v1", out=tmp_path / "run", settings=settings)
    assert not (tmp_path / "run").exists()


def test_a_training_killed_before_it_was_recorded_goes_on_from_its_last_checkpoint(
    tiny_run: RunResult, tiny_training: TrainingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job.create("CartPole-v1", out=tmp_path, seed=3, training=replace(tiny_training, checkpoint_interval=512))
    train = stages.train

    def killed_at_the_end(run: RunFolder, collection: None) -> None:
        train(run)
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "train", killed_at_the_end)
    with pytest.raises(KeyboardInterrupt), job.locked():
        job.do(("train",))
    assert has_checkpoints(job.folder.checkpoints) and not job.folder.is_done("train")
    monkeypatch.setattr(stages, "train", train)
    weights = load_arrays(tmp_path / "agent" / "weights.npz")
    (tmp_path / "agent" / "weights.npz").unlink()
    observed: list[int] = []
    monkeypatch.setattr(DQN, "observe", lambda *arguments, **_: observed.append(1))
    again = Job.create("CartPole-v1", out=tmp_path, seed=3, training=replace(tiny_training, checkpoint_interval=512))
    with again.locked():
        again.do(("train",))
    assert not observed  # all that was left was the choice of the checkpoint
    for ours, theirs in zip(load_arrays(tmp_path / "agent" / "weights.npz"), weights, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.folder.is_done("train") and not has_checkpoints(again.folder.checkpoints)


def test_the_advice_after_divergence_works(tiny_training: TrainingConfig, tmp_path: Path) -> None:
    # By then there is a checkpoint, which is something to lose.
    diverging = replace(tiny_training, learning_rate=10.0, max_gradient_norm=1e30, checkpoint_interval=512)
    job = Job.create("CartPole-v1", out=tmp_path, training=diverging)
    with (
        pytest.raises(DivergedError, match="other settings and another --out, or --force, which starts over"),
        job.locked(),
    ):
        job.do(("train",))
    assert has_checkpoints(job.folder.checkpoints)
    with pytest.raises(InputError, match="or --force to start over"):
        Job.create("CartPole-v1", out=tmp_path, training=tiny_training)
    job = Job.create("CartPole-v1", out=tmp_path, training=tiny_training, force=True)
    with job.locked():
        job.do(("train",), force=True)
    assert job.folder.is_done("train")


def test_arrays_of_more_axes_than_an_image_make_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "blocks.py").write_text(
        "import gymnasium, numpy as np\n"
        "class Blocks(gymnasium.Env):\n"
        "    observation_space = gymnasium.spaces.Box(0, 1, (2, 2, 2, 2), np.float32)\n"
        "    action_space = gymnasium.spaces.Discrete(2)\n"
        "    def reset(self, *, seed=None, options=None):\n"
        "        super().reset(seed=seed)\n"
        "        return self.np_random.random((2, 2, 2, 2)).astype(np.float32), {}\n"
        "    def step(self, action):\n"
        "        over = self.np_random.random() < 0.2\n"
        "        return self.np_random.random((2, 2, 2, 2)).astype(np.float32), float(action), over, False, {}\n"
        "gymnasium.register('Blocks-v0', entry_point=Blocks)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    settings = {"steps": 400, "learning_starts": 100, "hidden": (8,), "evaluation_episodes": 1, "finalists": 1}
    job = Job.create("blocks:Blocks-v0", out=tmp_path / "run", settings=settings)
    with job.locked():
        job.do(("train",))
    assert load_arrays(tmp_path / "run" / "agent" / "weights.npz")[0].shape == (16, 8)
    assert "--steps 400" in str(job.command())


@pytest.mark.parametrize("training", [None, ImportedAgent("a.keras", "0" * 64, "keras")], ids=["trained", "imported"])
def test_a_new_run_looks_at_its_environment_whatever_is_asked(tmp_path: Path, training: Any) -> None:
    class Unseeded(gymnasium.Wrapper[Any, Any, Any, Any]):
        def reset(self, **_: Any) -> Any:
            return self.env.reset()

    register_factory("Unseeded-v0", lambda **_: Unseeded(gymnasium.make("CartPole-v1")))
    source = EnvironmentSource("Unseeded-v0", action_mask=False)
    with pytest.warns(EnvironmentWarning, match="^Unseeded-v0 gives other observations when it is reset with the same seed"):
        Job.create(source, out=tmp_path / "run", training=training, settings=None if training else {"steps": 2_000})
