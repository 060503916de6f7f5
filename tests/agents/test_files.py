"""Values as JSON and back; files that are complete or absent, and never unpickled."""

import errno
import resource
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import (
    JsonValue,
    atomic_folder,
    atomic_write,
    load_arrays,
    map_arrays,
    read_json,
    remove_folder,
    remove_unfinished,
    save_arrays,
    write_bytes,
    write_json,
    write_text,
)


@dataclass(frozen=True)
class Inner(JsonValue):
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class Point(JsonValue):
    x: int
    y: int


@dataclass(frozen=True)
class Outer(JsonValue):
    KEYS: ClassVar[Mapping[str, str]] = {"class_": "class"}
    LEFT_OUT = ("later", "several")
    MERGED = ("merged",)

    class_: str
    inner: tuple[Inner, ...]
    words: Mapping[str, str | None]
    one: Inner | None = None
    later: int | None = None
    several: str | tuple[int, ...] = "all"
    merged: Point | None = None


VALUE = Outer("a", (Inner((1, 2)), Inner(())), {"b": None}, Inner((3,)))
JSON = {"class": "a", "inner": [{"numbers": [1, 2]}, {"numbers": []}], "words": {"b": None}, "one": {"numbers": [3]}}


def test_a_value_is_json_and_back() -> None:
    assert VALUE.to_json() == JSON
    assert Outer.from_json(JSON) == VALUE
    assert Outer.from_json(JSON | {"later": 0}).to_json() == JSON | {"later": 0}
    assert Outer.from_json(JSON | {"several": [1]}) == replace(VALUE, several=(1,))
    assert Outer.from_json(JSON | {"several": []}).to_json() == JSON | {"several": []}


def test_a_merged_value_stands_among_the_others_or_is_not_there() -> None:
    assert replace(VALUE, merged=Point(1, 2)).to_json() == JSON | {"x": 1, "y": 2}
    assert Outer.from_json(JSON | {"x": 1, "y": 2}).merged == Point(1, 2)
    assert Outer.from_json(JSON | {"x": 1}).merged is None


def test_what_has_a_default_may_be_missing_and_what_is_unknown_is_passed_over() -> None:
    assert Outer.from_json({"class": "a", "inner": [], "words": {}, "unknown": 1}) == Outer("a", (), {})
    with pytest.raises(KeyError, match="inner"):
        Outer.from_json({"class": "a"})


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
@pytest.mark.parametrize("old", [b"old", None])
def test_an_exception_leaves_what_was_there_and_nothing_else(tmp_path: Path, error: Any, old: bytes | None) -> None:
    path = tmp_path / "file.bin"
    if old is not None:
        path.write_bytes(old)
    with pytest.raises(error), atomic_write(path) as file:
        file.write(b"half of the n")
        raise error
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == ({} if old is None else {"file.bin": old})


def test_a_limit_of_the_machine_names_the_file(tmp_path: Path) -> None:
    """A full disk or the limit of a file's size is an error without a name, a long name one of the temporary file."""
    code = (
        "import resource, sys; from pathlib import Path; from edgedqn.agents.files import write_bytes\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "try:\n    write_bytes(Path(sys.argv[1]), bytes(1_000))\n"
        "except OSError as error:\n    print(error.errno, error.filename)"
    )
    for path, expected in ((tmp_path / "big.bin", errno.EFBIG), (tmp_path / ("n" * 300), errno.ENAMETOOLONG)):
        said = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True).stdout
        assert said == f"{expected} {path}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", [True, False])
def test_a_folder_is_replaced_whole_or_stays_as_it_was(tmp_path: Path, old: bool) -> None:
    folder = tmp_path / "parent" / "folder"
    before = ["old"] if old else []
    if old:
        folder.mkdir(parents=True)
        (folder / "old").touch()
    with pytest.raises(KeyboardInterrupt), atomic_folder(folder) as temporary:
        (temporary / "new").touch()
        raise KeyboardInterrupt
    assert [path.name for path in folder.parent.rglob("*") if path.is_file()] == before
    with atomic_folder(folder) as temporary:
        (temporary / "new").touch()
        assert [path.name for path in folder.rglob("*")] == before
    assert [path.name for path in folder.parent.rglob("*")] == ["folder", "new"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_a_folder_is_removed_and_of_a_link_the_link_alone(tmp_path: Path) -> None:
    for name in ("folder", "elsewhere"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    remove_folder(tmp_path / "folder")
    remove_folder(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"] and (tmp_path / "elsewhere" / "file").exists()


def test_nobody_sees_the_file_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        (temporary,) = set(tmp_path.iterdir()) - {path}
        assert temporary.name.startswith(".file.bin.")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_what_a_killed_process_was_writing_can_be_removed_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    code = "import os, sys, pathlib; from edgedqn.agents.files import atomic_write\n"
    code += "with atomic_write(pathlib.Path(sys.argv[1])) as file:\n    os.kill(os.getpid(), 15)"
    for path in (tmp_path / "a.json", tmp_path / "inner" / "b.npz"):
        assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == -15
    (left,) = tmp_path.glob(".a.json.*")
    left.rename(tmp_path / "kept.part")  # somebody's own
    (tmp_path / ".device.x.part" / "inner").mkdir(parents=True)
    remove_unfinished(tmp_path)
    assert {path.name for path in tmp_path.rglob("*")} == {"inner", "kept.part"}


def test_bytes_text_and_json_arrive_as_they_were(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"\x00\xff\r\n")
    write_text(tmp_path / "b", "µs\n")
    write_json(tmp_path / "c", {"steps": np.int64(1), "nested": [np.float32(1.5), None]})
    assert (tmp_path / "a").read_bytes() == b"\x00\xff\r\n"
    assert (tmp_path / "b").read_bytes() == "µs\n".encode()
    assert (tmp_path / "c").read_text() == '{\n  "steps": 1,\n  "nested": [\n    1.5,\n    null\n  ]\n}\n'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"deep": [-float("inf")]}, object()])
def test_what_json_cannot_say_is_refused_and_the_old_file_stays(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "file.json"
    write_json(path, 1)
    with pytest.raises((ValueError, TypeError)):
        write_json(path, value)
    assert path.read_text() == "1\n"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_arrays_come_back_in_their_order(tmp_path: Path, count: int) -> None:
    # More than ten: by name, arr_10 would come before arr_2.
    arrays = [
        np.full((i + 1, 2), i, dtype) for i, dtype in zip(range(count), [np.float32, np.int8, np.float64] * 4, strict=False)
    ]
    save_arrays(tmp_path / "a.npz", arrays)
    found = load_arrays(tmp_path / "a.npz")
    assert len(found) == count
    for ours, theirs in zip(found, arrays, strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_named_arrays_come_back_by_their_names(tmp_path: Path) -> None:
    arrays = {"b": np.arange(3), "a/c": np.ones((2, 0), bool), "last": np.array(4, np.float32)}
    save_arrays(tmp_path / "a.npz", arrays)
    found = map_arrays(tmp_path / "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def test_mapped_arrays_are_those_of_the_file_and_outlive_its_name(tmp_path: Path) -> None:
    arrays = {
        "b": np.arange(3),
        "empty": np.ones((2, 0), bool),
        "number": np.array(4, np.float32),
        "fortran": np.asfortranarray(np.arange(12.0).reshape(3, 4)),
        "strided": np.arange(20, dtype=np.uint8)[::3],
    }
    save_arrays(tmp_path / "a.npz", arrays)
    found = map_arrays(tmp_path / "a.npz")
    (tmp_path / "a.npz").unlink()
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    with pytest.raises(ValueError, match="read-only"):
        found["b"][0] = 1


def test_mapping_takes_no_memory_for_what_is_not_looked_at(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", {"frames": np.zeros(50_000_000, np.uint8), "last": np.arange(3)})
    tracemalloc.start()
    found = map_arrays(tmp_path / "a.npz")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found["last"].tolist() == [0, 1, 2]
    assert most < 5_000_000


def test_one_mapping_serves_all_arrays(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.npz", [np.arange(3)] * 400)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, limit[1]), limit[1]))
    try:
        assert len(map_arrays(tmp_path / "a.npz")) == 400
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)


def test_a_file_that_cannot_be_opened_now_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_arrays(tmp_path / "a.npz", [np.arange(3)])

    def full(self: Path, *_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(type(tmp_path), "open", full)
    with pytest.raises(OSError, match="Too many open files"):
        map_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: np.savez_compressed(path, a=np.zeros(1000)), r"a\.npy is packed"),
        (lambda path: np.savez(path, a=np.array([{}], object)), r"a\.npy holds Python objects"),
        (lambda path: np.savez(path, a=np.asfortranarray(np.zeros((2, 3)))), r"a\.npy is no plain array"),
    ],
)
def test_what_was_written_otherwise_is_not_mapped(tmp_path: Path, write: Callable[..., Any], reason: str) -> None:
    write(tmp_path / "a.npz")
    with pytest.raises(InputError, match=rf"a\.npz cannot be read: {reason}"):
        map_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"cannot be read: expected a JSON object\. Got: .*No such file"),
        ("", r"cannot be read: expected a JSON object\. Got: "),
        ('{"schema": 1', r"cannot be read: expected a JSON object\. Got: "),
        ("\udcff", r"cannot be read: expected a JSON object\. Got: .*utf-8"),
        ("[1]", r"has another schema: expected 1\. Got None\."),
        ("{}", r"has another schema: expected 1\. Got None\."),
        ('{"schema": 2}', r"has another schema: expected 1\. Got 2\."),
    ],
)
def test_what_is_no_json_object_of_ours_is_bad_input(tmp_path: Path, content: str | None, reason: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=rf"a\.json {reason}"):
        read_json(path, 1)
    write_json(path, {"schema": 1, "x": None})
    assert read_json(path, 1) == {"schema": 1, "x": None}


@settings(max_examples=300, deadline=None)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
@example(at=0.998046875, bit=0)  # zipfile seeks to a place before the file
def test_one_flipped_bit_never_changes_a_number(tmp_path_factory: pytest.TempPathFactory, at: float, bit: int) -> None:
    path = tmp_path_factory.mktemp("flip") / "a.npz"
    array = np.arange(300, dtype=np.float32).reshape(100, 3)
    save_arrays(path, [array])
    content = bytearray(path.read_bytes())
    content[int(at * len(content))] ^= 1 << bit
    path.write_bytes(content)
    try:
        found = load_arrays(path)
    except InputError:
        return
    for ours in found:  # a flipped date or file mode does no harm
        np.testing.assert_array_equal(ours, array)


def test_a_shape_that_asks_for_less_than_there_is_is_damage(tmp_path: Path) -> None:
    """The part of a large array that was read is sound, and the checksum stands behind the part that was not."""
    path = tmp_path / "a.npz"
    save_arrays(path, [np.zeros((1664, 4), np.float32)])
    path.write_bytes(path.read_bytes().replace(b"(1664, 4)", b"(1264, 4)"))
    with pytest.raises(InputError, match=r"a\.npz cannot be read: arr_0\.npy is damaged"):
        load_arrays(path)


@pytest.mark.parametrize("content", [b"", b"not a zip", None], ids=["empty", "text", "half"])
def test_a_damaged_file_is_bad_input(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "a.npz"
    save_arrays(path, [np.ones(100)])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
    with pytest.raises(InputError, match=r"a\.npz cannot be read: "):
        load_arrays(path)


def test_so_are_a_missing_file_other_names_and_a_lone_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "names.npz", weights=np.ones(3))
    with (tmp_path / "lone.npz").open("wb") as file:
        np.save(file, np.ones(3))
    for name in ("missing.npz", "names.npz", "lone.npz"):
        with pytest.raises(InputError, match=f"{name} cannot be read: "):
            load_arrays(tmp_path / name)


def test_a_pickle_is_never_loaded(tmp_path: Path) -> None:
    marker = tmp_path / "it ran"

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return marker.touch, ()

    path = tmp_path / "a.npz"
    np.savez(path, np.array([Bomb()], object))
    assert ZipFile(path).namelist() == ["arr_0.npy"]
    with pytest.raises(InputError, match=r"a\.npz cannot be read: .*holds Python objects"):
        load_arrays(path)
    assert not marker.exists()
