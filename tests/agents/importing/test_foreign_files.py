"""What others wrote is read within bounds, or refused in a line."""

import io
import os
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing import foreign_files
from edgedqn.agents.importing.foreign_files import open_archive, parse_json, read_file, read_member


def zipped(members: Any, compression: Any = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return buffer.getvalue()


def test_a_member_is_read(tmp_path: Path) -> None:
    (tmp_path / "model.zip").write_bytes(zipped([("folder/a", b"one"), ("b", b"two")], zipfile.ZIP_DEFLATED))
    archive = open_archive(read_file(tmp_path / "model.zip"))
    assert read_member(archive, "folder/a", largest=3) == b"one"
    with pytest.raises(InputError, match=r"'folder/a' in it cannot be read: expected at most 2 bytes, got 3\."):
        read_member(archive, "folder/a", largest=2)
    with pytest.raises(InputError, match="'c' in it cannot be read"):
        read_member(archive, "c", largest=3)


def test_only_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nothing"):
        with pytest.raises(InputError, match="expected a file"):
            read_file(path)
    (tmp_path / "large").write_bytes(b"12345")
    monkeypatch.setattr(foreign_files, "LARGEST_FILE", 4)
    with pytest.raises(InputError, match="expected at most 4 bytes"):
        read_file(tmp_path / "large")


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "..\\x", "C:\\x", "C:x", "\\\\host\\x", "a\nb", "a\x1b[2Jb"]
)
def test_names_that_leave_the_archive_or_deceive_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="expected names of files inside the archive"):
        open_archive(zipped([("good", b""), (name, b"")]))


def test_a_name_cut_short_by_a_zero_is_refused() -> None:
    content = zipped([("goodXevil", b"")]).replace(b"goodXevil", b"good\0evil")
    with pytest.raises(InputError, match="expected names of files inside the archive"):
        open_archive(content)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_the_same_name_twice_is_refused() -> None:
    with pytest.raises(InputError, match=r"expected each name once\. Got 'a' twice"):
        open_archive(zipped([("a", b"1"), ("a", b"2")]))


def test_a_bomb_stays_packed() -> None:
    content = zipped([("bomb", bytes(2**24))], zipfile.ZIP_DEFLATED)
    assert len(content) < 2**15
    with pytest.raises(InputError, match=r"expected at most 65,536 bytes, got 16,777,216"):
        read_member(open_archive(content), "bomb", largest=2**16)
    # One that lies about its size gives no more than it says, and then meets its checksum.
    at = content.rindex(struct.pack("<I", 2**24))
    lying = content[:at] + struct.pack("<I", 100) + content[at + 4 :]
    with pytest.raises(InputError, match="'bomb' in it cannot be read"):
        read_member(open_archive(lying), "bomb", largest=2**16)


@pytest.mark.parametrize("compression", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_without_bound_is_refused(compression: Any) -> None:
    with pytest.raises(InputError, match="expected it stored or deflated"):
        read_member(open_archive(zipped([("a", b"1")], compression)), "a", largest=10)


@pytest.mark.parametrize("damage", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: c[:10] + b"\xff" * 20 + c[30:]])
def test_damage_is_bad_input(damage: Callable[..., Any]) -> None:
    with pytest.raises(InputError):
        read_member(open_archive(damage(zipped([("a", b"1" * 100)]))), "a", largest=1000)


@pytest.mark.parametrize("text", ["", "{", "[1]", "[" * 100_000, '{"a": ' + "9" * 5000 + "}", b"\xff{}"])
def test_json_is_an_object_or_refused(text: Any) -> None:
    assert parse_json('{"a": 1}', "config") == {"a": 1}
    with pytest.raises(InputError, match="config in it is no JSON"):
        parse_json(text, "config")
