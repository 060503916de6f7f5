"""Texts and float arrays of an HDF5 file, read in a process of its own.

HDF5's library was not made for damage: of 1,200 Keras files with up to seven changed bytes, version 1.14.6 hung on five, where
not even an interrupt stops it. So it has a limit of time and of memory, and this process reads the answer only.
"""

import io
import json
import sys
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.keras_model.other_process import limit_memory, read_elsewhere

MAGIC = b"\x89HDF\r\n\x1a\n"
TIME_LIMIT = 45  # seconds; the Nature CNN takes less than one
MEMORY_LIMIT = 2**28  # bytes, beside some copies of the file


@dataclass(frozen=True)
class Hdf5:
    """What was found."""

    texts: dict[str, str | list[str]]  # attributes that are a text, or several, by "path@name"
    arrays: dict[str, NDArray[np.float32]]  # those that lie in the file itself, in one piece, by path

    def array(self, path: str) -> NDArray[np.float32]:
        if path not in self.arrays:
            raise InputError(f"expected weights at {path[:200]!r}: float32, in one piece, in this file. Got something else.")
        return self.arrays[path]

    def text(self, path: str, attribute: str) -> str:
        text = self.texts.get(f"{path}@{attribute}")
        if not isinstance(text, str):
            raise InputError(f"expected a text in {attribute} of {path[:200]!r}. Got something else.")
        return text


def read_hdf5(content: bytes, *, groups: tuple[str, ...], attributes: tuple[str, ...]) -> Hdf5:
    """Reads these groups of an HDF5 file's root, all where none is named, and these attributes of the root and each group.

    Raises:
      InputError: it is damaged.
    """
    wanted = json.dumps([groups, attributes])
    code = "from edgedqn.agents.importing.keras_model.hdf5_reader import main; main()"
    answer = read_elsewhere(code, wanted, what="its HDF5 data", time_limit=TIME_LIMIT, content=content)
    with np.load(io.BytesIO(answer), allow_pickle=False) as archive:
        found = json.loads(archive["found"].tobytes())
        return Hdf5(found["texts"], {path: archive[str(i)] for i, path in enumerate(found["arrays"])})


def main() -> None:
    """The other process: HDF5 on stdin, NumPy's format on stdout."""
    groups, attributes = json.loads(sys.argv[1])
    content = sys.stdin.buffer.read()
    limit_memory(MEMORY_LIMIT + 6 * len(content))  # the file, its arrays and the answer, which is copied once
    texts: dict[str, str | list[str]] = {}
    arrays: dict[str, NDArray[np.float32]] = {}
    with h5py.File(io.BytesIO(content), "r") as file:
        _read_texts(file, "", attributes, texts)
        todo = [(file, name, name) for name in groups or file]
        read = 0  # bytes and objects: with hard links, a file may show a part of itself again and again
        while todo:
            parent, name, path = todo.pop()
            # Soft and external links lead elsewhere, the latter to other files.
            if not isinstance(parent.get(name, getlink=True), h5py.HardLink):
                continue
            found = parent[name]
            read += 1
            if isinstance(found, h5py.Group):
                read += _read_texts(found, path, attributes, texts)
                todo += [(found, child, f"{path}/{child}") for child in found]
            elif isinstance(found, h5py.Dataset) and _is_plain(found):
                read += found.nbytes
            if read > len(content):
                raise ValueError("it would unfold to more than the file has bytes")
            if isinstance(found, h5py.Dataset) and _is_plain(found):
                arrays[path] = np.asarray(found[...], np.float32)
    found_json = np.frombuffer(json.dumps({"texts": texts, "arrays": list(arrays)}).encode(), np.uint8)
    answer = io.BytesIO()
    np.savez(answer, found=found_json, **{str(i): array for i, array in enumerate(arrays.values())})  # type: ignore[arg-type]
    sys.stdout.buffer.write(answer.getvalue())


def _is_plain(data: h5py.Dataset) -> bool:
    """Whether an array is as Keras writes it. In chunks, virtual, or in external files, it could be larger than its file or
    come from another one."""
    layout = data.id.get_create_plist().get_layout()
    in_one_piece = layout in (h5py.h5d.CONTIGUOUS, h5py.h5d.COMPACT) and not data.external
    return data.dtype.kind == "f" and data.dtype.itemsize == 4 and in_one_piece and data.id.get_storage_size() == data.nbytes


def _read_texts(holder: Any, path: str, attributes: list[str], texts: dict[str, str | list[str]]) -> int:
    """Returns how many letters were read."""
    letters = 0
    for name in attributes:
        if name not in holder.attrs:
            continue
        value = holder.attrs[name]
        if isinstance(value, str | bytes):
            texts[f"{path}@{name}"] = text = _decoded(value)
            letters += len(text)
        elif isinstance(value, np.ndarray) and value.ndim == 1 and all(isinstance(v, str | bytes) for v in value):
            texts[f"{path}@{name}"] = several = [_decoded(v) for v in value]
            letters += sum(map(len, several))
    return letters


def _decoded(text: str | bytes) -> str:
    return text.decode(errors="replace") if isinstance(text, bytes) else text
