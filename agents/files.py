"""Values as JSON, and files that are complete or absent: written beside their place, flushed to the disk, and renamed."""

import errno
import fcntl
import json
import math
import mmap
import os
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, Self, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require

UNFINISHED = ".part"  # ends the name of what is being written; what was killed leaves it behind

Json = dict[str, Any]
"""A JSON object, on its way in or out."""


class JsonValue:
    """Base of a frozen dataclass of numbers, texts, tuples, and values that have `to_json` and `from_json`.

    Attributes:
      KEYS: what a field is called in JSON, where that is no name in Python.
      LEFT_OUT: fields that are not written where they have their default.
      MERGED: fields whose own JSON stands among the others', which need not be there where it has a default.
    """

    KEYS: ClassVar[Mapping[str, str]] = {}
    LEFT_OUT: ClassVar[tuple[str, ...]] = ()
    MERGED: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def keys(cls) -> dict[str, str]:
        """The fields' names in JSON, by field."""
        return {each.name: cls.KEYS.get(each.name, each.name) for each in fields(cls)}  # type: ignore[arg-type]

    def to_json(self) -> Json:
        """An object in the order of the fields; a tuple is a list."""
        found: Json = {}
        for name, key in self.keys().items():
            value = getattr(self, name)
            if name in self.MERGED:
                found |= _to_json(value) or {}
            elif name not in self.LEFT_OUT or value != getattr(type(self), name):
                found[key] = _to_json(value)
        return found

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Self:
        """The reverse of `to_json`. A field that has a default may be missing; what is no field is passed over.

        Raises:
          KeyError, TypeError, ValueError: the object is none of these.
        """
        hints, found = get_type_hints(cls), {}
        required = {each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING}  # type: ignore[arg-type]
        for name, key in cls.keys().items():
            if name in cls.MERGED:
                with suppress(KeyError):
                    found[name] = _from_json(hints[name], value)
            elif key in value or name in required:
                found[name] = _from_json(hints[name], value[key])
        return cls(**found)


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_to_json(each) for each in value]
    return value.to_json() if hasattr(value, "to_json") else value


def _from_json(hint: Any, value: Any) -> Any:
    kinds = (hint, *get_args(hint))  # of X | Y, both
    if value is None or get_origin(hint) is Mapping:
        return value
    if isinstance(value, list):
        several = next(kind for kind in kinds if get_origin(kind) is tuple)
        return tuple(_from_json(get_args(several)[0], each) for each in value)
    return next((kind.from_json(value) for kind in kinds if hasattr(kind, "from_json")), value)


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Opens a temporary file beside `path`, in a folder that exists; it takes that name only if the block raises nothing.

    An OSError of the writing names `path`.

    Source: the rename is atomic on POSIX; without the two fsyncs a power cut can still leave an empty file.
    """
    with _errors_name(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=UNFINISHED)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)  # mkstemp's 0600 would keep a bundle from being served or copied by others
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    """That of a full disk names no file, others the temporary one; those of other files stay."""
    try:
        yield
    except OSError as error:
        ours = error.filename is None or Path(str(error.filename)).name.startswith(f".{path.name}.")
        if error.errno is None or not ours:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from error


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`; it takes that place, whatever was there, only if the block raises nothing.

    A reader finds the old one or the new one whole, or for a moment neither. A symlink is replaced, not followed.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=UNFINISHED))
    old = temporary.with_name(f"{temporary.name}.old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if os.path.lexists(folder):
            folder.rename(old)
        temporary.rename(folder)
        with suppress(OSError):
            remove_folder(old)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_zip(path: Path, members: Mapping[str, str | bytes]) -> None:
    """A zip of these files, in order, of one mode and the oldest time that zips know: nothing of the moment or the machine."""
    with atomic_write(path) as file, zipfile.ZipFile(file, "w") as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name)
            member.compress_type, member.create_system, member.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(member, content)


def remove_folder(path: Path) -> None:
    """Removes a folder with all that is in it; of a symlink to one the link alone, because what it leads to is elsewhere."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keeps other processes of this machine from writing in a folder that is there; the lock goes with the process, however it
    ends.

    Raises:
      InputError: another process is at work here, or the folder cannot be written.
    """
    try:
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise InputError(f"Cannot write in {folder}: expected a writable folder. Got: {error}.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{folder} is in use by a running process: expected it to be free.") from error
        yield


def remove_unfinished(folder: Path) -> None:
    """Removes, from a folder and all in it, what was being written when a process was killed. Nobody may be writing there."""
    for path in list(folder.rglob(f".*{UNFINISHED}")):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, all of it or nothing."""
    with atomic_write(path) as file:
        file.write(content)


def write_text(path: Path, content: str) -> None:
    """Writes `content` to `path` as UTF-8, all of it or nothing."""
    write_bytes(path, content.encode())


def write_json(path: Path, value: object) -> None:
    """Writes `value` to `path` as indented JSON, all of it or nothing. NaN and infinities are refused (ValueError).

    A NumPy scalar is written as the number that it is.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=np.generic.item) + "\n")


def read_json(path: Path, schema: int) -> Json:
    """Reads a JSON object of ours. Raises InputError where it is missing, damaged, or of another schema."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: expected a JSON object. Got: {error}.") from error
    found = value.get("schema") if isinstance(value, dict) else None
    require(found == schema, f"{path} has another schema: expected {schema}. Got {found}.")
    return value


def save_arrays(path: Path, arrays: Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]) -> None:
    """Writes arrays, in order or by name, to an `.npz`, all of it or nothing."""
    named = arrays if isinstance(arrays, Mapping) else {f"arr_{i}": array for i, array in enumerate(arrays)}
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **{name: np.asarray(array, order="C") for name, array in named.items()})


def load_arrays(path: Path) -> list[NDArray[Any]]:
    """Reads what `save_arrays` wrote in order, as `map_arrays` does, into memory."""
    named = map_arrays(path)
    try:
        return [np.array(named[f"arr_{i}"]) for i in range(len(named))]
    except KeyError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def map_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what `save_arrays` wrote, by name, without taking it into memory: read-only arrays that stay in the file.

    Every checksum is compared first. The file may be removed while it is mapped, but not written to.

    Raises:
      InputError: missing or damaged, or not as `save_arrays` writes it.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            if (damaged := archive.testzip()) is not None:  # a header that asks for less than there is meets no checksum
                raise ValueError(f"{damaged} is damaged")
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            return {member.filename.removesuffix(".npy"): _array(mapped, archive, member) for member in archive.infolist()}
    except Exception as error:  # zipfile, zlib, struct and NumPy each have their own
        # zipfile follows a damaged directory to places before the file; after other system errors the file may be whole.
        if isinstance(error, OSError) and error.errno not in (errno.ENOENT, errno.EISDIR, errno.ENOTDIR, errno.EINVAL):
            raise
        raise InputError(f"{path} cannot be read: {error}") from error


def _array(mapped: mmap.mmap, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """The array that lies in a member of an archive as it is, not deflated."""
    if member.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{member.filename} is packed")
    with archive.open(member) as content:
        version = np.lib.format.read_magic(content)
        if version != (1, 0):
            raise ValueError(f"{member.filename} has version {version}")
        shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(content)
        header_bytes = content.tell()
    count = math.prod(shape)
    if dtype.hasobject:
        raise ValueError(f"{member.filename} holds Python objects, which are never loaded")
    if fortran_order or header_bytes + count * dtype.itemsize != member.file_size:
        raise ValueError(f"{member.filename} is no plain array of its size")
    # In the local header: the lengths of the name and of what comes between it and the content.
    lengths = struct.unpack_from("<HH", mapped, member.header_offset + 26)
    return np.frombuffer(mapped, dtype, count, member.header_offset + 30 + sum(lengths) + header_bytes).reshape(shape)
