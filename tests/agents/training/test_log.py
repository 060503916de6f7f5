"""The log on the disk: which events, what is in them, and what an interruption leaves."""

import csv
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from edgedqn.agents.training.log import FileLog
from edgedqn.agents.training.loop import EpisodeRecord

ROLLOUT = {"rollout/ep_rew_mean", "rollout/ep_len_mean", "rollout/exploration_rate"}
TRAIN = {"train/learning_rate", "train/loss", "train/n_updates"}
TIME = {"time/episodes", "time/fps", "time/time_elapsed", "time/total_timesteps"}


def record(number: int, length: int = 10, loss: float = 0.5) -> EpisodeRecord:
    """The `number`th of episodes of `length` steps, from 1; returns 1, 2, 3, ..., two seconds each."""
    return EpisodeRecord(number * length, float(number), length, 1 / number, 1e-3, loss, 2.0 * number)


def told(log: FileLog, first: int, last: int, length: int = 10) -> FileLog:
    for number in range(first, last + 1):
        log.episode(record(number, length), 100 * number)
    return log


def events(folder: Path) -> list[tf.compat.v1.Event]:
    """All of the folder, in the order in which TensorBoard reads them."""
    files = sorted(map(str, folder.glob("*tfevents*")))
    return [tf.compat.v1.Event.FromString(data) for data in tf.data.TFRecordDataset(files).as_numpy_iterator()]


def scalars(folder: Path) -> list[tuple[int, dict[str, float]]]:
    """(env_steps, what was recorded there), by TensorBoard's rule: a start at a step makes all from there on void."""
    found: list[tuple[int, dict[str, float]]] = []
    for event in events(folder):
        if event.session_log.status == tf.compat.v1.SessionLog.START:
            found = [(step, values) for step, values in found if step < event.step]
        elif event.HasField("summary"):
            found.append((event.step, {value.tag: value.simple_value for value in event.summary.value}))
    return found


def rows(folder: Path) -> list[EpisodeRecord]:
    with (folder / "training.csv").open() as file:
        lines = list(csv.reader(file))
    assert lines[0] == ["env_steps", "episode_return", "episode_length", "epsilon", "learning_rate", "loss", "seconds"]
    return [EpisodeRecord(int(a), float(b), int(c), *map(float, rest)) for a, b, c, *rest in lines[1:]]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    code = (
        "import resource, sys; from pathlib import Path; from edgedqn.agents.errors import InputError\n"
        "from edgedqn.agents.training.log import FileLog\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY)); log = FileLog(Path(sys.argv[1]))\n"
        "try:\n    [log.evaluation(step, 0.0) for step in range(9)]\nexcept InputError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=True).stdout
    assert said.startswith("Events for TensorBoard cannot be written: expected space.")
    assert f"{tmp_path}/events" in said and said.endswith("File too large.\n")


def test_every_fourth_episode_under_the_names_of_stable_baselines3(tmp_path: Path) -> None:
    told(FileLog(tmp_path), 1, 9)
    (first, before), (second, after) = scalars(tmp_path)
    assert (first, second) == (40, 80)
    assert set(before) == set(after) == ROLLOUT | TRAIN | TIME
    expected = {
        "rollout/ep_rew_mean": np.mean(range(1, 9)),
        "rollout/ep_len_mean": 10,
        "rollout/exploration_rate": 1 / 8,
        "train/learning_rate": 1e-3,
        "train/loss": 0.5,
        "train/n_updates": 800,
        "time/episodes": 8,
        "time/fps": 5,
        "time/time_elapsed": 16,
        "time/total_timesteps": 80,
    }
    assert after == pytest.approx(expected)


def test_the_means_are_over_the_last_hundred_episodes(tmp_path: Path) -> None:
    told(FileLog(tmp_path), 1, 120)
    assert scalars(tmp_path)[-1][1]["rollout/ep_rew_mean"] == np.mean(range(21, 121))


def test_before_the_first_learning_there_is_no_loss(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    for number in range(1, 5):
        log.episode(record(number, loss=math.nan), 0)
    ((_, values),) = scalars(tmp_path)
    assert set(values) == (ROLLOUT | TRAIN | TIME) - {"train/loss"}
    log.flush()
    assert all(math.isnan(row.loss) for row in rows(tmp_path))


def test_an_evaluation_is_recorded_at_its_step(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    log.evaluation(5_000, 123.5)
    assert scalars(tmp_path) == [(5_000, {"eval/mean_reward": 123.5})]


def test_each_event_can_be_read_at_once(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    for number in range(1, 4):
        log.evaluation(number, 0.0)
        assert len(scalars(tmp_path)) == number
    assert events(tmp_path)[0].file_version == "brain.Event:2"


def test_a_long_training_of_short_episodes_makes_few_records(tmp_path: Path) -> None:
    log = FileLog(tmp_path)
    told(log, 1, 20_000)
    steps = [step for step, _ in scalars(tmp_path)]
    assert len(steps) < 0.6 * 20_000 / 4
    later = np.array([step for step in steps if step > 100_000])
    assert (np.diff(later) >= 100).all() and (np.diff(later) <= 0.001 * later[1:] + 40).all()


def test_the_csv_holds_every_episode_exactly(tmp_path: Path) -> None:
    log = told(FileLog(tmp_path / "made" / "for it"), 1, 7)
    log.flush()
    assert rows(tmp_path / "made" / "for it") == [record(number) for number in range(1, 8)]


def test_the_csv_is_of_the_newest_checkpoint(tmp_path: Path) -> None:
    log = told(FileLog(tmp_path), 1, 3)
    log.flush()
    told(log, 4, 9)  # and killed here
    assert rows(tmp_path) == [record(number) for number in range(1, 4)]
    assert [step for step, _ in scalars(tmp_path)] == [40, 80]


def test_a_csv_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = told(FileLog(tmp_path), 1, 3)
    log.flush()
    before = (tmp_path / "training.csv").read_bytes()
    told(log, 4, 5)

    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        log.flush()
    assert (tmp_path / "training.csv").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir() if "tfevents" not in path.name] == ["training.csv"]


def test_interrupted_and_gone_on_with_it_is_the_same_log(tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    log = told(FileLog(whole), 1, 6)
    log.evaluation(60, 6.0)
    told(log, 7, 20).flush()

    log = told(FileLog(parts), 1, 6)
    log.evaluation(60, 6.0)
    log.flush()  # a checkpoint
    told(log, 7, 13)  # lost
    log = FileLog(parts)
    log.resume(60, [record(number) for number in range(1, 7)])
    assert rows(parts) == [record(number) for number in range(1, 7)]
    told(log, 7, 20).flush()

    assert scalars(parts) == scalars(whole)
    assert [step for step, _ in scalars(parts)] == [40, 60, 80, 120, 160, 200]
    assert (parts / "training.csv").read_bytes() == (whole / "training.csv").read_bytes()


def test_another_training_in_the_folder_begins_anew(tmp_path: Path) -> None:
    told(FileLog(tmp_path), 1, 8).flush()
    stranger = tmp_path / "events.out.tfevents.1.host"
    stranger.write_bytes(b"")
    log = FileLog(tmp_path)
    assert len(scalars(tmp_path)) == 2
    told(log, 1, 4)
    assert [step for step, _ in scalars(tmp_path)] == [40]
    assert not (tmp_path / "training.csv").exists()
    assert stranger.exists()


def test_it_needs_no_tensorboard_and_writes_the_same_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000.0)
    for name in ("one", "other"):
        told(FileLog(tmp_path / name), 1, 8).flush()
    files = [{path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "other")]
    assert files[0] == files[1]
    assert set(files[0]) == {"training.csv", "events.out.tfevents.1700000000.edgedqn.0000"}
