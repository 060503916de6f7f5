"""The run folder: one run, one writer, and stages that are done or not."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.pipeline import run_folder
from edgedqn.pipeline.run_folder import RunFolder, versions

CONFIG = {"training": {"steps": 10, "hidden": [8]}, "recipes": ["qat-int8"]}


def create(path: Path, env_id: str = "CartPole-v1", seed: int = 0, **changes: object) -> RunFolder:
    return RunFolder.create(path, EnvironmentSource(env_id), seed=seed, config=json.loads(json.dumps({**CONFIG, **changes})))


def test_a_stage_is_done_only_once_it_ended_well(tmp_path: Path) -> None:
    run = create(tmp_path / "new" / "run")
    with run.stage("train"):
        assert RunFolder.open(run.path).description.stages[0].status == "running"
        assert not run.is_done("train")
    assert RunFolder.open(run.path).is_done("train")
    with pytest.raises(KeyboardInterrupt), run.stage("bench"):
        raise KeyboardInterrupt
    again = RunFolder.open(run.path)
    assert [(stage.name, stage.status) for stage in again.description.stages] == [("train", "done"), ("bench", "failed")]
    assert not again.is_done("bench")
    again.forget({"train"})
    assert not again.is_done("train")


def test_run_json_is_as_the_contract_has_it(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.stage("train"):
        pass
    description = json.loads((tmp_path / "run.json").read_text())
    assert set(description) == {"schema", "env_id", "seed", "config", "versions", "stages"}
    assert set(description["stages"][0]) - {"peak_memory_mb"} == {"name", "status", "seconds"}  # where it can be measured
    assert description["versions"] == versions() and "numpy" in description["versions"]


@pytest.mark.parametrize("told", [True, False])
def test_a_stage_has_its_own_most_memory_where_that_can_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bool
) -> None:
    peak = 900  # of an earlier stage

    def forget() -> bool:
        nonlocal peak
        peak = 0 if told else peak
        return told

    monkeypatch.setattr(run_folder, "forget_peak_memory", forget)
    monkeypatch.setattr(run_folder, "peak_memory_mb", lambda: peak)
    run = create(tmp_path)
    with run.stage("train"):
        peak = max(peak, 300)
    (stage,) = RunFolder.open(tmp_path).description.stages
    assert stage.peak_memory_mb == (300 if told else None)


def test_the_same_run_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.stage("train"):
        pass
    assert create(tmp_path).is_done("train")
    assert create(tmp_path, recipes=["prune-qat-int8"]).is_done("train")  # other recipes for the same agent
    for other in ({"env_id": "Acrobot-v1"}, {"seed": 1}, {"training": {"steps": 11, "hidden": [8]}}):
        with pytest.raises(InputError, match="holds another run: expected"):
            create(tmp_path, **other)


def test_other_recipes_undo_what_is_measured_and_nothing_else(tmp_path: Path) -> None:
    run = create(tmp_path)
    for name in ("train", "bench", "report"):
        with run.stage(name):
            pass
    here = {**run.description.config, "export": {}, "gate": {"tolerance": 0.02}}
    run.change(here, {**here, "recipes": ["prune-qat-int8"]}, ungated={"prune-qat-int8"})
    assert [run.is_done(name) for name in ("train", "bench", "report")] == [True, False, False]


def test_what_a_change_undoes_is_what_depends_on_it(tmp_path: Path) -> None:
    here = {"recipes": ["qat-int8", "auto-int8"], "export": {"strip": False}, "gate": {"tolerance": 0.02}}
    stages = [f"{kind}/{name}" for name in ("qat-int8", "auto-int8", "earlier") for kind in ("compress", "export")]
    earlier = {"compress/earlier", "export/earlier"}
    for changed, outdated, undone in (
        ({}, set(), set()),
        # Of what is not asked for now nobody knows whether it asked the gate.
        ({"gate": {"tolerance": 0.1}}, set(), {"compress/auto-int8", "export/auto-int8", *earlier}),
        ({"export": {"strip": True}}, set(), {"export/qat-int8", "export/auto-int8", "export/earlier"}),
        ({"recipes": ["qat-int8", {"name": "mine"}]}, set(), set()),
        ({}, {"qat-int8"}, {"compress/qat-int8", "export/qat-int8"}),
    ):
        run = create(tmp_path / "-".join([*changed, *outdated, "change"]))
        for name in ("train", *stages, "bench", "report"):
            with run.stage(name):
                pass
        run.change(here, {**here, **changed}, ungated={"qat-int8"}, outdated=outdated)
        left = {name for name in ("train", *stages) if run.is_done(name)}
        assert left == {"train", *stages} - undone
        assert run.is_done("bench") == (not changed and not outdated)


def test_a_folder_with_something_else_in_it_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose this")
    with pytest.raises(InputError, match=r"no run folder: expected an empty one\. Got thesis\.txt"):
        create(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot make a run"):
        create(tmp_path / "file" / "run")


@pytest.mark.parametrize("content", ["", "{", '{"schema": 1}', '{"schema": 2}', "[]"])
def test_a_damaged_or_newer_run_json_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="expected"):
        RunFolder.open(tmp_path)


def test_two_processes_cannot_write_at_once_and_the_lock_dies_with_its_holder(tmp_path: Path) -> None:
    run = create(tmp_path)
    code = (
        "import sys, time; from pathlib import Path; from edgedqn.pipeline.run_folder import EnvironmentSource, RunFolder\n"
        "run = RunFolder.create(Path(sys.argv[1]), EnvironmentSource('CartPole-v1'), seed=0, config={})\n"
        "with run.locked():\n    print('locked', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "locked\n"
        with pytest.raises(InputError, match="in use by a running process"), run.locked():
            pass
        holder.kill()
    with run.locked():
        pass


OTHER = {"training": {"steps": 11, "hidden": [8]}}


def test_what_a_killed_process_was_writing_is_removed_once_nobody_writes(tmp_path: Path) -> None:
    left = tmp_path / "run" / ".run.json.abcdefgh.part"
    left.parent.mkdir()
    left.write_text("{")
    run = RunFolder.create(tmp_path / "run", EnvironmentSource("CartPole-v1"), seed=0, config={})
    assert left.exists()  # another process may be writing it
    with run.locked():
        assert not left.exists()


def test_where_nothing_was_done_yet_other_settings_take_the_place_of_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create(tmp_path).stage("train"):
        raise KeyboardInterrupt
    run = create(tmp_path, **OTHER)  # type: ignore[arg-type]
    assert run.description.config["training"] == OTHER["training"]
    assert RunFolder.open(tmp_path).description == run.description and run.description.stages == ()
    run.checkpoints.mkdir(parents=True)
    (run.checkpoints / "step-000000000005.npz").touch()
    with pytest.raises(InputError, match=r"holds another run: expected training\..* Choose another --out, or --force"):
        create(tmp_path)


def test_by_force_a_run_takes_other_settings_but_no_other_environment(tmp_path: Path) -> None:
    run = create(tmp_path)
    with run.stage("train"):
        pass
    config = {**run.description.config, **OTHER}
    for env_id, seed in (("Acrobot-v1", 0), ("CartPole-v1", 1)):
        with pytest.raises(InputError, match=r"holds another run: .* Choose another --out\.$"):
            RunFolder.create(tmp_path, EnvironmentSource(env_id), seed=seed, config=config, force=True)
    assert RunFolder.open(tmp_path).is_done("train")
    forced = RunFolder.create(tmp_path, EnvironmentSource("CartPole-v1"), seed=0, config=config, force=True)
    assert forced.description.config["training"] == OTHER["training"] and not forced.is_done("train")


def test_how_many_checkpoints_are_kept_may_change_in_the_midst_of_a_run(tmp_path: Path) -> None:
    training = {"steps": 10, "hidden": [8]}
    run = create(tmp_path, training={**training, "keep_checkpoints": 2})
    with run.stage("train"):
        pass
    again = create(tmp_path, training={**training, "keep_checkpoints": 1})
    assert again.is_done("train")
    assert RunFolder.open(tmp_path).description.config["training"] == {**training, "keep_checkpoints": 1}


def test_settings_that_are_new_since_a_run_was_made_have_their_defaults_there(tmp_path: Path) -> None:
    with create(tmp_path).stage("train"):
        pass
    config: dict[str, Any] = dict(RunFolder.open(tmp_path).description.config)
    newer = {**config, "training": {**config["training"], "dueling": False}}

    def updated(value: Mapping[str, Any]) -> dict[str, Any]:
        return {**value, "training": {"dueling": False, **value["training"]}}

    assert RunFolder.create(tmp_path, EnvironmentSource("CartPole-v1"), seed=0, config=newer, updated=updated).is_done("train")
    with pytest.raises(InputError, match=r"expected training\.dueling=True\. Got training\.dueling=False"):
        other = {**config, "training": {**config["training"], "dueling": True}}
        RunFolder.create(tmp_path, EnvironmentSource("CartPole-v1"), seed=0, config=other, updated=updated)


def test_the_best_network_so_far_is_something_to_lose(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), create(tmp_path).stage("train"):
        raise KeyboardInterrupt
    best = RunFolder.open(tmp_path).best_checkpoint
    best.mkdir(parents=True)
    (best / "agent.json").touch()
    with pytest.raises(InputError, match="holds another run"):
        create(tmp_path, **OTHER)  # type: ignore[arg-type]
    config = {**RunFolder.open(tmp_path).description.config, **OTHER}
    RunFolder.create(tmp_path, EnvironmentSource("CartPole-v1"), seed=0, config=config, force=True)
    assert not best.exists()  # and nothing of the old settings is taken for the new ones'
