"""A policy of CartPole-v1 as other projects write theirs, each by its own library, to be imported. B is the batch."""

import importlib
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.importing.agents import DEFAULTS, ModelOptions

Weights = Sequence[NDArray[np.float32]]  # kernels [in, out] and biases [out] in turn
QValues = Callable[[NDArray[np.float32]], NDArray[np.float32]]  # [B, 4] -> [B, 2]
QUANTILES = 5
FUNCTION = "ppo_policy:probabilities"
FUNCTION_MODULE = '''
"""The policy of PPO beside this file: observations [4] -> probabilities [2]."""

from pathlib import Path

import torch
from stable_baselines3 import PPO

POLICY = PPO.load(Path(__file__).with_name("ppo.zip"), device="cpu").policy


@torch.no_grad()
def probabilities(observation):
    features = POLICY.mlp_extractor.forward_actor(torch.from_numpy(observation))
    return torch.softmax(POLICY.action_net(features), dim=0).numpy()
'''


@dataclass(frozen=True)
class AgentFile:
    """What `import_model` takes, and what it must compute.

    Attributes:
      model: a file, or `module:function`, whose module lies in the folder.
      q_values: of the library that wrote it; of a function the logarithms of its probabilities.
      options: what the file does not say.
    """

    model: str | Path
    q_values: QValues
    options: ModelOptions = DEFAULTS


class Kind(NamedTuple):
    """A kind of file.

    Attributes:
      write: makes it of weights, in an empty folder.
      activation: of the hidden layers, "relu" or "tanh": which of two networks it is made of.
      needs: what must be installed beside `train`, as it is imported.
    """

    write: Callable[[Weights, Path], AgentFile]
    activation: str
    needs: tuple[str, ...]


def read_weights(path: Path) -> dict[str, Weights]:
    """The networks in an `.npz` of `relu_0` to `relu_5` and `tanh_0` to `tanh_5`, by their activation."""
    with np.load(path, allow_pickle=False) as arrays:
        return {name: [arrays[f"{name}_{i}"] for i in range(6)] for name in ("relu", "tanh")}


def write_keras_1(weights: Weights, folder: Path) -> AgentFile:
    """As Keras 1.2.2 laid it out: that needs a Python that is no longer there."""
    import h5py

    names = [f"dense_{i + 1}" for i in range(len(weights) // 2)]
    layers = [_dense_of_keras_1(name, kernel.shape[1]) for name, kernel in zip(names, weights[::2], strict=True)]
    layers[0]["config"] |= {"batch_input_shape": [None, len(weights[0])], "input_dtype": "float32"}
    layers[-1]["config"]["activation"] = "linear"
    path = folder / "keras_1.h5"
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": layers}).encode()
        file.attrs["keras_version"] = b"1.2.2"
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = np.array([name.encode() for name in names])
        for name, kernel, bias in zip(names, weights[::2], weights[1::2], strict=True):
            own = group.create_group(name)
            own.attrs["weight_names"] = np.array([f"{name}_W".encode(), f"{name}_b".encode()])
            own[f"{name}_W"], own[f"{name}_b"] = kernel, bias

    def q_values(x: NDArray[np.float32]) -> NDArray[np.float32]:
        for kernel, bias in zip(weights[:-2:2], weights[1:-2:2], strict=True):
            x = np.maximum(x @ kernel + bias, 0)
        return x @ weights[-2] + weights[-1]

    return AgentFile(path, q_values)


def _dense_of_keras_1(name: str, units: int) -> dict[str, Any]:
    config = {"name": name, "trainable": True, "output_dim": units, "init": "glorot_uniform", "activation": "relu"}
    config |= {"bias": True, "input_dim": None, "W_regularizer": None, "b_regularizer": None, "activity_regularizer": None}
    return {"class_name": "Dense", "config": {**config, "W_constraint": None, "b_constraint": None}}


def write_keras_2_h5(weights: Weights, folder: Path) -> AgentFile:
    import tf_keras

    return _write_keras(tf_keras, weights, folder / "keras_2.h5")


def write_keras_2(weights: Weights, folder: Path) -> AgentFile:
    import tf_keras

    return _write_keras(tf_keras, weights, folder / "keras_2.keras")


def write_keras_3(weights: Weights, folder: Path) -> AgentFile:
    return _write_keras(importlib.import_module("keras"), weights, folder / "keras_3.keras")


def _write_keras(keras: Any, weights: Weights, path: Path) -> AgentFile:
    hidden = [keras.layers.Dense(bias.size, "relu") for bias in weights[1:-2:2]]
    model = keras.Sequential([keras.Input((len(weights[0]),)), *hidden, keras.layers.Dense(weights[-1].size)])
    model.set_weights(weights)
    model.compile("adam", "mse")
    model.save(path)
    return AgentFile(path, lambda x: np.asarray(model(x)))


def write_onnx(weights: Weights, folder: Path) -> AgentFile:
    """By the exporter that PyTorch had first."""
    return _export(weights, folder / "traced.onnx", {"dynamic_axes": {"observation": {0: "batch"}}, "dynamo": False})


def write_dynamo_onnx(weights: Weights, folder: Path) -> AgentFile:
    """By the exporter that PyTorch has now."""
    import torch

    shapes = ({0: torch.export.Dim("batch", min=1)},)
    return _export(weights, folder / "dynamo.onnx", {"dynamic_shapes": shapes, "dynamo": True, "verbose": False})


def _export(weights: Weights, path: Path, settings: dict[str, Any]) -> AgentFile:
    import torch

    network = _torch_network(weights)
    torch.onnx.export(network, (torch.zeros(2, len(weights[0])),), str(path), input_names=["observation"], **settings)
    return AgentFile(path, _computed(network))


def write_cleanrl(weights: Weights, folder: Path) -> AgentFile:
    """As CleanRL's dqn.py saves its QNetwork."""
    import torch

    network, path = _torch_network(weights), folder / "dqn.cleanrl_model"
    torch.save(OrderedDict((f"network.{name}", tensor) for name, tensor in network.state_dict().items()), path)
    return AgentFile(path, _computed(network))


def write_state_dict(weights: Weights, folder: Path) -> AgentFile:
    """With the names of PyTorch's DQN tutorial."""
    import torch

    network, path = _torch_network(weights), folder / "dqn.pth"
    linears = [layer for layer in network if isinstance(layer, torch.nn.Linear)]
    state = {f"layer{i + 1}.{name}": each for i, linear in enumerate(linears) for name, each in linear.state_dict().items()}
    torch.save(OrderedDict(state), path)
    return AgentFile(path, _computed(network), ModelOptions(activation="relu"))


def _torch_network(weights: Weights) -> Any:
    import torch

    layers: list[Any] = []
    for kernel, bias in zip(weights[::2], weights[1::2], strict=True):
        linear = torch.nn.Linear(*kernel.shape)
        linear.load_state_dict({"weight": torch.tensor(kernel.T), "bias": torch.tensor(bias)})
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1]).eval()


def _computed(network: Any) -> QValues:
    import torch

    return torch.no_grad()(lambda x: network(torch.from_numpy(x)).numpy())


def write_sb3_tanh(weights: Weights, folder: Path) -> AgentFile:
    import torch

    agent, path = _sb3_dqn(weights, torch.nn.Tanh), folder / "sb3_tanh.zip"
    agent.save(path)
    return AgentFile(path, _computed(agent.q_net))


def write_qr_dqn(weights: Weights, folder: Path) -> AgentFile:
    """An archive of SB3's DQN, changed to what SB3-Contrib 2.9 writes: that is not among what the tests install."""
    import torch

    path, widths = folder / "qr_dqn.zip", np.linspace(-1, 1, QUANTILES, dtype=np.float32)
    _sb3_dqn(weights, torch.nn.ReLU).save(path)
    *first, kernel, bias = weights
    # Its output is viewed as [B, N, A]: the quantiles of a state lie around its Q-values.
    network = _torch_network([*first, np.tile(kernel, QUANTILES), (widths[:, None] + bias).ravel()])
    state = {
        f"{part}.quantile_net.{name}": each
        for part in ("quantile_net", "quantile_net_target")
        for name, each in network.state_dict().items()
    }
    content = io.BytesIO()
    torch.save(OrderedDict(state), content)
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    data = json.loads(members["data"])
    data["policy_class"]["__module__"] = "sb3_contrib.qrdqn.policies"
    data["policy_kwargs"]["n_quantiles"] = QUANTILES
    members |= {"data": json.dumps(data).encode(), "policy.pth": content.getvalue()}
    with zipfile.ZipFile(path, "w") as file:
        for name, each in members.items():
            file.writestr(name, each)
    return AgentFile(path, lambda x: _computed(network)(x).reshape(-1, QUANTILES, bias.size).mean(axis=1))


def _sb3_dqn(weights: Weights, activation: Any) -> Any:
    from stable_baselines3 import DQN

    settings = {"net_arch": [bias.size for bias in weights[1:-2:2]], "activation_fn": activation}
    agent = DQN("MlpPolicy", "CartPole-v1", buffer_size=1, device="cpu", policy_kwargs=settings)
    agent.q_net.q_net.load_state_dict(_torch_network(weights).state_dict())
    return agent


def write_ppo(weights: Weights, folder: Path) -> AgentFile:
    """Weights as the actor of SB3's PPO, and a module with a function of it."""
    import torch
    from stable_baselines3 import PPO

    settings = {"net_arch": [bias.size for bias in weights[1:-2:2]], "activation_fn": torch.nn.Tanh}
    agent = PPO("MlpPolicy", "CartPole-v1", device="cpu", policy_kwargs=settings)
    *hidden, last = [layer for layer in _torch_network(weights) if isinstance(layer, torch.nn.Linear)]
    for theirs, ours in zip(agent.policy.mlp_extractor.policy_net[::2], hidden, strict=True):
        theirs.load_state_dict(ours.state_dict())
    with torch.no_grad():
        last.bias -= last.bias.mean()  # its softmax sees differences alone, and those of small numbers exactly
    agent.policy.action_net.load_state_dict(last.state_dict())
    return save_ppo(agent, folder)


def save_ppo(agent: Any, folder: Path) -> AgentFile:
    """An agent of SB3's PPO, and a module beside it with a function of it."""
    import torch

    agent.save(folder / "ppo.zip")
    (folder / f"{FUNCTION.partition(':')[0]}.py").write_text(FUNCTION_MODULE.lstrip())
    logits = torch.no_grad()(lambda x: agent.policy.get_distribution(torch.from_numpy(x)).distribution.logits.numpy())
    return AgentFile(FUNCTION, logits, ModelOptions(gives="probabilities"))


KINDS: Mapping[str, Kind] = {
    "Keras 1, .h5": Kind(write_keras_1, "relu", ()),
    "Keras 2, .h5": Kind(write_keras_2_h5, "relu", ()),
    "Keras 2, .keras": Kind(write_keras_2, "relu", ()),
    "Keras 3, .keras": Kind(write_keras_3, "relu", ("keras",)),
    "ONNX, PyTorch's first exporter": Kind(write_onnx, "relu", ("torch", "onnx")),
    "ONNX, PyTorch's dynamo exporter": Kind(write_dynamo_onnx, "relu", ("torch", "onnx", "onnxscript")),
    "CleanRL, .cleanrl_model": Kind(write_cleanrl, "relu", ("torch",)),
    "PyTorch state dict, .pth": Kind(write_state_dict, "relu", ("torch",)),
    "SB3's DQN with tanh, .zip": Kind(write_sb3_tanh, "tanh", ("torch", "stable_baselines3")),
    "SB3-Contrib's QR-DQN, .zip": Kind(write_qr_dqn, "relu", ("torch", "stable_baselines3")),
    "SB3's PPO as a function": Kind(write_ppo, "tanh", ("torch", "stable_baselines3")),
}
