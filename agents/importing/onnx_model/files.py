"""An ONNX file as plain values. Parses protocol buffers; runs nothing, and reads no other file but weights beside it."""

import importlib
import math
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.importing.building import LARGEST_ACTIVATION
from edgedqn.agents.importing.foreign_files import leads_outside, read_file, short
from edgedqn.agents.importing.onnx_model.graph import observation_of, translate_graph
from edgedqn.agents.importing.onnx_model.values import Constant, Graph, Node, OnnxModel

MOST_NODES = 2000
LARGEST_TENSOR = 2**28  # numbers
_TYPES = ("FLOAT", "DOUBLE", "FLOAT16", "INT64", "INT32", "BOOL", "UINT8", "INT8")
_OBSERVATIONS = ("FLOAT", "DOUBLE", "UINT8", "INT8", "INT32", "INT64", "BOOL")


def read_onnx(content: bytes, folder: Path, *, part: str | None = None) -> OnnxModel:
    """Reads the Q-network in an ONNX model: one input [B, *] -> Q-values [B, A].

    Args:
      content: of the file.
      folder: where the file lies, and beside it the weights that it may name.
      part: the name of the output, where there are several.
    Raises:
      InputError: it is damaged, or has an operator that no layer here computes; with the operator.
    """
    onnx = _import_onnx()
    model = onnx.ModelProto()
    try:
        model.ParseFromString(content)
    except Exception as error:  # of the protocol buffers' library, which has several
        raise InputError(f"expected an ONNX model. Got {one_line(error)[:200]}.") from error
    graph = model.graph
    require(len(graph.node) > 0, "expected an ONNX model with nodes. Got none.")
    require(len(graph.node) <= MOST_NODES, f"expected at most {MOST_NODES} nodes. Got {len(graph.node)}.")
    require(not graph.sparse_initializer, "expected dense weights. Got sparse ones.")
    store = _Tensors(onnx, folder)
    try:
        constants = {each.name: store.array(each) for each in graph.initializer}
        nodes = [_node(each, store) for each in graph.node]
    except (ValueError, TypeError, KeyError, UnicodeError, OverflowError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"expected an ONNX model. Got {one_line(error)[:200]}.") from error
    observation = _observation(onnx, [each for each in graph.input if each.name not in constants])
    output = _output([each.name for each in graph.output], part)
    translated = Graph(nodes=nodes, constants=constants, output=output, **observation._asdict())
    return OnnxModel(translate_graph(translated), output, observation_of(translated).axes or (0,), observation.dtype)


class _Tensors:
    """Turns tensors into arrays, within bounds."""

    def __init__(self, onnx: ModuleType, folder: Path):
        self._onnx, self._folder = onnx, folder
        self._read: dict[str, bytes] = {}
        self._numbers = 0

    def array(self, tensor: Any) -> Constant:
        types = self._onnx.TensorProto
        kind = types.DataType.Name(tensor.data_type) if tensor.data_type in types.DataType.values() else "unknown"
        what = f"the tensor {short(tensor.name)}"
        require(kind in _TYPES, f"{what} is {kind}: expected {', '.join(_TYPES)}.")
        sizes = list(tensor.dims)
        count = math.prod(sizes)
        self._numbers += count
        if min(sizes, default=0) < 0 or len(sizes) > 8 or self._numbers > LARGEST_TENSOR:
            raise InputError(f"{what} has the shape {sizes}: expected at most {LARGEST_TENSOR:,} numbers in all.")
        if tensor.data_location == types.EXTERNAL:
            dtype = np.dtype(self._onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)).newbyteorder("<")
            array: NDArray[Any] = np.frombuffer(self._external(tensor, count * dtype.itemsize), dtype).reshape(sizes)
        else:
            array = self._onnx.numpy_helper.to_array(tensor)
        return array.astype(np.float32 if kind == "FLOAT16" else array.dtype.newbyteorder("="))

    def _external(self, tensor: Any, size: int) -> bytes:
        """The bytes of a tensor that lie in a file beside the model."""
        settings = {entry.key: entry.value for entry in tensor.external_data}
        place, offset = settings.get("location", ""), settings.get("offset", "0")
        if not place or leads_outside(place) or not offset.isdecimal() or len(offset) > 12:
            raise InputError(f"expected weights in a file beside the model. Got {short(place)}, offset {short(offset)}.")
        length = settings.get("length", str(size))
        require(length == str(size), f"the tensor {short(tensor.name)} has {short(length)} bytes: expected {size}.")
        if place not in self._read:
            self._read[place] = self._file(place)
        part = self._read[place][int(offset) : int(offset) + size]
        require(len(part) == size, f"{short(place)} beside the model ends too early: expected {size} bytes at {offset}.")
        return part

    def _file(self, place: str) -> bytes:
        path = self._folder
        for step in PurePosixPath(place).parts:
            path = path / step
            require(not path.is_symlink(), f"expected weights in a file beside the model. Got a link, {short(place)}.")
        try:
            return read_file(path)
        except InputError as error:
            raise InputError(f"its weights in {short(place)} beside the model cannot be read: {error}") from error


def _node(node: Any, store: _Tensors) -> Node:
    domain = "" if node.domain in ("", "ai.onnx") else f"{node.domain}::"
    attributes: dict[str, object] = {}
    for each in node.attribute:
        attributes[each.name] = _ATTRIBUTES.get(each.type, _other)(each, store)
    return Node(f"{domain}{node.op_type}", tuple(node.input), tuple(node.output), attributes)


class _Unreadable(NamedTuple):
    """An attribute that no operator here has: a graph, a function's reference."""

    type: int


def _other(attribute: Any, store: _Tensors) -> object:
    return _Unreadable(attribute.type)


# By the numbers of AttributeProto.AttributeType.
_ATTRIBUTES: dict[int, Any] = {
    1: lambda each, store: float(each.f),
    2: lambda each, store: int(each.i),
    3: lambda each, store: each.s.decode(),
    4: lambda each, store: store.array(each.t),
    6: lambda each, store: [float(value) for value in each.floats],
    7: lambda each, store: [int(value) for value in each.ints],
}


class _Observation(NamedTuple):
    """The input, as `Graph` has it."""

    observation: str
    shape: tuple[int, ...]
    is_single: bool
    dtype: str


def _observation(onnx: ModuleType, inputs: list[Any]) -> _Observation:
    names = ", ".join(short(each.name) for each in inputs[:5])
    require(len(inputs) == 1, f"expected one input. Got {len(inputs)}: {names}.")
    kind = inputs[0].type.tensor_type
    types = onnx.TensorProto.DataType
    name = types.Name(kind.elem_type) if kind.elem_type in types.values() else "unknown"
    require(name in _OBSERVATIONS, f"its input is {name}: expected {', '.join(_OBSERVATIONS)}.")
    sizes = [int(each.dim_value) for each in kind.shape.dim]  # 0 where it has a name, or nothing
    if not 2 <= len(sizes) <= 4 or min(sizes[1:]) < 1 or math.prod(sizes[1:]) > LARGEST_ACTIVATION:
        raise InputError(f"expected an input [B, *] of a known shape of rank 2 to 4. Got {sizes}.")
    dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)).name
    return _Observation(inputs[0].name, tuple(sizes[1:]), sizes[0] == 1, dtype)


def _output(names: list[str], part: str | None) -> str:
    if part is not None:
        require(part in names, f"expected an output of {', '.join(map(short, names))}. Got part={short(part)}.")
        return part
    if len(names) != 1:
        raise InputError(f"expected one output. Got {len(names)}: choose with part={' or part='.join(map(short, names[:8]))}.")
    return names[0]


def _import_onnx() -> ModuleType:
    try:
        importlib.import_module("onnx.numpy_helper")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise InputError(f"this needs the extra `onnx`: pip install 'edgedqn[onnx]'. Got: {error}.") from error
