"""HDF5 is read elsewhere, so that damage stops nothing here."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.keras_model import hdf5_reader
from edgedqn.agents.importing.keras_model.hdf5_reader import read_hdf5

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file.attrs["title"] = "a model"
        file["layers/dense/kernel"] = KERNEL
        file["layers/dense/big_endian"] = KERNEL.astype(">f4")
        file["layers/dense/double"] = KERNEL.astype(np.float64)
        file["layers/dense"].attrs["names"] = ["kernel", "big_endian"]
        file["layers"].attrs["names"] = np.array([b"dense"])
        file["layers"].attrs["title"] = 3
        file["optimizer/slot"] = KERNEL
    return path


def read(path: Path) -> Any:
    return read_hdf5(path.read_bytes(), groups=("layers", "absent"), attributes=("title", "names"))


def test_what_was_asked_for_is_found(path: Path) -> None:
    found = read(path)
    assert set(found.arrays) == {"layers/dense/kernel", "layers/dense/big_endian"}
    for array in found.arrays.values():
        assert array.dtype == np.float32
        np.testing.assert_array_equal(array, KERNEL)
    assert found.texts == {"@title": "a model", "layers/dense@names": ["kernel", "big_endian"], "layers@names": ["dense"]}
    assert found.text("", "title") == "a model"
    with pytest.raises(InputError, match="expected weights at 'optimizer/slot'"):
        found.array("optimizer/slot")
    for holder, attribute in (("layers", "title"), ("layers", "names"), ("", "names")):
        with pytest.raises(InputError, match=f"expected a text in {attribute} of '{holder}'"):
            found.text(holder, attribute)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems keep no such limit")
@pytest.mark.parametrize(("megabytes", "message"), [(16, "MemoryError"), (256, "")])
def test_its_memory_is_limited(megabytes: int, message: str) -> None:
    code = "import numpy; from edgedqn.agents.importing.keras_model.other_process import limit_memory"
    code += f"; limit_memory({megabytes}_000_000); numpy.ones(8_000_000)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert message in ran.stderr and bool(ran.returncode) == bool(message)


def test_a_file_that_shows_itself_again_and_again_is_refused(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file["layers/dense/again"] = file["layers"]  # a circle
    with pytest.raises(InputError, match="it would unfold to more than the file has bytes"):
        read(path)
    with h5py.File(path, "r+") as file:
        del file["layers/dense/again"]
        file["layers/large"] = np.zeros(10_000, np.float32)
        file["layers/large_again"] = file["layers/large"]
    with pytest.raises(InputError, match="it would unfold to more than the file has bytes"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"HDF", hdf5_reader.MAGIC, hdf5_reader.MAGIC + bytes(1000)])
def test_what_is_none_is_refused(content: bytes) -> None:
    with pytest.raises(InputError, match=r"its HDF5 data cannot be read: .*Error"):
        read_hdf5(content, groups=("layers",), attributes=())


def test_a_reader_that_hangs_is_stopped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5_reader, "TIME_LIMIT", 1e-4)
    with pytest.raises(InputError, match=r"its HDF5 data is damaged: reading it took more than 0\.0001 seconds"):
        read(path)


def test_a_reader_that_dies_is_bad_input(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(InputError, match="its HDF5 data cannot be read: its reader ended with -11"):
        read(path)


def test_nothing_is_imported_from_where_the_user_stands(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "h5py.py").write_text("raise SystemExit('planted')")
    monkeypatch.chdir(tmp_path)
    assert read(path).arrays
