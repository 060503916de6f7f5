"""A state dict of PyTorch: tensors by name, from which a Q-network of linear layers and convolutions is put together.

The file holds no more than that. What it does not say is assumed as most people have it, or asked for: the activation is a
ReLU, convolutions do not pad, and their strides are known for the two networks that everybody uses. What was assumed is told.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.foreign_files import Array, Network, short
from edgedqn.agents.importing.layer_writer import LayerWriter, known_activation, order_of
from edgedqn.agents.importing.torch_networks import ADVANTAGE, VALUE, is_called, one_network, passed_over
from edgedqn.agents.importing.torch_tensors import ONNX_LINES, Tensors, read_tensors
from edgedqn.agents.networks import NATURE

_MINATAR = ((16, 3, 1),)  # filters, size and stride
_NOISE = ("weight_sigma", "bias_sigma", "weight_epsilon", "bias_epsilon")  # of a noisy layer, beside the means that it plays by
ADVICE = f"Make an ONNX file of the model: {ONNX_LINES}"


class StateDict(NamedTuple):
    """What was read."""

    network: Network
    assumed: tuple[str, ...]  # what the file does not say, in words
    dtype: str | None  # of the observations, where the network is known to take bytes


class _Module(NamedTuple):
    """One layer of PyTorch."""

    name: str
    weight: Array  # [out, in], or [out, in, height, width]
    bias: Array | None


def read_state_dict(
    content: bytes, *, activation: str = "relu", part: str | None = None, strides: Sequence[int] | None = None
) -> StateDict:
    """Reads a `.pt`, `.pth` or `.cleanrl_model` file.

    Args:
      content: of the file.
      activation: of the hidden layers.
      part: the prefix of the network's tensors, where the file holds several networks.
      strides: one of each convolution.
    Raises:
      InputError: it is damaged, holds an object, or what it holds can be understood in more than one way; with the names.
    """
    activation = known_activation(activation)
    found = read_tensors(content, "the file")
    tensors, assumed = one_network(found, part)
    modules = _modules(tensors)
    _check_modules(modules)
    assumed += passed_over(found, tensors, inputs=modules[0].weight.shape[1])
    assumed += [f"a {activation} behind each hidden layer", order_of({each.name: each.weight for each in modules})]
    if any(name.endswith("weight_mu") for name in tensors):
        assumed += ["noisy layers at their means"]
    convolutions = [each for each in modules if each.weight.ndim == 4]
    linears = [each for each in modules if each.weight.ndim == 2]
    writer, image, dtype = LayerWriter(), None, None
    trunk, value, advantage = _streams(linears)
    first = [*trunk, *value][0]
    table = next((each for each in linears if "emb" in each.name.lower()), None)
    if table or (first.bias is None and not convolutions):
        raise InputError(
            f"{(table or first).name!r} may be a Linear, or the table of an Embedding, whose rows are looked up: expected a "
            f"bias in the first layer. {_listed(linears)}. {ADVICE}."
        )
    if convolutions:
        require(
            modules[: len(convolutions)] == convolutions, f"expected convolutions before linear layers. {_listed(modules)}."
        )
        image, dtype, told = _write_convolutions(writer, convolutions, first, strides=strides, activation=activation)
        assumed += told
    else:
        require(strides is None, "expected strides where there are convolutions. Got none of those.")
        writer.add("InputLayer", "observation", shape=[first.weight.shape[1]])
    _write_head(writer, (trunk, value, advantage), activation=activation, image=image)
    if advantage:
        assumed += ["Q = V + A - mean A of the two streams"]
    return StateDict(writer.network, tuple(assumed), dtype)


def _modules(tensors: Tensors) -> list[_Module]:
    found: dict[str, dict[str, Array]] = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        if kind not in _NOISE:
            found.setdefault(module, {})[kind.removesuffix("_mu")] = tensor
    modules = []
    for module, own in found.items():
        weight, bias = own.pop("weight", None), own.pop("bias", None)
        if own or weight is None or weight.ndim not in (2, 4) or (bias is not None and bias.shape != weight.shape[:1]):
            kinds = {**own, "weight": weight, "bias": bias}
            got = ", ".join(f"{kind} {each.shape}" for kind, each in kinds.items() if each is not None)
            raise InputError(
                f"expected weight and bias of linear layers and 2D convolutions. Got {short(module)} of {got}. {ADVICE}."
            )
        modules.append(_Module(module, weight, bias))
    return modules


def _listed(modules: Sequence[_Module]) -> str:
    return "Got " + ", ".join(f"{each.name} {list(each.weight.shape)}" for each in modules[:12])


def _check_modules(modules: Sequence[_Module]) -> None:
    kernels = [each for each in modules if each.weight.ndim == 2]
    require(bool(kernels), f"expected a linear layer at the end. {_listed(modules) if modules else 'Got no layers'}.")
    empty = [each.name for each in modules if 0 in each.weight.shape]
    require(not empty, f"expected numbers in each tensor. Got none in {short(empty)}.")


def _streams(linears: list[_Module]) -> tuple[list[_Module], list[_Module], list[_Module]]:
    """What is common, and the streams of the value and of the advantages, both empty where there are none."""
    advantage = [each for each in linears if is_called(ADVANTAGE, each.name)]
    value = [each for each in linears if is_called(VALUE, each.name) and each not in advantage]
    if not value and not any("adv" in each.name.lower() for each in advantage):
        advantage = []  # "a" alone is a name like any other
    if not advantage:
        if linears[-1].weight.shape[0] == 1:
            raise InputError(f"it has one output: the value of a state ranks no actions. {_listed(linears)}.")
        return linears, [], []
    ends = (value[-1].weight.shape[0] if value else 0, advantage[-1].weight.shape[0])
    if ends[0] != 1 or ends[1] == 1 or len(value) != len(advantage):
        raise InputError(
            f"expected a value and the advantages of a dueling network by their names. {_listed(linears)}. {ADVICE}."
        )
    trunk = [each for each in linears if each not in advantage and each not in value]
    return trunk, value, advantage


def _write_convolutions(
    writer: LayerWriter, convolutions: list[_Module], first: _Module, *, strides: Sequence[int] | None, activation: str
) -> tuple[tuple[int, ...], str | None, list[str]]:
    """Writes everything up to the Flatten. Returns the shape before that, the dtype of observations, and what was assumed."""
    shapes = tuple((each.weight.shape[0], *each.weight.shape[2:]) for each in convolutions)
    is_nature = shapes == tuple((filters, size, size) for filters, size, _ in NATURE)
    if strides is None:
        known = [each for each in (NATURE, _MINATAR) if shapes == tuple((filters, size, size) for filters, size, _ in each)]
        if not known:
            raise InputError(
                f"a file of tensors does not say its convolutions' strides: give strides=. {_listed(convolutions)}."
            )
        strides = [stride for *_, stride in known[0]]
    if len(strides) != len(convolutions) or not all(1 <= stride <= 64 for stride in strides):
        raise InputError(f"expected {len(convolutions)} strides, one of each convolution. Got {short(tuple(strides))}.")
    filters, inputs = shapes[-1][0], first.weight.shape[1]
    side = math.isqrt(inputs // filters)
    if side < 1 or side * side * filters != inputs:
        raise InputError(f"{first.name!r} has {inputs} inputs: expected a square image of {filters} channels. {ADVICE}.")
    sides = [side, side]
    for each, stride in zip(reversed(convolutions), reversed(strides), strict=True):
        sides = [(out - 1) * stride + window for out, window in zip(sides, each.weight.shape[2:], strict=True)]
    channels = convolutions[0].weight.shape[1]
    assumed = [f"images of {sides[0]}x{sides[1]}, strides of {', '.join(map(str, strides))}, no padding"]
    writer.add("InputLayer", "observation", shape=[*sides, channels])
    if is_nature:
        assumed += ["bytes that the network divides by 255"]
        writer.add("Rescaling", "image_scale", scale=1 / 255, offset=0.0)
    for i, (each, stride) in enumerate(zip(convolutions, strides, strict=True)):
        if each.weight.shape[1] != channels:
            raise InputError(f"{each.name!r} takes {each.weight.shape[1]} channels: expected {channels}. {ADVICE}.")
        writer.convolution(each.weight, each.bias, name=f"conv_{i}", activation=activation, stride=stride)
        channels = each.weight.shape[0]
    writer.add("Flatten", "flatten")
    return (side, side, filters), "uint8" if is_nature else None, assumed


def _write_head(
    writer: LayerWriter,
    streams: tuple[list[_Module], list[_Module], list[_Module]],
    *,
    activation: str,
    image: tuple[int, ...] | None,
) -> None:
    """Writes the linear layers; the first of them stands on an `image` where there is one."""
    trunk, value, advantage = streams
    width = (trunk or value)[0].weight.shape[1]
    for i, each in enumerate(trunk):
        _check_follows(each, width, trunk)
        is_last = i == len(trunk) - 1 and not advantage
        name, behind = ("q_values", "linear") if is_last else (f"hidden_{i}", activation)
        writer.linear(each.weight, each.bias, name=name, activation=behind, flattened=image)
        width, image = each.weight.shape[0], None
    fork, ends = (writer.at, width, image), []
    for stream, label in ((value, "value"), (advantage, "advantage")):
        writer.at, width, image = fork
        for i, each in enumerate(stream):
            _check_follows(each, width, stream)
            name, behind = (label, "linear") if i == len(stream) - 1 else (f"{label}_{i}", activation)
            writer.linear(each.weight, each.bias, name=name, activation=behind, flattened=image)
            width, image = each.weight.shape[0], None
        ends.append(writer.at)
    if advantage:
        n_actions = advantage[-1].weight.shape[0]
        writer.layers.append(
            {"layer": "DuelingMerge", "name": "q_values", "inputs": ends, "n_actions": n_actions, "quantiles": 0}
        )


def _check_follows(module: _Module, width: int, modules: list[_Module]) -> None:
    if module.weight.shape[1] != width:
        raise InputError(
            f"{module.name!r} takes {module.weight.shape[1]} numbers: expected {width}, as the layer before it gives. "
            f"{_listed(modules)}. Where these are several networks, choose with part=; else {ADVICE[0].lower()}{ADVICE[1:]}."
        )
