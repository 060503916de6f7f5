"""Checkpoints of a training: one file each, complete or absent, from which it goes on as if nothing had happened."""

import json
import re
import shutil
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json, map_arrays, save_arrays

Arrays = dict[str, NDArray[Any]]
State = tuple[Arrays, Json]  # arrays by name, and JSON
Weights = list[NDArray[np.float32]]  # of a network, in the order of its `get_weights()`

SCHEMA = 1
_NAME = re.compile(r"step-(\d+)\.npz")


@dataclass(frozen=True)
class Checkpoints:
    """The last checkpoints of one training, in a folder of their own."""

    folder: Path  # made when it is needed
    identity: Json  # what was trained and how; a checkpoint of anything else is not resumed from
    keep: int = 2  # how many of the last ones are kept, >= 1; each holds the whole replay

    def save(self, env_steps: int, state: State) -> None:
        """Writes `step-<env_steps>.npz`, then removes what is older than the last `keep` up to it.

        What claims to be ahead of this training is damaged or another's, or it would have been resumed from.
        """
        arrays, values = state
        assert "json" not in arrays
        text = json.dumps({"schema": SCHEMA, "identity": self.identity, "state": values})
        self.folder.mkdir(parents=True, exist_ok=True)
        save_arrays(self.folder / f"step-{env_steps:012d}.npz", {**arrays, "json": np.frombuffer(text.encode(), np.uint8)})
        _remove(self.folder, [*_newest_first(self.folder, env_steps)][self.keep :])

    def require_space(self, state_bytes: int) -> None:
        """Finds out before a training whether its checkpoints, of `state_bytes` each when the replay is full, can be written.

        Raises:
          InputError: the disk has no room for those that are kept and the one being written; with both in gigabytes.
        """
        there = sum(path.stat().st_size for path in self.folder.glob("step-*.npz"))
        disk = next(folder for folder in (self.folder, *self.folder.absolute().parents) if folder.exists())
        needed, free = (self.keep + 1) * state_bytes, shutil.disk_usage(disk).free + there
        if needed > free:
            raise InputError(
                f"{self.keep} checkpoints and one being written need {needed / 1e9:.1f} GB in {self.folder}: the disk has "
                f"{free / 1e9:.1f} GB left. Expected a smaller buffer_size or keep_checkpoints, or checkpoint_interval=0."
            )

    def newest(self) -> State | None:
        """The newest checkpoint that is whole and of this training; those that are not are passed over with a warning.

        The arrays are read-only maps of the file: a replay is never twice in memory while it is restored.
        """
        for path in _newest_first(self.folder):
            try:
                return self._read(path)
            except InputError as error:
                warnings.warn(f"Checkpoint passed over: {error}", stacklevel=2)
        return None

    def _read(self, path: Path) -> State:
        arrays = map_arrays(path)
        try:
            description = json.loads(arrays.pop("json").tobytes())
            schema, identity, values = (description[key] for key in ("schema", "identity", "state"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no checkpoint: {error!r}.") from error
        require(schema == SCHEMA, f"{path} has another schema: expected {SCHEMA}. Got {schema}.")
        if identity != json.loads(json.dumps(self.identity)):
            raise InputError(f"{path} is of another training: its environment, seed or settings differ.")
        return arrays, values


def has_checkpoints(folder: Path) -> bool:
    """Whether a training could go on from here."""
    return any(_newest_first(folder))


def remove_checkpoints(folder: Path) -> None:
    """Removes those of a training that is over: it has nothing to go on with, and each holds the whole replay.

    The oldest goes first, so that a kill in the midst of it leaves the newest.
    """
    _remove(folder, reversed([*_newest_first(folder)]))


def prefixed(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """`arrays`, each name after `prefix` and an underscore."""
    return {f"{prefix}_{name}": array for name, array in arrays.items()}


def under(prefix: str, arrays: Mapping[str, NDArray[Any]]) -> Arrays:
    """What `prefixed` put there, under its own names."""
    start = f"{prefix}_"
    return {name.removeprefix(start): array for name, array in arrays.items() if name.startswith(start)}


def _newest_first(folder: Path, up_to: float = float("inf")) -> Iterator[Path]:
    found = {int(match[1]): path for path in folder.glob("step-*.npz") if (match := _NAME.fullmatch(path.name))}
    return (found[step] for step in sorted(found, reverse=True) if step <= up_to)


def _remove(folder: Path, paths: Iterable[Path]) -> None:
    for path in [*paths, *folder.glob(".step-*")]:  # the latter of a write that was killed
        path.unlink(missing_ok=True)
