"""An agent from elsewhere takes the place of a training, and every other stage goes on from it."""

import hashlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.teaching.teachers import Teacher
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.native_output import quiet
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.commands.import_agent import import_model
from edgedqn.pipeline.config import ImportedAgent, RunSettings
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.scripting import run
from edgedqn.pipeline.seeds import SeedStreams

layers = tf_keras.layers


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Keras model that balances CartPole: it pushes to the side where the pole falls."""
    network = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(8, "relu"), layers.Dense(2)])
    lean = np.array([0.1, 0.3, 1.0, 0.8], np.float32)
    kernel = np.zeros((4, 8), np.float32)
    kernel[:, 0], kernel[:, 1] = lean, -lean
    values = np.zeros((8, 2), np.float32)
    values[0], values[1] = (-1, 1), (1, -1)
    network.set_weights([kernel, np.zeros(8), values, np.zeros(2)])
    path = tmp_path_factory.mktemp("models") / "it is mine.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def imported(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Read only."""
    with quiet():
        return import_model(model, "CartPole-v1", out=tmp_path_factory.mktemp("runs") / "imported", seed=3).folder.path


def test_a_run_folder_is_made_whose_training_is_done(imported: Path, model: Path) -> None:
    folder = RunFolder.open(imported)
    assert folder.is_done("train") and [stage.name for stage in folder.description.stages] == ["train"]
    assert (folder.description.env_id, folder.description.seed) == ("CartPole-v1", 3)
    origin = {"source": model.name, "source_sha256": hashlib.sha256(model.read_bytes()).hexdigest(), "kind": "keras"}
    assert folder.description.config["training"] == {"algorithm": "imported", **origin, "options": []}
    agent = TrainedAgent.load(folder.agent)
    assert {name: agent.statistics[name] for name in origin} == origin and agent.statistics["score"]["mean"] > 450
    assert agent.observations.shape == (10_000, 4)
    # Of the seeds that are for calibration; what proves a policy was not seen.
    env = gymnasium.make("CartPole-v1")
    first, _ = env.reset(seed=SeedStreams(3).first_reset_seed("calibrate"))
    env.close()
    np.testing.assert_array_equal(agent.observations[0], first)


def test_it_is_the_same_again(imported: Path, model: Path, tmp_path: Path) -> None:
    again = import_model(model, "CartPole-v1", out=tmp_path / "again", seed=3).folder.path
    for name in ("agent/agent.json", "agent/weights.npz", "agent/observations.npz"):
        assert (again / name).read_bytes() == (imported / name).read_bytes()
    before = (imported / "run.json").stat().st_mtime_ns, (imported / "agent/agent.json").stat().st_mtime_ns
    assert import_model(model, "CartPole-v1", out=imported, seed=3).folder.path == imported
    assert ((imported / "run.json").stat().st_mtime_ns, (imported / "agent/agent.json").stat().st_mtime_ns) == before


def test_a_configuration_with_an_import_round_trips_through_json() -> None:
    config = RunSettings(training=ImportedAgent("mine.keras", "0" * 64, "keras"))
    assert RunSettings.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_run_goes_on_with_the_agent_that_is_there(imported: Path) -> None:
    job = Job.create("CartPole-v1", out=imported, seed=3)
    assert isinstance(job.settings.training, ImportedAgent)
    job.do(("train",))  # is done
    assert job.command() == (
        "edgedqn import 'it is mine.keras' CartPole-v1 --seed 3\n"
        "edgedqn run CartPole-v1 --seed 3 --recipes qat-int8 prune-qat-int8 auto-int8"
    )


def test_it_cannot_be_trained(imported: Path) -> None:
    before = {path: path.read_bytes() for path in imported.rglob("*") if path.is_file()}
    for kinds in (("train",), ("train", "compress")):
        with pytest.raises(InputError, match=r"imported from it is mine\.keras, which cannot be trained again\."):
            Job.open(imported).do(kinds, force=True)
    for settings, algorithm in (({"steps": 5_000}, None), ({}, "dqn")):
        with pytest.raises(InputError, match=r"from it is mine\.keras: expected nothing to train\. Got (steps|algorithm)"):
            Job.create("CartPole-v1", out=imported, seed=3, settings=settings, algorithm=algorithm)
    with pytest.raises(InputError, match=r"holds another run: expected training\..*Choose another --out"):
        Job.create("CartPole-v1", out=imported, seed=3, training=TrainingConfig())
    assert {path: path.read_bytes() for path in imported.rglob("*") if path.is_file()} == before


def test_nor_does_another_agent_take_its_place(imported: Path, tmp_path: Path) -> None:
    other = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(2)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(InputError, match=r"holds another run: expected training\.source=other\.keras\. Got .*mine\.keras"):
        import_model(tmp_path / "other.keras", "CartPole-v1", out=imported, seed=3)
    with pytest.raises(InputError, match=r"holds another run: expected seed=4\. Got seed=3"):
        Job.create("CartPole-v1", out=imported, seed=4)


def test_nothing_is_written_where_the_model_cannot_be_used(model: Path, tmp_path: Path) -> None:
    for path, env_id, reason in (
        (model, "Acrobot-v1", r"does not fit Acrobot-v1: expected Q-values of 3 actions\. Got an output of \(2,\)"),
        (model, "CartPole-v9", "Unknown environment"),
        (tmp_path / "nothing.keras", "CartPole-v1", "expected a file"),
    ):
        with pytest.raises(InputError, match=reason):
            import_model(path, env_id, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="Expected a seed of 0 or more"):
        import_model(model, "CartPole-v1", out=tmp_path / "run", seed=-1)


def test_the_command_says_where_it_is(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["import", str(model), "CartPole-v1", "--out", "mine"]) == 0
    said = capsys.readouterr()
    network, score, done = said.out.splitlines()
    assert (network, done) == ("Network: Dense 8 relu, Dense 2; 58 weights", "import done: mine")
    assert re.search(
        r"^Compared: on 128 observations Q-values up to [\d.e+]+ differ in NumPy by at most [\d.e-]+\.$", said.err, re.M
    )
    assert re.fullmatch(r"Return: \d+(\.\d)? \[.*\], 100 episodes", score)
    assert main(["import", str(model), "CartPole-v1", "--out", "mine", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["score"]["mean"] > 450
    assert (told["layers"], told["folded"], told["left_out"]) == (["Dense 8 relu", "Dense 2"], [], [])
    assert (told["schema"], told["run"], told["source"], told["kind"]) == (1, "mine", "it is mine.keras", "keras")
    assert [stage["status"] for stage in told["stages"]] == ["done"]
    assert main(["evaluate", "mine", "--episodes", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["mean"] > 100
    assert main(["train", "CartPole-v1", "--out", "mine"]) == 0
    capsys.readouterr()
    assert main(["train", "CartPole-v1", "--out", "mine", "--force"]) == 2
    assert capsys.readouterr().err == (
        "edgedqn: mine holds an agent imported from it is mine.keras, which cannot be trained again. "
        "Expected another stage, or `edgedqn import`.\n"
    )


def test_a_trap_in_a_model_is_refused_by_the_command(tmp_path: Path) -> None:
    """In a process of its own, as a user would run it."""
    mark = tmp_path / "ran"
    trap = layers.Lambda(lambda x, mark=str(mark): (__import__("pathlib").Path(mark).touch(), x)[1], name="odd")
    tf_keras.Sequential([tf_keras.Input((4,)), trap, layers.Dense(2)]).save(tmp_path / "trap.keras")
    mark.unlink()
    code = "from edgedqn.pipeline.cli import console; console()"
    command = [sys.executable, "-P", "-c", code, "import", "trap.keras", "CartPole-v1"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.startswith("edgedqn: trap.keras cannot be imported: layer 'odd' is a Lambda, which is code")
    assert answer.stderr.count("\n") == 1
    assert not mark.exists() and not (tmp_path / "runs").exists()


def test_every_other_stage_goes_on_from_it(imported: Path, model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(imported, tmp_path / "run")
    result = run("CartPole-v1", out=folder, seed=3, recipes=["qat-int8"])
    rows = result.benchmark["rows"]
    assert [row["name"] for row in rows] == ["float32", "ptq-int8", "qat-int8"]
    assert all(row["status"] == "ok" and row["return"]["mean"] > 450 for row in rows)
    assert result.best is not None and (folder / "device" / "policy.tflite").exists()
    for row in rows:
        evidence = read_verified(folder / row["file"]).evidence
        assert evidence["training"]["source_sha256"] == hashlib.sha256(model.read_bytes()).hexdigest()
    page = (folder / "report.html").read_text()
    assert "edgedqn import &#39;it is mine.keras&#39; CartPole-v1 --seed 3\nedgedqn run CartPole-v1 --seed 3 --recipes " in page
    assert (folder / "agent" / "agent.json").read_bytes() == (imported / "agent" / "agent.json").read_bytes()


def test_what_a_file_does_not_say_is_told_and_kept(
    tmp_path: Path, edgedqn: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    network = tf_keras.Sequential([tf_keras.Input((4,)), layers.Dense(8), layers.Dense(2)])
    network.save_weights(tmp_path / "weights.h5")
    statistics = tmp_path / "statistics.npz"
    np.savez(statistics, mean=np.ones(4), var=np.ones(4), clip_obs=10.0, epsilon=1e-8)
    options = ["--hidden", "8", "--activation", "relu", "--normalize", str(statistics), "--states", "300"]
    out = tmp_path / "run"
    answer = edgedqn("import", tmp_path / "weights.h5", "CartPole-v1", *options, "--out", out)
    assert (answer.returncode, answer.stdout.splitlines()[-1]) == (0, f"import done: {out}"), answer.stderr
    reached = "VecNormalize's clip at 10 is left out: none of 300 observations of play is beyond it."
    assert answer.stderr.splitlines()[-1] == reached
    assert "Assumed of weights.h5: a relu behind each hidden layer." in answer.stderr
    agent = TrainedAgent.load(out / "agent")
    assert agent.observations.shape == (300, 4)
    observations = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    kernel, bias, last, end = network.get_weights()
    expected = np.maximum((observations - 1) @ kernel + bias, 0) @ last + end
    np.testing.assert_allclose(agent.policy.q_values(observations), expected, atol=1e-5)
    command = Job.open(out).command() or ""
    told = f"--activation relu --hidden 8 --normalize {statistics} --states 300"
    assert command.startswith(f"edgedqn import weights.h5 {told} CartPole-v1 --seed 0\n")


@pytest.fixture
def teachers(monkeypatch: pytest.MonkeyPatch) -> list[Teacher]:
    """Those that were to teach. No network learns, which takes its time."""
    found: list[Teacher] = []

    def teach(teacher: Teacher, *_: Any, **__: Any) -> None:
        found.append(teacher)
        raise InputError("would learn")

    monkeypatch.setattr("edgedqn.pipeline.commands.import_agent.teach", teach)
    return found


def test_a_clip_that_play_reaches_is_part_of_the_teacher(
    model: Path, tmp_path: Path, teachers: list[Teacher], capsys: pytest.CaptureFixture[str]
) -> None:
    np.savez(tmp_path / "s.npz", mean=np.zeros(4), var=[1, 1, 1e-6, 1], clip_obs=10.0, epsilon=1e-8)
    with pytest.raises(InputError, match="would learn"):
        import_model(model, "CartPole-v1", out=tmp_path / "run", options=ModelOptions(normalize=tmp_path / "s.npz"), states=300)
    assert "VecNormalize clips at 10 what it sees in play." in capsys.readouterr().err
    seen = np.array([[0.1, 0.2, 10, -0.3]], np.float32)  # of an angle of 0.2, which is 200 standard deviations
    kernel, bias, last, end = tf_keras.models.load_model(model, compile=False).get_weights()
    expected = np.maximum(seen @ kernel + bias, 0) @ last + end
    np.testing.assert_allclose(teachers[0].q_values(np.array([[0.1, 0.2, 0.2, -0.3]])), expected, rtol=1e-4)


def test_a_function_is_given_what_the_environment_gives(tmp_path: Path, teachers: list[Teacher]) -> None:
    seen: list[Any] = []

    def act(state: Any) -> int:
        seen.append(state)
        return 2

    with pytest.raises(InputError, match="would learn"):
        import_model(act, "FrozenLake-v1", out=tmp_path / "run", options=ModelOptions(gives="action"))
    assert teachers[0](np.eye(16, dtype=np.uint8)[7]) == 2
    assert seen == [7] and isinstance(seen[0], int)


def test_how_an_input_is_taken_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tf_keras.Sequential([tf_keras.Input((8,)), layers.Dropout(0.1, name="left"), layers.Dense(2)]).save(
        tmp_path / "stacked.keras"
    )
    job = import_model(tmp_path / "stacked.keras", "CartPole-v1", out=tmp_path / "run", states=10)
    told = "its input of [8] is the last 2 observations, the oldest first"
    assert f"Assumed of stacked.keras: {told}.\n" in capsys.readouterr().err
    statistics = TrainedAgent.load(job.folder.agent).statistics
    assert statistics["assumed"] == [told] and statistics["left_out"] == ["Dropout left"]


@pytest.mark.parametrize(
    ("env_id", "told"),
    [
        ("BreakoutNoFrameskip-v4", r"is seen as in SB3's zoo: .* Frames stacked: 4, channels last\."),
        ("ALE/Breakout-v5", r"is seen .*, and repeats one action in four at random\. Frames stacked: 4"),
    ],
)
def test_what_is_seen_of_a_game_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str], env_id: str, told: str) -> None:
    pytest.importorskip("ale_py", reason="needs games: the extra atari")
    small = layers.Conv2D(1, 8, strides=20)
    tf_keras.Sequential([tf_keras.Input((84, 84, 4)), small, layers.Flatten(), layers.Dense(4)]).save(tmp_path / "game.keras")
    source = EnvironmentSource(env_id, max_episode_steps=20)
    job = import_model(tmp_path / "game.keras", source, out=tmp_path / "run", states=10)
    assert re.search(rf"{env_id} {told}", capsys.readouterr().err)
    assert TrainedAgent.load(job.folder.agent).observations.shape == (10, 84, 84, 4)


def test_an_agent_whose_episodes_are_long_is_scored_over_fewer(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedqn.pipeline.commands.import_agent.SCORE_STEPS", 1_000)
    job = import_model(model, "CartPole-v1", out=tmp_path / "run", states=10)
    assert TrainedAgent.load(job.folder.agent).statistics["score"]["episodes"] == 2  # of 500 steps
