"""Checkpoints that are whole, of this training, and few; and a training that is killed again and again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.checkpoints import Checkpoints, has_checkpoints, prefixed, remove_checkpoints, under

IDENTITY = {"env_id": "My-v0", "config": {"steps": 10, "hidden": (8, 8)}, "first_seed": 3}
ARRAYS: dict[str, NDArray[Any]] = {
    "weights": np.arange(12, dtype=np.float32).reshape(3, 4),
    "frames": np.ones((4, 2), np.uint8),
    "none": np.zeros((0, 3)),
}
VALUES: dict[str, Any] = {
    "env_steps": 7,
    "loss": float("nan"),
    "rng": np.random.default_rng(0).bit_generator.state,
    "due": True,
    "episodes": [[1, 2.5]],
}


def checkpoints(folder: Path, **settings: Any) -> Checkpoints:
    return Checkpoints(folder / "checkpoints", settings.pop("identity", IDENTITY), **settings)


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.stem.removeprefix("step-")) for path in (folder / "checkpoints").glob("step-*.npz"))


def save(of: Checkpoints, *steps: int) -> None:
    for step in steps:
        of.save(step, ({**ARRAYS, "step": np.array(step)}, {**VALUES, "env_steps": step}))


def newest_step(of: Checkpoints) -> Any:
    state = of.newest()
    return None if state is None else state[1]["env_steps"]


def test_what_was_saved_is_what_comes_back(tmp_path: Path) -> None:
    checkpoints(tmp_path).save(7, (ARRAYS, VALUES))
    newest = checkpoints(tmp_path).newest()  # of another process
    assert newest is not None
    arrays, values = newest
    assert {name: array.dtype for name, array in arrays.items()} == {name: array.dtype for name, array in ARRAYS.items()}
    np.testing.assert_equal(arrays, ARRAYS)
    np.testing.assert_equal(values, json.loads(json.dumps(VALUES)))
    rng = np.random.default_rng(99)
    rng.bit_generator.state = values["rng"]
    assert rng.random() == np.random.default_rng(0).random()


def test_nothing_saved_is_nothing_to_go_on_from(tmp_path: Path) -> None:
    assert checkpoints(tmp_path).newest() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_the_last_ones_are_kept(tmp_path: Path, keep: int) -> None:
    of = checkpoints(tmp_path, keep=keep)
    for count in range(1, 6):
        save(of, 90 * count)  # by number: 90 is before 450, though not by letter
        assert steps_in(tmp_path) == [90 * i for i in range(max(1, count - keep + 1), count + 1)]
        assert newest_step(of) == 90 * count
    (tmp_path / "checkpoints" / "best").mkdir()
    (tmp_path / "checkpoints" / "step-x.npz").touch()
    save(of, 540)
    assert newest_step(of) == 540
    assert (tmp_path / "checkpoints" / "best").exists()


def test_those_of_a_training_that_is_over_go_and_what_was_best_stays(tmp_path: Path) -> None:
    of = checkpoints(tmp_path)
    save(of, 100, 200)
    (tmp_path / "checkpoints" / "best").mkdir()
    (tmp_path / "checkpoints" / ".step-000000000300.npz.x").touch()  # of a write that was killed
    assert has_checkpoints(of.folder)
    remove_checkpoints(of.folder)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["best"]
    assert not has_checkpoints(of.folder)


def test_a_disk_without_room_for_them_is_named_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = checkpoints(tmp_path, keep=2)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: shutil._ntuple_diskusage(9, 0, 3_000_000_000))
    of.require_space(1_000_000_000)
    with pytest.raises(
        InputError, match=r"^2 checkpoints and one being written need 3\.3 GB in .*: the disk has 3\.0 GB left\. Expected"
    ):
        of.require_space(1_100_000_000)
    assert not of.folder.exists()
    of.folder.mkdir()
    with (of.folder / "step-000000000100.npz").open("wb") as file:
        file.truncate(300_000_000)  # one that is there already will make room
    of.require_space(1_100_000_000)


def spoil(path: Path, how: str) -> None:
    content: Any = bytearray(path.read_bytes())
    if how == "flipped":
        content[content.index(ARRAYS["weights"].tobytes()) + 5] ^= 1
    path.write_bytes({"empty": b"", "half": content[: len(content) // 2], "flipped": content, "text": b"no zip"}[how])


@pytest.mark.parametrize("how", ["empty", "half", "flipped", "text"])
def test_a_damaged_one_is_passed_over_with_a_warning_and_the_one_before_is_taken(tmp_path: Path, how: str) -> None:
    of = checkpoints(tmp_path)
    save(of, 100, 200)
    spoil(tmp_path / "checkpoints" / "step-000000000200.npz", how)
    with pytest.warns(UserWarning, match=r"^Checkpoint passed over: .*step-000000000200\.npz cannot be read: "):
        assert newest_step(of) == 100
    save(of, 200)  # the training comes by again
    assert newest_step(of) == 200
    for step in (100, 200):
        spoil(tmp_path / "checkpoints" / f"step-{step:012d}.npz", how)
    with pytest.warns(UserWarning, match="passed over") as warned:
        assert of.newest() is None
    assert len(warned) == 2


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({}, "is no checkpoint"),
        ({"json": np.frombuffer(b"{", np.uint8)}, "is no checkpoint"),
        ({"json": np.frombuffer(b"[]", np.uint8)}, "is no checkpoint"),
        ({"json": np.frombuffer(b'{"schema": 1, "identity": {}}', np.uint8)}, "is no checkpoint: KeyError"),
        ({"json": np.frombuffer(b'{"schema": 0, "identity": {}, "state": {}}', np.uint8)}, "expected 1. Got 0"),
        ({"json": np.frombuffer(b'{"schema": 1, "identity": {}, "state": {}}', np.uint8)}, "is of another training"),
    ],
)
def test_so_is_a_whole_file_that_says_something_else(tmp_path: Path, arrays: dict[str, Any], reason: str) -> None:
    of = checkpoints(tmp_path)
    save(of, 100)
    np.savez(tmp_path / "checkpoints" / "step-000000000200.npz", **arrays)
    with pytest.warns(UserWarning, match=f"passed over: .*{reason}"):
        assert newest_step(of) == 100


@pytest.mark.parametrize("change", [{"first_seed": 4}, {"env_id": "Other-v0"}, {"config": {"steps": 20, "hidden": (8, 8)}}])
def test_one_of_another_training_is_not_gone_on_from_and_does_not_crowd_out_this_ones(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    save(checkpoints(tmp_path), 900, 1_000)
    of = checkpoints(tmp_path, identity={**IDENTITY, **change})
    with pytest.warns(UserWarning, match="is of another training: its environment, seed or settings differ"):
        assert of.newest() is None
    for step in (100, 200, 300):
        save(of, step)
        with pytest.warns(UserWarning, match="is of another training"):
            assert newest_step(of) == step
    assert steps_in(tmp_path) == [200, 300, 900, 1_000]
    save(of, 1_100)
    assert steps_in(tmp_path) == [1_000, 1_100]
    assert newest_step(of) == 1_100


def test_what_a_killed_write_left_is_cleared_away(tmp_path: Path) -> None:
    of = checkpoints(tmp_path)
    save(of, 100)
    left = tmp_path / "checkpoints" / ".step-000000000200.npz.k1ll3d"
    left.write_bytes(b"half of it")
    assert newest_step(of) == 100
    save(of, 200)
    assert not left.exists()


def test_a_write_that_fails_leaves_those_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of = checkpoints(tmp_path)
    save(of, 100, 200)

    def full(*_: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save(of, 300)
    assert steps_in(tmp_path) == [100, 200]
    assert newest_step(of) == 200


# A process that imports TensorFlow once and then forks: a training that is killed and resumed costs a second, not seven.
KILL_AND_RESUME = """
import hashlib, itertools, json, os, signal, sys, time, traceback
from pathlib import Path

import numpy as np
import tensorflow as tf

from edgedqn.agents import files as atomic_files
from edgedqn.agents.training.checkpoints import Checkpoints, has_checkpoints, prefixed, remove_checkpoints, under
from edgedqn.agents.errors import InputError
from edgedqn.agents.training.build import build_dqn
from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.selection import CheckpointSelection
from edgedqn.agents.training.interaction import interact, interact_with_all
from edgedqn.agents.training.loop import TrainingSchedule, train


class Pulse:
    '''Says that something happened, with a byte on a pipe: what is told to a log, and each file that is about to be whole.'''

    def __init__(self, pipe):
        self._pipe = pipe
        fsync = os.fsync

        def beat_and_sync(descriptor):
            self.beat()
            fsync(descriptor)

        atomic_files.os.fsync = beat_and_sync

    def beat(self, *_):
        os.write(self._pipe, b".")

    resume = episode = evaluation = flush = beat


def train_in(folder, env_id, settings, pipe):
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    config = TrainingConfig(**{**settings, "hidden": tuple(settings["hidden"])})
    env = make_environment(env_id)
    spec = spec_of(env, env_id, frame_stack=config.frame_stack)
    view = agent_view(env, spec)
    agent = build_dqn(spec, config, rng=np.random.default_rng(0))
    to_select = agent_view(make_environment(env_id), spec)
    selection = CheckpointSelection(
        env=to_select, seeds=lambda n: list(range(n)), episodes=1, finalists=2, n_actions=spec.n_actions, seed=0
    )

    def play(agent, seeds):
        if config.num_envs == 1:
            return interact(agent, seeds, env=view, env_id=env_id)
        return interact_with_all(
            agent, seeds, envs=make_vector(spec, num_envs=config.num_envs), env_id=env_id
        )

    report = train(
        agent, play, label=env_id, reset_seeds=itertools.count(), selection=selection,
        schedule=TrainingSchedule(config.steps, config.evaluation_interval, config.checkpoint_interval),
        checkpoints=Checkpoints(folder, settings), log=Pulse(pipe),
    )
    assert agent.env_steps == config.steps
    networks = agent.network, agent._target_network
    weights = [*(w for network in networks for w in network.get_weights()), *agent.averaged_weights(), *report.best.weights]
    told = [record[:-1] for record in report.episodes], report.evaluations, report.best[:2]
    (folder / "end").write_text(hashlib.sha256(b"".join(w.tobytes() for w in weights) + repr(told).encode()).hexdigest())


def life(folder, env_id, settings, beats=None, delay=0.0):
    '''One life of a training, which is killed so many beats and then so many seconds after its start. Whether it was.'''
    folder.mkdir(parents=True, exist_ok=True)
    heard, told = os.pipe()
    child = os.fork()
    if not child:
        try:
            train_in(folder, env_id, settings, told)
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    os.close(told)
    while beats is None or beats > 0:
        got = os.read(heard, 1 if beats is None else beats)
        if not got:
            break
        beats = beats and beats - len(got)
    else:
        time.sleep(delay)
        os.kill(child, signal.SIGKILL)
    os.close(heard)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status):
        assert status == 0, "a resume failed"
    return os.WIFSIGNALED(status)


def lives(folder, env_id, kills, settings):
    '''Trains once without a break, and then again and again until as many lives ended early as were asked for.'''
    rng = np.random.default_rng(0)
    life(folder / "whole", env_id, settings)
    ends, resumed = [(folder / "whole" / "end").read_text()], []
    for number in itertools.count():
        killed = folder / str(number)
        while kills and life(killed, env_id, settings, int(rng.integers(1, 40)), rng.uniform(0, 0.03)):
            kills -= 1
            resumed.append(max((int(path.stem.removeprefix("step-")) for path in killed.glob("step-*.npz")), default=0))
        if not kills:
            life(killed, env_id, settings)
        ends.append((killed / "end").read_text())
        if not kills:
            return {"ends": ends, "resumed": resumed}


for job in sys.argv[2:]:
    job = json.loads(job)
    print(json.dumps(lives(Path(sys.argv[1], job["env_id"]), **job)))
"""

SMALL = {
    "steps": 800,
    "hidden": [8],
    "batch_size": 8,
    "buffer_size": 300,
    "learning_starts": 300,  # before it a life is cheap: TensorFlow compiles for two seconds in each that learns
    "train_freq": 10,
    "gradient_steps": 5,
    "target_update_interval": 40,
    "dueling": True,
    "prioritized": True,
    "n_step": 3,
    "learning_rate_decay": 0.5,
    "averaging_steps": 100,
    "evaluation_interval": 150,
    "checkpoint_interval": 70,
}


JOBS = (
    {"env_id": "CartPole-v1", "kills": 6, "settings": SMALL},
    {
        "env_id": "MinAtar/Breakout-v1",
        "kills": 14,
        "settings": {
            **SMALL,
            "learning_starts": 450,
            "num_envs": 3,
            "frame_stack": 2,
            "quantiles": 4,
            "target_update_rate": 0.05,
        },
    },
)


def test_a_training_that_is_killed_and_resumed_ends_as_one_that_never_was(tmp_path: Path) -> None:
    # A checkpoint that had to be passed over would warn, and a write is complete or absent.
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", KILL_AND_RESUME, str(tmp_path), *map(json.dumps, JOBS)],
        capture_output=True,
        text=True,
        timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    for job, line in zip(JOBS, done.stdout.splitlines(), strict=True):
        found = json.loads(line)
        assert len(found["resumed"]) == job["kills"]
        assert len({step for step in found["resumed"] if step}) > 2  # killed here and there
        assert len(found["ends"]) >= 2
        assert len(set(found["ends"])) == 1
    assert not list(tmp_path.rglob(".step-*"))  # what killed writes left was cleared away


def test_what_was_put_under_a_prefix_is_found_there_and_nothing_else() -> None:
    parts = {"agent": {"w_0": np.arange(2), "agent_w": np.arange(3)}, "agents": {"w_0": np.arange(4)}, "a": {}}
    together = {name: array for part, arrays in parts.items() for name, array in prefixed(part, arrays).items()}
    assert list(together) == ["agent_w_0", "agent_agent_w", "agents_w_0"]
    for part, arrays in parts.items():
        found = under(part, together)
        expected = dict(arrays) if part != "a" else {}
        assert list(found) == list(expected)
        assert all(found[name] is expected[name] for name in expected)
