"""What a training leaves to be looked at: `training.csv`, and events for `tensorboard --logdir runs` while it goes on."""

import csv
import io
import math
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import write_text
from edgedqn.agents.training.loop import EpisodeRecord, TrainingLog

LOG_INTERVAL = 4  # episodes, as in Stable-Baselines3
MEAN_OVER = 100  # episodes, as there


class FileLog(TrainingLog):
    """Writes both into one folder, with Stable-Baselines3's event names, so that curves of both lie over each other.

    As there, every 4th episode is recorded, but only once the environment steps have grown by 0.1 % since the last record: a
    training of millions of short episodes makes some thousand records, the same ones however often it is interrupted.

    An event is on the disk before the training goes on. `training.csv` is written, complete or not at all, at each checkpoint
    and when the training ends or stops; what it has beyond the newest checkpoint is written over on resuming.
    """

    def __init__(self, folder: Path):
        self._folder = folder  # the agent's; it is made when there is something to write
        self._records: list[EpisodeRecord] = []
        self._recent: deque[EpisodeRecord] = deque(maxlen=MEAN_OVER)
        self._recorded_at = 0  # env_steps
        self._resumed_at: int | None = None  # env_steps
        self._writer: Any = None

    def resume(self, env_steps: int, records: Sequence[EpisodeRecord], evaluations: Sequence[tuple[int, float]] = ()) -> None:
        assert not self._records  # those it gets are in the events already
        self._resumed_at = env_steps
        for record in records:
            self._remember(record)

    def episode(self, record: EpisodeRecord, gradient_steps: int) -> None:
        if not self._remember(record):
            return
        scalars = {
            "rollout/ep_rew_mean": sum(r.episode_return for r in self._recent) / len(self._recent),
            "rollout/ep_len_mean": sum(r.episode_length for r in self._recent) / len(self._recent),
            "rollout/exploration_rate": record.epsilon,
            "time/episodes": len(self._records),
            "time/fps": int(record.env_steps / max(record.seconds, 1e-3)),
            "time/time_elapsed": int(record.seconds),
            "time/total_timesteps": record.env_steps,
            "train/learning_rate": record.learning_rate,
            "train/n_updates": gradient_steps,
        }
        if not math.isnan(record.loss):  # it is before the first learning
            scalars["train/loss"] = record.loss
        self._write(record.env_steps, scalars)

    def evaluation(self, env_steps: int, mean_return: float) -> None:
        self._write(env_steps, {"eval/mean_reward": mean_return})

    def flush(self) -> None:
        """Writes `training.csv`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(EpisodeRecord._fields)
        writer.writerows(self._records)
        self._begin()
        write_text(self._folder / "training.csv", text.getvalue())

    def _remember(self, record: EpisodeRecord) -> bool:
        """Whether this one is to be recorded; a training that was interrupted and resumed records the same ones."""
        self._records.append(record)
        self._recent.append(record)
        due = len(self._records) % LOG_INTERVAL == 0 and record.env_steps >= 1.001 * self._recorded_at
        if due:
            self._recorded_at = record.env_steps
        return due

    def _write(self, env_steps: int, scalars: dict[str, float]) -> None:
        values = [tf.compat.v1.Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        self._append(step=env_steps, summary=tf.compat.v1.Summary(value=values))

    def _append(self, **fields: Any) -> None:
        self._begin()
        try:
            self._writer.write(tf.compat.v1.Event(wall_time=time.time(), **fields).SerializeToString())
            self._writer.flush()  # to be watched at once, and there after a kill
        except tf.errors.OpError as error:  # a full disk has no error of its own there
            raise InputError(f"Events for TensorBoard cannot be written: expected space. Got: {error.message}.") from error

    def _begin(self) -> None:
        """Once: opens a new event file. What the folder has of another training is removed."""
        if self._writer is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        earlier = list(self._folder.glob("events.out.tfevents.*.edgedqn.*"))
        if self._resumed_at is None:
            for path in (*earlier, self._folder / "training.csv"):
                path.unlink(missing_ok=True)
        # An event file is a TFRecord file. Written as one, it takes neither the package `tensorboard`, as tf.summary does,
        # nor a thread of its own. TensorBoard reads the files of a folder in the order of their names.
        name = f"events.out.tfevents.{int(time.time()):010d}.edgedqn.{len(earlier):04d}"
        self._writer = tf.io.TFRecordWriter(str(self._folder / name))
        self._append(file_version="brain.Event:2")
        if self._resumed_at is not None:
            # Events after the last checkpoint of an interrupted training are written again: TensorBoard drops the old ones.
            start = tf.compat.v1.SessionLog(status=tf.compat.v1.SessionLog.START)
            self._append(step=self._resumed_at + 1, session_log=start)
