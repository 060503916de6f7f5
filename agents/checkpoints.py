"""Checkpoints of a training: one file each, complete or absent, from which it goes on as if nothing had happened."""

import json
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.atomic_files import load_named_arrays, save_arrays
from edgedqn.agents.errors import InputError

SCHEMA = 1
_NAME = re.compile(r"step-(\d+)\.npz")

State = tuple[dict[str, NDArray[Any]], dict[str, Any]]  # arrays, and JSON


@dataclass(frozen=True)
class Checkpoints:
    """The last checkpoints of one training, in a folder of their own.

    Attributes:
      folder: made when it is needed.
      identity: JSON: what was trained and how. A checkpoint of anything else is not resumed from.
      keep: how many of the last ones are kept, >= 1. Each holds the whole replay.
    """

    folder: Path
    identity: dict[str, Any]
    keep: int = 2

    def save(self, env_steps: int, state: State) -> None:
        """Writes `step-<env_steps>.npz`, then removes what is older than the last `keep` up to it.

        What claims to be ahead of this training is damaged or another's, or it would have been resumed from.
        """
        arrays, values = state
        assert "json" not in arrays
        text = json.dumps({"schema": SCHEMA, "identity": self.identity, "state": values})
        self.folder.mkdir(parents=True, exist_ok=True)
        save_arrays(self.folder / f"step-{env_steps:012d}.npz", {**arrays, "json": np.frombuffer(text.encode(), np.uint8)})
        for path in [*self._newest_first(env_steps)][self.keep :]:
            path.unlink(missing_ok=True)
        for path in self.folder.glob(".step-*"):  # of a write that was killed
            path.unlink(missing_ok=True)

    def newest(self) -> State | None:
        """The newest checkpoint that is whole and of this training; those that are not are passed over with a warning."""
        for path in self._newest_first():
            try:
                return self._read(path)
            except InputError as error:
                warnings.warn(f"Checkpoint passed over: {error}", stacklevel=2)
        return None

    def _read(self, path: Path) -> State:
        arrays = load_named_arrays(path)
        try:
            description = json.loads(arrays.pop("json").tobytes())
            schema, identity, values = (description[key] for key in ("schema", "identity", "state"))
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"{path} is no checkpoint: {error!r}.") from error
        if schema != SCHEMA:
            raise InputError(f"{path} has another schema: expected {SCHEMA}. Got {schema}.")
        if identity != json.loads(json.dumps(self.identity)):
            raise InputError(f"{path} is of another training: its environment, seed or settings differ.")
        return arrays, values

    def _newest_first(self, up_to: float = float("inf")) -> Iterator[Path]:
        found = {int(match[1]): path for path in self.folder.glob("step-*.npz") if (match := _NAME.fullmatch(path.name))}
        return (found[step] for step in sorted(found, reverse=True) if step <= up_to)
