"""Tensors are read as data: from damaged files, from others' formats, and never an object."""

import io
import sys
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.torch_files import read_state_dict
from edgedqn.agents.importing.torch_tensors import read_tensors

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
STATE = {"0.weight": torch.arange(32.0).reshape(8, 4), "2.weight": torch.ones(2, 8), "2.bias": torch.ones(2)}


def stored(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def test_tensors_come_as_they_were_nested() -> None:
    value = {"net": STATE, "epoch": 3, "optimizer": {"state": STATE}, 4: STATE, "count": torch.tensor(7), "list": [1]}
    found = read_tensors(stored(value), "it")
    assert list(found) == ["net", "count"]
    net: Any = found["net"]
    assert list(net) == list(STATE)
    for name, tensor in STATE.items():
        assert net[name].dtype == np.float32
        np.testing.assert_array_equal(net[name], tensor.numpy())


def test_other_formats_are_refused_with_what_helps() -> None:
    with pytest.raises(InputError, match="expected a zip archive"):
        read_tensors(stored(STATE, _use_new_zipfile_serialization=False), "it")
    with pytest.raises(InputError, match="it does not begin as an archive"):
        read_tensors(b"#!" + stored(STATE), "it")
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(stored(STATE))) as old, zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    with pytest.raises(InputError, match="it is packed: expected stored tensors"):
        read_tensors(buffer.getvalue(), "it")
    for packing in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # the latter is PyTorch's
        scripted = io.BytesIO()
        with zipfile.ZipFile(scripted, "w", packing) as file:
            file.writestr("net/data.pkl", b"")
            file.writestr("net/code/__torch__.py", bytes(400))
        with pytest.raises(
            InputError, match=r"it is a TorchScript module.*torch\.save\(torch\.jit\.load\('\.\.\.'\)\.state_dict"
        ):
            read_tensors(scripted.getvalue(), "it")


def test_pytorch_is_asked_for_where_it_is_missing_or_old(monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(STATE)
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(InputError, match=r"expected PyTorch 2\.10 or later to read it\. Got 2\.9\.1\+cpu"):
        read_tensors(content, "it")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"this needs the extra `sb3`: pip install 'edgedqn\[sb3\]'"):
        read_tensors(content, "it")


@pytest.mark.filterwarnings("ignore")  # PyTorch's, of what damage makes it see
def test_damage_is_bad_input(outcomes: Callable[..., Any]) -> None:
    content = stored(STATE)
    assert outcomes(read_state_dict, content, 200)["refused"] > 50
    at = content.index(STATE["0.weight"].numpy().tobytes())
    with pytest.raises(InputError, match="Bad CRC-32"):
        read_state_dict(content[: at + 9] + b"\x41" + content[at + 10 :])


def test_a_dict_that_is_in_others_again_and_again_is_refused() -> None:
    """Ten thousand times in four levels, in a file of 20 kB."""
    nested: Any = {"w": torch.zeros(2, 2)}
    for _ in range(4):
        nested = {str(i): nested for i in range(100)}
    with pytest.raises(InputError, match=r"expected at most 10,000 values\. Got more"):
        read_tensors(stored(nested), "it")


@pytest.mark.filterwarnings("ignore")
def test_so_is_damage_of_the_pickle_in_it() -> None:
    """Where the archive's checksums hold, PyTorch meets what was changed."""
    rng = np.random.default_rng(1)
    with zipfile.ZipFile(io.BytesIO(stored(STATE))) as file:
        members = {name: file.read(name) for name in file.namelist()}
    pickled = next(name for name in members if name.endswith("data.pkl"))
    refused = 0
    for _ in range(200):
        damaged = bytearray(members[pickled])
        for place in rng.integers(len(damaged), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for name, content in members.items():
                file.writestr(name, bytes(damaged) if name == pickled else content)
        try:
            read_state_dict(buffer.getvalue())
        except InputError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 50
