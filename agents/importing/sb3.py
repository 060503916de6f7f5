"""A DQN archive of Stable-Baselines3: its Q-network. Reads tensors and plain JSON, never a pickled object.

PyTorch's kernels are [out, in] and [out, in, height, width], its images channels first; Keras has both the other way round.
"""

import importlib
import io
import re
import zipfile
from typing import Any, NamedTuple

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, Network, open_archive, read_json_member, read_member, short
from edgedqn.agents.networks import NATURE

DATA, WEIGHTS = "data", "policy.pth"
LEAST_TORCH = (2, 10)  # before, a crafted file got past weights_only: CVE-2025-32434 and CVE-2026-24747

# What `policy_kwargs` may say; how it was trained does not matter any more, and the shapes are read from the weights.
_PASSED_OVER = ("net_arch", "optimizer_class", "optimizer_kwargs", ":type:", ":serialized:")
_RELU = "<class 'torch.nn.modules.activation.ReLU'>"
_EXTRACTORS = tuple(f"<class 'stable_baselines3.common.torch_layers.{name}'>" for name in ("FlattenExtractor", "NatureCNN"))


def read_sb3_archive(content: bytes) -> tuple[list[Json], dict[str, list[Array]], str]:
    """Reads the Q-network of a DQN with MlpPolicy or CnnPolicy.

    Returns:
      The layers as `architecture` describes them, their weights by name, and the dtype of the observations. The network takes
      images [H, W, C] where SB3 took [C, H, W], and scales bytes as SB3 does.
    Raises:
      InputError: it is damaged, not of a DQN, or has a part of the user's own.
    """
    archive = open_archive(content)
    data = read_json_member(archive, DATA)
    normalize = _check_policy(data)
    space = _observations(data)
    tensors = _tensors(read_member(archive, WEIGHTS))
    return (*_network(tensors, space, normalize), space.dtype)


def _check_policy(data: Json) -> bool:
    """Refuses what the weights would not show; returns whether images are divided by 255."""
    policy: Any = data.get("policy_class")
    arguments: Any = data.get("policy_kwargs")
    module = policy.get("__module__") if isinstance(policy, dict) else None
    if module != "stable_baselines3.dqn.policies":
        raise InputError(f"expected a policy of stable_baselines3.dqn.policies. Got one of {short(module)}.")
    require(isinstance(arguments, dict), f"expected policy_kwargs. Got {short(arguments)}.")
    normalize = True
    for key, value in arguments.items():
        if key == "normalize_images" and isinstance(value, bool):
            normalize = value
        elif key == "activation_fn" and value != _RELU:
            raise InputError(f"expected the activation ReLU, which is SB3's default for DQN. Got {short(value)}.")
        elif key == "features_extractor_class" and value not in _EXTRACTORS:
            raise InputError(f"expected the features extractor NatureCNN, or none. Got {short(value)}.")
        elif key == "features_extractor_kwargs" and not (isinstance(value, dict) and set(value) <= {"features_dim"}):
            raise InputError(f"expected no features_extractor_kwargs but features_dim. Got {short(value)}.")
        elif key not in (*_PASSED_OVER, "activation_fn", "features_extractor_class", "features_extractor_kwargs"):
            raise InputError(f"a setting in policy_kwargs is not understood: {short(key)}={short(value)}.")
    return normalize


class _Space(NamedTuple):
    """Observations as the network got them: images [C, H, W], the number of a state one-hot."""

    shape: tuple[int, ...]
    dtype: str
    image: bool  # whether SB3 takes them for images: channels first, and divided by 255


def _observations(data: Json) -> _Space:
    space: Any = data.get("observation_space")
    require(isinstance(space, dict), f"expected an observation space. Got {short(space)}.")
    kind = re.fullmatch(r"<class 'gym(?:nasium)?\.spaces\.\w+\.(\w+)'>", str(space.get(":type:")))
    try:
        if kind and kind[1] == "Discrete":
            return _Space((int(space["n"]),), str(space["dtype"]), False)
        sizes = "_shape" if "_shape" in space else "shape"  # as an old gym wrote it
        if kind and kind[1] == "Box" and 1 <= len(space[sizes]) <= 3:
            shape, dtype = tuple(int(size) for size in space[sizes]), str(space["dtype"])
            bounds = [set(re.findall(r"-?\d+", str(space[bound]))) for bound in ("low", "high")]  # printed arrays
            return _Space(shape, dtype, len(shape) == 3 and dtype == "uint8" and bounds == [{"0"}, {"255"}])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"its observation space is not understood: {error!r}.") from error
    raise InputError(f"expected observations of a Box of rank 1 to 3, or Discrete. Got {short(space.get(':type:'))}.")


def _tensors(content: bytes) -> dict[str, Array]:
    """The state dict in `policy.pth`, as float32 arrays."""
    members = open_archive(content).infolist()  # PyTorch's formats before 1.6 are none
    if not content.startswith(b"PK\x03\x04"):  # an archive behind something else, which PyTorch would read instead
        raise InputError(
            f"{WEIGHTS!r} in it does not begin as an archive: expected tensors as PyTorch 1.6 or newer saves them."
        )
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > len(content):
        raise InputError(f"{WEIGHTS!r} in it is packed: expected stored tensors.")
    torch = _import_torch()
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # a pickled object, or damage: PyTorch has many exceptions for both
        reason = str(error).strip().splitlines() or [repr(error)]
        raise InputError(f"{WEIGHTS!r} in it holds more than tensors, or is damaged: {reason[0][:200]}") from error
    require(isinstance(state, dict), f"expected {WEIGHTS!r} to hold a state dict. Got a {type(state).__name__}.")
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or type(tensor) is not torch.Tensor:
            raise InputError(f"expected tensors by name. Got {short(name)}: {type(tensor).__name__}.")
        # A view may claim to be larger than what it lies on.
        if tensor.dtype != torch.float32 or tensor.layout != torch.strided or not tensor.is_contiguous():
            raise InputError(f"expected {name[:80]!r} to be a plain float32 tensor. Got {tensor.dtype}, {tensor.layout}.")
        arrays[name] = tensor.numpy()
    return arrays


def _import_torch() -> Any:
    try:
        torch = importlib.import_module("torch")
    except ImportError as error:
        raise InputError(f"this needs the extra `sb3`: pip install 'edgedqn[sb3]'. Got: {error}.") from error
    if tuple(int(number) for number in torch.__version__.split(".")[:2]) < LEAST_TORCH:
        raise InputError(f"expected PyTorch {'.'.join(map(str, LEAST_TORCH))} or later to read it. Got {torch.__version__}.")
    return torch


def _network(tensors: dict[str, Array], space: _Space, normalize: bool) -> Network:
    own = {name.removeprefix("q_net."): tensor for name, tensor in tensors.items() if name.startswith("q_net.")}
    builder = _Builder(own)
    shape = space.shape
    if space.image:
        channels, height, width = shape
        shape = (height, width, channels)
        if np.argmin(shape) == 0:  # by SB3's own rule it has transposed nothing
            raise InputError(f"its environment has images channels first, {space.shape}: expected channels last.")
    builder.add("InputLayer", "observation", shape=list(shape))
    if space.image and normalize:
        builder.add("Rescaling", "image_scale", scale=1 / 255, offset=0.0)
    flattened = None
    if "features_extractor.cnn.0.weight" in own:
        require(space.image, f"expected a CnnPolicy to see images of bytes. Got observations {shape} of {space.dtype}.")
        for i, (filters, size, stride) in enumerate(NATURE):
            builder.convolution(f"features_extractor.cnn.{2 * i}", f"conv_{i}", filters=filters, size=size, stride=stride)
            shape = (*((side - size) // stride + 1 for side in shape[:2]), filters)
        builder.add("Flatten", "flatten")
        builder.dense("features_extractor.linear.0", "features", activation="relu", flattened=shape)
    elif len(shape) > 1:
        builder.add("Flatten", "flatten")
        flattened = shape if space.image else None
    depth = sum(1 for name in own if re.fullmatch(r"q_net\.\d+\.weight", name))
    for i in range(depth):
        name, activation = ("q_values", "linear") if i == depth - 1 else (f"hidden_{i}", "relu")
        builder.dense(f"q_net.{2 * i}", name, activation=activation, flattened=flattened)
        flattened = None
    strange = [name for name in tensors if not name.startswith(("q_net.", "q_net_target."))] + list(own)
    if strange or not depth:
        raise InputError(f"expected the q_net of a DQN with MlpPolicy or CnnPolicy. Got {short(strange or list(tensors))}.")
    return builder.layers, builder.weights


class _Builder:
    """Takes tensors one after the other and writes down the layers they belong to."""

    def __init__(self, tensors: dict[str, Array]):
        self._tensors = tensors
        self.layers: list[Json] = []
        self.weights: dict[str, list[Array]] = {}

    def add(self, kind: str, name: str, **settings: Any) -> None:
        inputs = {"inputs": [self.layers[-1]["name"]]} if self.layers else {}
        self.layers.append({"layer": kind, "name": name, **settings, **inputs})

    def dense(self, source: str, name: str, *, activation: str, flattened: tuple[int, ...] | None = None) -> None:
        """A Linear; behind an image [H, W, C] that was `flattened`, whose features SB3 has in the order C, H, W."""
        weight, bias = self._take(source, 2)
        if flattened is not None:
            height, width, channels = flattened
            if weight.shape[1] != height * width * channels:
                raise InputError(f"{source!r} in it has {weight.shape[1]} inputs: expected {height * width * channels}.")
            rows = weight.reshape(-1, channels, height, width)  # [out, C, H, W]
            weight = rows.transpose(0, 2, 3, 1).reshape(len(weight), -1)  # [out, H W C]
        self.add("Dense", name, units=len(weight), activation=activation, use_bias=True)
        self.weights[name] = [np.ascontiguousarray(weight.T), bias]

    def convolution(self, source: str, name: str, *, filters: int, size: int, stride: int) -> None:
        weight, bias = self._take(source, 4)  # [out, in, height, width]
        if weight.shape[0] != filters or weight.shape[2:] != (size, size):
            raise InputError(f"{source!r} in it is {weight.shape}: expected NatureCNN's {filters} filters of {size}x{size}.")
        self.add(
            "Conv2D",
            name,
            filters=filters,
            kernel_size=[size, size],
            strides=[stride, stride],
            padding="valid",
            activation="relu",
            use_bias=True,
        )
        self.weights[name] = [np.ascontiguousarray(weight.transpose(2, 3, 1, 0)), bias]

    def _take(self, source: str, rank: int) -> tuple[Array, Array]:
        try:
            weight, bias = self._tensors.pop(f"{source}.weight"), self._tensors.pop(f"{source}.bias")
        except KeyError as error:
            raise InputError(f"expected {error} in {WEIGHTS!r}. Got {short(list(self._tensors))}.") from error
        if weight.ndim != rank or bias.shape != weight.shape[:1]:
            raise InputError(
                f"{source!r} in it is {weight.shape} and {bias.shape}: expected a kernel of rank {rank} and its bias."
            )
        return weight, bias
