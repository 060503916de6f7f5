"""What a pickle holds, read without unpickling: containers, numbers, texts and NumPy's arrays. Every object stays a name.

A pickle is a program for a stack machine, which may call any function there is. Here its instructions are walked, and of the
functions it names only NumPy's ways to write an array or a number are understood; they are not called either.
"""

import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.importing.foreign_files import short

LARGEST = 2**26  # bytes of a pickle
MOST_INSTRUCTIONS = 2**21
_MARK = object()
_PUSHED = (  # instructions that push their argument
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
)
_ARRAYS = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_SCALARS = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_BUFFERS = ("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer")


@dataclass(frozen=True)
class Name:
    """A class or a function."""

    path: str


@dataclass(eq=False, repr=False)
class Opaque:
    """An object that would have been made."""

    kind: str
    arguments: Any = ()
    state: Any = field(default=None)

    def __repr__(self) -> str:
        return self.kind


def read_pickle(content: bytes) -> Any:
    """The value in a pickle, with `Opaque` and `Name` for all that only its own code could make.

    Raises:
      InputError: it is damaged, or has an instruction that no such file needs.
    """
    require(len(content) <= LARGEST, f"expected a pickle of at most {LARGEST:,} bytes. Got {len(content):,}.")
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            require(count < MOST_INSTRUCTIONS, f"expected a pickle of at most {MOST_INSTRUCTIONS:,} instructions. Got more.")
            if opcode.name == "STOP":
                (value,) = machine.stack
                return value
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, UnicodeError, OverflowError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected a pickle. Got damage: {one_line(error)[:200]}") from error
    raise InputError("expected a pickle. Got one without an end.")


class _Machine:
    """The stack and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self._memo: dict[int, Any] = {}
        self._rules: dict[str, Callable[[], object]] = {
            "MARK": lambda: self.stack.append(_MARK),
            "NONE": lambda: self.stack.append(None),
            "NEWTRUE": lambda: self.stack.append(True),
            "NEWFALSE": lambda: self.stack.append(False),
            "EMPTY_DICT": lambda: self.stack.append({}),
            "EMPTY_LIST": lambda: self.stack.append([]),
            "EMPTY_TUPLE": lambda: self.stack.append(()),
            "EMPTY_SET": lambda: self.stack.append([]),
            "TUPLE1": lambda: self.stack.append(tuple(self._take(1))),
            "TUPLE2": lambda: self.stack.append(tuple(self._take(2))),
            "TUPLE3": lambda: self.stack.append(tuple(self._take(3))),
            "TUPLE": lambda: self.stack.append(tuple(self._marked())),
            "LIST": lambda: self.stack.append(self._marked()),
            "FROZENSET": lambda: self.stack.append(self._marked()),
            "DICT": lambda: self._set_items({}, self._marked()),
            "APPENDS": lambda: self._extend(self._marked()),
            "ADDITEMS": lambda: self._extend(self._marked()),
            "APPEND": lambda: self._extend(self._take(1)),
            "SETITEM": lambda: self._set_items(None, self._take(2)),
            "SETITEMS": lambda: self._set_items(None, self._marked()),
            "POP": lambda: self.stack.pop(),
            "POP_MARK": lambda: self._marked(),
            "DUP": lambda: self.stack.append(self.stack[-1]),
            "STACK_GLOBAL": lambda: self._name(*self._take(2)),
            "REDUCE": lambda: self._call(*self._take(2)),
            "NEWOBJ": lambda: self._call(*self._take(2)),
            "NEWOBJ_EX": lambda: self._call(*self._take(3)[:2]),
            "BUILD": lambda: self._build(*self._take(2)),
            "MEMOIZE": lambda: self._memo.update({len(self._memo): self.stack[-1]}),
        }

    def step(self, name: str, argument: Any) -> None:
        if name in _PUSHED:
            self.stack.append(argument)
        elif name in ("BINPUT", "LONG_BINPUT", "PUT"):
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            self.stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self._name(*argument.split(" ", 1))
        elif name in self._rules:
            self._rules[name]()
        elif name not in ("PROTO", "FRAME"):
            raise InputError(f"expected a pickle of values. Got the instruction {name}.")

    def _take(self, count: int) -> list[Any]:
        values = self.stack[-count:]
        if len(values) != count or any(each is _MARK for each in values):
            raise ValueError("the stack is empty")
        del self.stack[-count:]
        return values

    def _marked(self) -> list[Any]:
        at = len(self.stack) - 1
        while self.stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise ValueError("there is no mark")
        values = self.stack[at + 1 :]
        del self.stack[at:]
        return values

    def _extend(self, values: list[Any]) -> None:
        if isinstance(self.stack[-1], list):
            self.stack[-1].extend(values)
        elif not isinstance(self.stack[-1], Opaque):
            raise ValueError("something is added to what is no list")

    def _set_items(self, new: dict[Any, Any] | None, values: list[Any]) -> None:
        if new is not None:
            self.stack.append(new)
        holder = self.stack[-1]
        if not isinstance(holder, dict | Opaque) or len(values) % 2:
            raise ValueError("an item is set of what is no dict")
        if isinstance(holder, dict):
            holder.update(zip(values[::2], values[1::2], strict=True))

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name is no text")
        self.stack.append(Name(f"{module}.{name}"))

    def _call(self, function: Any, arguments: Any) -> None:
        path = function.path if isinstance(function, Name) else ""
        if path == "numpy.dtype":
            text = arguments[0]
            if not isinstance(text, str) or not text.isalnum() or len(text) > 3 or text[0] not in "fiub":
                raise InputError(f"expected arrays of numbers. Got some of {short(text)}.")
            self.stack.append(np.dtype(text))
        elif path in _SCALARS:
            self.stack.append(_array(arguments[1], arguments[0], ())[()])
        elif path in _BUFFERS:
            self.stack.append(_array(arguments[0], arguments[1], arguments[2], order=arguments[3]))
        elif path == "_codecs.encode" and arguments[1] == "latin1":  # how protocol 2 writes bytes
            self.stack.append(arguments[0].encode("latin1"))
        elif path in ("builtins.bytes", "__builtin__.bytes") and arguments == ():
            self.stack.append(b"")
        elif path in ("copyreg._reconstructor", "copy_reg._reconstructor") and isinstance(arguments[0], Name):
            self.stack.append(Opaque(arguments[0].path))  # how protocols 0 and 1 make an object
        else:
            self.stack.append(Opaque(path, arguments))

    def _build(self, target: Any, state: Any) -> None:
        if isinstance(target, np.dtype):
            order: Any = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
            built: Any = target.newbyteorder(order) if order in ("<", ">") else target
        elif isinstance(target, Opaque) and target.kind in _ARRAYS:
            _, shape, dtype, is_fortran, data = state
            built = _array(data, dtype, shape, order="F" if is_fortran else "C")
        elif isinstance(target, Opaque):
            target.state = state
            built = target
        else:
            raise ValueError("a state is given to what has none")
        # What the memo has of it is an empty array, or one of the other byte order, where it is put before it is built.
        for key, value in self._memo.items():
            if value is target:
                self._memo[key] = built
        self.stack.append(built)


def _array(data: Any, dtype: Any, shape: Any, *, order: str = "C") -> Any:
    if not isinstance(dtype, np.dtype) or not isinstance(data, bytes | bytearray) or order not in ("C", "F"):
        raise InputError("expected arrays of numbers. Got some of objects.")
    if not isinstance(shape, tuple) or len(shape) > 8 or not all(isinstance(side, int) and side >= 0 for side in shape):
        raise InputError(f"expected arrays of a shape. Got {short(shape)}.")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise InputError(f"expected {math.prod(shape)} numbers in an array. Got {len(data)} bytes.")
    return np.frombuffer(bytes(data), dtype).reshape(shape, order="F" if order == "F" else "C")
