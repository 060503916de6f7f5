"""Files that others made: read whole, within bounds, and never unpacked onto the disk."""

import io
import json
import re
import reprlib
import zipfile
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json

Array = NDArray[np.float32]
Network = tuple[list[Json], dict[str, list[Array]]]
"""The layers as `architecture` describes them, and each one's weights by its name."""

TARGET = re.compile(
    r"target|tgt|frozen", re.IGNORECASE
)  # in the name of a network that an agent learns from, and does not play by
LARGEST_FILE = 2**29  # bytes; the Nature CNN has 7 million
LARGEST_TEXT = 2**26  # bytes of JSON
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel, _BRIEF.maxtuple, _BRIEF.maxlist, _BRIEF.maxdict, _BRIEF.maxstring, _BRIEF.maxother = 3, 12, 12, 12, 160, 160


def read_file(path: Path) -> bytes:
    """The content of a file. Raises InputError where it is no plain file, cannot be read, or is larger than `LARGEST_FILE`."""
    try:
        require(path.is_file(), f"expected a file. Got {'a folder' if path.is_dir() else 'nothing of this name'}.")
        with path.open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise InputError(f"expected a file that can be read. Got: {error}.") from error
    require(len(content) <= LARGEST_FILE, f"expected at most {LARGEST_FILE:,} bytes. Got more.")
    return content


def open_archive(content: bytes) -> zipfile.ZipFile:
    """Opens a zip archive in memory. Raises InputError where it is damaged, or a member's path leads outside or comes twice."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except Exception as error:  # zipfile, struct and codecs each have their own
        raise InputError(f"expected a zip archive. Got: {error}.") from error
    seen = set()
    for member in archive.infolist():
        name = member.orig_filename
        require(not leads_outside(name), f"expected names of files inside the archive. Got {name[:80]!r}.")
        require(name not in seen, f"expected each name once. Got {name[:80]!r} twice.")
        seen.add(name)
    return archive


def leads_outside(name: str) -> bool:
    """Whether a path that a file names may lead out of the folder that it is taken in, on any system; or cannot be shown."""
    windows = PureWindowsPath(name)  # its rules for what leaves a folder include those of POSIX
    return ".." in windows.parts or bool(windows.anchor) or PurePosixPath(name).is_absolute() or not name.isprintable()


def read_member(archive: zipfile.ZipFile, name: str, *, largest: int = LARGEST_FILE) -> bytes:
    """The content of one file of an archive, unpacked at most `largest` bytes.

    Raises:
      InputError: it is missing, damaged, encrypted, larger, or packed in a way that is not known to stay within bounds.
    """
    try:
        member = archive.getinfo(name)
        if member.file_size > largest:
            raise ValueError(f"expected at most {largest:,} bytes, got {member.file_size:,}")
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the others unpack without a bound
            raise ValueError(f"expected it stored or deflated, got compression {member.compress_type}")
        with archive.open(member) as file:
            return file.read()  # never more than file_size, and the checksum is compared
    except Exception as error:  # KeyError, zipfile's and zlib's own, RuntimeError for a password
        raise InputError(f"{name!r} in it cannot be read: {error}.") from error


def read_json_member(archive: zipfile.ZipFile, name: str) -> Json:
    """The JSON object in one file of an archive; see `read_member` and `parse_json` for what is refused."""
    return parse_json(read_member(archive, name, largest=LARGEST_TEXT), name)


def parse_json(content: bytes | str, name: str) -> Json:
    """A JSON object, from UTF-8. Raises InputError where it is something else."""
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{name} in it is no JSON: {error}.") from error
    require(isinstance(value, dict), f"{name} in it is no JSON object.")
    return value


def short(value: object) -> str:
    """A value of such a file as a message shows it. A list that is in itself again and again is not written out."""
    return _BRIEF.repr(value)[:80]
