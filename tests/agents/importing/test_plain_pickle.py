"""Pickles are read as values; what they would run stays a name."""

import pickle  # noqa: TID251 - the tests write what readers must not run
from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing import plain_pickle
from edgedqn.agents.importing.plain_pickle import Name, Opaque, read_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner, inner, inner),
    max_leaves=20,
)


@settings(max_examples=60, deadline=None)
@given(value=PLAIN, protocol=st.integers(3, 5))
def test_plain_values_are_what_they_were(value: Any, protocol: int) -> None:
    assert read_pickle(pickle.dumps(value, protocol=protocol)) == value


@settings(max_examples=200, deadline=None)
@given(content=st.binary(max_size=200))
def test_anything_else_is_bad_input(content: bytes) -> None:
    try:
        read_pickle(content)
    except InputError as error:
        assert "\n" not in str(error)


ARRAYS = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    np.arange(3, dtype=">f4"),
    np.zeros((0, 3)),
    np.float64(3.5),
    np.array(True),
]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("array", ARRAYS, ids=lambda each: f"{each.dtype}{each.shape}")
def test_arrays_are_what_they_were(array: Any, protocol: int) -> None:
    pair = read_pickle(pickle.dumps([array, array], protocol=protocol))
    for found in pair:  # the second is the memo's
        assert found.dtype == array.dtype and found.shape == array.shape
        np.testing.assert_array_equal(found, array)


def test_objects_stay_names() -> None:
    found = read_pickle(pickle.dumps([Fraction(1, 3), Path, OrderedDict(a=1)]))
    assert isinstance(found[0], Opaque) and found[0].kind == "fractions.Fraction" and found[0].arguments == (1, 3)
    assert isinstance(found[1], Name) and found[1].path in ("pathlib.Path", "pathlib._local.Path")
    assert isinstance(found[2], Opaque) and found[2].kind == "collections.OrderedDict"


REFUSED = {
    "objects in an array": (pickle.dumps(np.array([{}])), "expected arrays of numbers"),
    "a persistent object": (b"Pthing\n.", "Got the instruction PERSID"),
    "an extension": (b"\x82\x01.", "Got the instruction EXT1"),
    "an instance": (b"(cos\nsystem\n(i__main__\nX\n.", "Got the instruction INST"),
    "no end": (b"(lp0\n", "expected a pickle"),
    "two values": (b"NN.", "expected a pickle. Got damage"),
    "nothing on the stack": (b".", "expected a pickle. Got damage"),
    "no mark": (b"Nt.", "there is no mark"),
    "a memo that is empty": (b"h\x03.", "expected a pickle. Got damage"),
    "a list as a key": (pickle.dumps({1: 2})[:-2] + b"]Ns.", "expected a pickle"),
}


@pytest.mark.parametrize(("content", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_no_such_file_needs_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        read_pickle(content)


def test_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    content = pickle.dumps(list(range(100)))
    monkeypatch.setattr(plain_pickle, "MOST_INSTRUCTIONS", 50)
    with pytest.raises(InputError, match="at most 50 instructions"):
        read_pickle(content)
    monkeypatch.setattr(plain_pickle, "LARGEST", 50)
    with pytest.raises(InputError, match="at most 50 bytes"):
        read_pickle(content)
