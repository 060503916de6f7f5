"""An archive of Stable-Baselines3's DQN or SB3-Contrib's QR-DQN: its network. Reads tensors and plain JSON, no other pickle."""

import re
from typing import Any, NamedTuple

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.foreign_files import Array, open_archive, read_json_member, read_member, short
from edgedqn.agents.importing.layer_writer import LayerWriter, known_activation
from edgedqn.agents.importing.torch_tensors import Tensors, read_tensors
from edgedqn.agents.networks import NATURE

DATA, WEIGHTS = "data", "policy.pth"

# What `policy_kwargs` may say; how it was trained does not matter any more, and the shapes are read from the weights.
_PASSED_OVER = ("net_arch", "n_quantiles", "optimizer_class", "optimizer_kwargs", ":type:", ":serialized:")
_ACTIVATIONS = ("ReLU", "Tanh", "LeakyReLU", "ELU", "Sigmoid", "SiLU", "GELU", "Softplus", "SELU", "ReLU6")
_EXTRACTORS = tuple(f"<class 'stable_baselines3.common.torch_layers.{name}'>" for name in ("FlattenExtractor", "NatureCNN"))
_PARTS = {"stable_baselines3.dqn.policies": "q_net", "sb3_contrib.qrdqn.policies": "quantile_net"}
_OTHERS = {
    "stable_baselines3.common.policies": "PPO or A2C",
    "stable_baselines3.td3.policies": "TD3 or DDPG",
    "stable_baselines3.sac.policies": "SAC",
    "sb3_contrib.common.maskable.policies": "MaskablePPO",
    "sb3_contrib.common.recurrent.policies": "RecurrentPPO",
    "sb3_contrib.tqc.policies": "TQC",
    "sb3_contrib.ars.policies": "ARS",
}


def read_sb3_archive(content: bytes) -> tuple[list[Json], dict[str, list[Array]], str]:
    """Reads the Q-network of a DQN, or the quantile network of a QR-DQN, with MlpPolicy or CnnPolicy.

    Returns:
      The layers as `architecture` describes them, their weights by name, and the dtype of the observations. The network takes
      images [H, W, C] where SB3 took [C, H, W], and scales bytes as SB3 does.
    Raises:
      InputError: it is damaged, not of a DQN, or has a part of the user's own.
    """
    archive = open_archive(content)
    data = read_json_member(archive, DATA)
    policy = _read_policy(data)
    space = _observations(data)
    found = read_tensors(read_member(archive, WEIGHTS), f"{WEIGHTS!r} in it")
    tensors = {name: tensor for name, tensor in found.items() if isinstance(tensor, np.ndarray)}
    return (*_network(tensors, space, policy).network, space.dtype)


class _Policy(NamedTuple):
    """What the weights do not show."""

    part: str  # the prefix of the online network's tensors
    activation: str
    normalize: bool  # whether images are divided by 255
    n_actions: int  # of quantiles; 0 where there are none


def _read_policy(data: Json) -> _Policy:
    """Refuses a policy that is not understood."""
    policy: Any = data.get("policy_class")
    arguments: Any = data.get("policy_kwargs")
    module = policy.get("__module__") if isinstance(policy, dict) else None
    if module not in _PARTS:
        other = f", of {_job(module, data)}" if module in _OTHERS else ""
        raise InputError(f"expected a policy of {' or '.join(_PARTS)}. Got one of {short(module)}{other}.")
    require(isinstance(arguments, dict), f"expected policy_kwargs. Got {short(arguments)}.")
    normalize, activation, part = True, "relu", _PARTS[module]
    for key, value in arguments.items():
        if key == "normalize_images" and isinstance(value, bool):
            normalize = value
        elif key == "activation_fn":
            found = re.fullmatch(r"<class 'torch\.nn\.modules\.activation\.(\w+)'>", str(value))
            if not found or found[1] not in _ACTIVATIONS:
                raise InputError(f"expected an activation of {', '.join(_ACTIVATIONS)}. Got {short(value)}.")
            activation = known_activation(found[1])
        elif key == "features_extractor_class" and value not in _EXTRACTORS:
            raise InputError(f"expected the features extractor NatureCNN, or none. Got {short(value)}.")
        elif key == "features_extractor_kwargs" and not (isinstance(value, dict) and set(value) <= {"features_dim"}):
            raise InputError(f"expected no features_extractor_kwargs but features_dim. Got {short(value)}.")
        elif key not in (*_PASSED_OVER, "features_extractor_class", "features_extractor_kwargs"):
            raise InputError(f"a setting in policy_kwargs is not understood: {short(key)}={short(value)}.")
    return _Policy(part, activation, normalize, _action_count(data) if part == "quantile_net" else 0)


def _job(module: str, data: Json) -> str:
    """Names another algorithm, and says what its policy can do here."""
    algorithm = _OTHERS[module]
    if "TD3" in algorithm and "policy_delay" in data:
        algorithm = "DDPG" if (data["policy_delay"], data.get("target_noise_clip")) == (1, 0.0) else "TD3"
    elif "PPO or" in algorithm and "gae_lambda" in data:
        algorithm = "PPO" if "clip_range" in data else "TRPO" if "cg_max_steps" in data else "A2C"
    space: Any = data.get("action_space")
    if not isinstance(space, dict) or not str(space.get(":type:")).endswith(".Discrete'>"):
        return f"{algorithm}: its network gives no Q-values"
    act = f"model = {algorithm}.load('...'); def act(x): return model.predict(x, deterministic=True)[0]"
    return (
        f"{algorithm}: its network gives no Q-values, but can teach one. {act}; edgedqn import module:act ENV_ID --gives action"
    )


def _action_count(data: Json) -> int:
    space: Any = data.get("action_space")
    count = str(space.get("n")) if isinstance(space, dict) else ""
    if not re.fullmatch(r"[1-9]\d{0,5}", count):
        raise InputError(f"expected a Discrete action space. Got {short(space)}.")
    return int(count)


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


def _network(tensors: Tensors, space: _Space, policy: _Policy) -> LayerWriter:
    own = {name.removeprefix(f"{policy.part}."): each for name, each in tensors.items() if name.startswith(f"{policy.part}.")}
    writer = LayerWriter()
    shape = space.shape
    if space.image:
        shape = _channels_last(shape, own.get("features_extractor.cnn.0.weight"))
        if np.argmin(shape) == 0:  # by SB3's own rule it has transposed nothing
            raise InputError(f"its environment has images channels first, {space.shape}: expected channels last.")
    writer.add("InputLayer", "observation", shape=list(shape))
    if space.image and policy.normalize:
        writer.add("Rescaling", "image_scale", scale=1 / 255, offset=0.0)
    flattened = None
    if "features_extractor.cnn.0.weight" in own:
        require(space.image, f"expected a CnnPolicy to see images of bytes. Got observations {shape} of {space.dtype}.")
        for i, (filters, size, stride) in enumerate(NATURE):
            weight, bias = _take(own, f"features_extractor.cnn.{2 * i}", 4)  # [out, in, height, width]
            if weight.shape[0] != filters or weight.shape[2:] != (size, size):
                raise InputError(f"convolution {i} is {weight.shape}: expected NatureCNN's {filters} filters of {size}x{size}.")
            writer.convolution(weight, bias, name=f"conv_{i}", activation="relu", stride=stride)
            shape = (*((side - size) // stride + 1 for side in shape[:2]), filters)
        writer.add("Flatten", "flatten")
        weight, bias = _take(own, "features_extractor.linear.0", 2)
        writer.linear(weight, bias, name="features", activation="relu", flattened=shape)
    elif len(shape) > 1:
        writer.add("Flatten", "flatten")
        flattened = shape if space.image else None
    depth = sum(1 for name in own if re.fullmatch(rf"{policy.part}\.\d+\.weight", name))
    for i in range(depth):
        weight, bias = _take(own, f"{policy.part}.{2 * i}", 2)
        is_last = i == depth - 1
        if is_last and policy.n_actions:  # SB3's is [N, A], ours [A, N]
            weight, bias = (_by_action(each, policy.n_actions) for each in (weight, bias))
        activation, name = ("linear", "q_values") if is_last else (policy.activation, f"hidden_{i}")
        writer.linear(weight, bias, name=name, activation=activation, flattened=flattened)
        flattened = None
    strange = [name for name in tensors if not name.startswith((f"{policy.part}.", f"{policy.part}_target."))] + list(own)
    if strange or not depth:
        raise InputError(
            f"expected the {policy.part} of a DQN with MlpPolicy or CnnPolicy. Got {short(strange or list(tensors))}."
        )
    if policy.n_actions:
        writer.add("Reshape", "quantiles", target_shape=[policy.n_actions, len(weight) // policy.n_actions])
    return writer


def _channels_last(shape: tuple[int, ...], kernel: Array | None) -> tuple[int, ...]:
    """[H, W, C] of images as the archive has them: channels first, as SB3's VecTransposeImage leaves them, or not yet."""
    if kernel is not None and kernel.ndim == 4 and shape[0] != kernel.shape[1] == shape[2]:
        return shape
    return (shape[1], shape[2], shape[0])


def _by_action(tensor: Array, n_actions: int) -> Array:
    """[N * A, ...] -> [A * N, ...]."""
    if len(tensor) % n_actions:
        raise InputError(f"expected as many quantiles of each of {n_actions} actions. Got {len(tensor)} in all.")
    return tensor.reshape(-1, n_actions, *tensor.shape[1:]).swapaxes(0, 1).reshape(tensor.shape)


def _take(tensors: Tensors, source: str, rank: int) -> tuple[Array, Array]:
    try:
        weight, bias = tensors.pop(f"{source}.weight"), tensors.pop(f"{source}.bias")
    except KeyError as error:
        raise InputError(f"expected {error} in {WEIGHTS!r}. Got {short(list(tensors))}.") from error
    if weight.ndim != rank or bias.shape != weight.shape[:1]:
        raise InputError(f"{source!r} in it is {weight.shape} and {bias.shape}: expected a kernel of rank {rank} and its bias.")
    return weight, bias
