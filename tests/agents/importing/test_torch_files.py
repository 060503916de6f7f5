"""A state dict of PyTorch becomes the network it was of; what it does not say is told, and what is ambiguous is named."""

import importlib.util
import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.torch_files import read_state_dict

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
nn = torch.nn
ACTIVATIONS = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "sigmoid": nn.Sigmoid,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
    "selu": nn.SELU,
    "relu6": nn.ReLU6,
}


def stored(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


def mlp(activation: Any = nn.ReLU, outputs: int = 2) -> Any:
    torch.manual_seed(3)
    layers = [nn.Linear(4, 16), activation(), nn.Linear(16, 8, bias=False), activation(), nn.Linear(8, outputs)]
    return nn.Sequential(OrderedDict(network=nn.Sequential(*layers)))


def cnn(convolutions: Any, side: int, channels: int) -> Any:
    torch.manual_seed(4)
    layers: list[Any] = []
    for filters, size, stride in convolutions:
        layers += [nn.Conv2d(channels, filters, size, stride), nn.ReLU()]
        channels = filters
        side = (side - size) // stride + 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(side * side * channels, 24), nn.ReLU(), nn.Linear(24, 3))


class Dueling(nn.Module):  # type: ignore[misc, name-defined]
    """As tutorials write it."""

    def __init__(self) -> None:
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(4, 16), nn.ReLU())
        self.value_stream = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
        self.advantage_stream = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))

    def forward(self, x: Any) -> Any:
        x = self.feature(x)
        advantage = self.advantage_stream(x)
        return self.value_stream(x) + advantage - advantage.mean(dim=1, keepdim=True)


def compare(content: bytes, network: Any, observations: Any, **options: Any) -> Any:
    """Observations [B, *] as ours take them; images are turned for PyTorch."""
    found = read_state_dict(content, **options)
    for_torch = observations.transpose(0, 3, 1, 2) if observations.ndim == 4 else observations
    with torch.no_grad():
        expected = network(torch.from_numpy(np.ascontiguousarray(for_torch))).numpy()
    got = build(*found.network)(observations).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    return found


VECTORS = np.random.default_rng(0).normal(0, 3, (100, 4)).astype(np.float32)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_linear_layers_compute_what_they_computed(name: str) -> None:
    network = mlp(ACTIVATIONS[name])
    found = compare(stored(network.state_dict()), network, VECTORS, activation=name)
    order = "one layer behind the other, in this order: network.0, network.2, network.4"
    assert found.assumed[0].endswith("behind each hidden layer") and found.assumed[1:] == (order,) and found.dtype is None


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "q_network"])
def test_a_state_dict_among_other_things(key: str) -> None:
    network = mlp()
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "args": {"lr": 0.1}, key: network.state_dict(), "optimizer": optimizer.state_dict()}
    compare(stored(checkpoint), network, VECTORS)


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_other_floating_point_numbers(dtype: str) -> None:
    network = mlp().to(getattr(torch, dtype))
    content = stored(network.state_dict())
    compare(content, network.to(torch.float32), VECTORS)


def test_natures_network_takes_bytes() -> None:
    network = cnn(((32, 8, 4), (64, 4, 2), (64, 3, 1)), 84, 4)
    observations = np.random.default_rng(0).integers(0, 256, (3, 84, 84, 4)).astype(np.float32)
    scaled = nn.Sequential(Scaled(), network)
    found = compare(stored(network.state_dict()), scaled, observations)
    assert found.dtype == "uint8" and "bytes that the network divides by 255" in found.assumed


class Scaled(nn.Module):  # type: ignore[misc, name-defined]
    def forward(self, x: Any) -> Any:
        return x / 255.0


def test_minatars_network_and_given_strides() -> None:
    minatar = cnn(((16, 3, 1),), 10, 4)
    observations = np.random.default_rng(0).random((5, 10, 10, 4), np.float32)
    found = compare(stored(minatar.state_dict()), minatar, observations)
    assert "images of 10x10, strides of 1, no padding" in found.assumed and found.dtype is None
    other = cnn(((6, 4, 2), (8, 3, 1)), 12, 3)
    observations = np.random.default_rng(0).random((5, 12, 12, 3), np.float32)
    with pytest.raises(InputError, match=r"does not say .*: give strides=\. Got 0 \[6, 3, 4, 4\]"):
        read_state_dict(stored(other.state_dict()))
    compare(stored(other.state_dict()), other, observations, strides=(2, 1))
    with pytest.raises(InputError, match=r"expected 2 strides, one of each convolution\. Got \(2,\)"):
        read_state_dict(stored(other.state_dict()), strides=(2,))


def test_a_dueling_head() -> None:
    network = Dueling()
    found = compare(stored(network.state_dict()), network, VECTORS)
    assert "Q = V + A - mean A of the two streams" in found.assumed
    odd = {name.replace("value_stream", "other"): each for name, each in network.state_dict().items()}
    with pytest.raises(InputError, match=r"expected a value and the advantages of a dueling network by their names"):
        read_state_dict(stored(odd))


def test_noisy_layers_play_by_their_means() -> None:
    network = mlp()
    noisy: dict[str, Any] = {}
    for name, tensor in network.state_dict().items():
        noisy |= {f"{name}_mu": tensor, f"{name}_sigma": tensor * 3, f"{name}_epsilon": tensor * 5}
    assert "noisy layers at their means" in compare(stored(noisy), network, VECTORS).assumed


@pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs Stable-Baselines3: the extra peers")
def test_the_policy_of_an_archive_alone() -> None:
    from stable_baselines3 import DQN

    agent = DQN("MlpPolicy", "CartPole-v1", buffer_size=1, seed=0, device="cpu")
    compare(stored(agent.policy.state_dict()), agent.q_net, VECTORS)


class Trap:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.mkdir, (self.path,)


def test_a_whole_module_is_refused_with_the_lines_that_help(tmp_path: Path) -> None:
    for value in (mlp(), Dueling(), {"state_dict": mlp().state_dict(), "model": mlp()}):
        with pytest.raises(
            InputError, match=r"model\.eval\(\); torch\.onnx\.export\(model, torch\.zeros\(1, \.\.\.\)"
        ) as caught:
            read_state_dict(stored(value))
        assert "\n" not in str(caught.value)
    for value in (Trap(tmp_path / "ran"), {"state_dict": mlp().state_dict(), "x": Trap(tmp_path / "ran")}):
        with pytest.raises(InputError, match=r"an object of '(posix|nt)\.mkdir'"):
            read_state_dict(stored(value))
    assert not (tmp_path / "ran").exists()


def test_layers_that_could_be_swapped_are_named() -> None:
    state = {"fc1.weight": torch.ones(8, 4), "fc1.bias": torch.ones(8), "fc3.weight": torch.ones(8, 8)}
    state |= {"fc2.weight": torch.ones(8, 8), "out.weight": torch.ones(2, 8)}
    order = (
        "one layer behind the other, in this order: fc1, fc3, fc2, out; of one shape, so that they could be swapped: fc3, fc2"
    )
    assert order in read_state_dict(stored(state)).assumed


def test_the_table_of_an_embedding_is_no_layer() -> None:
    """Row i is what a Linear makes of the number i one-hot, where its kernel is the other way round."""
    for name in ("emb", "first"):
        state = {f"{name}.weight": torch.ones(16, 16), "fc.weight": torch.ones(4, 16), "fc.bias": torch.ones(4)}
        with pytest.raises(InputError, match=rf"'{name}' may be a Linear, or the table of an Embedding"):
            read_state_dict(stored(state))


ONE = {"fc1.weight": torch.ones(8, 4), "fc1.bias": torch.ones(8)}
TWO = {**ONE, "fc2.weight": torch.ones(2, 8), "fc2.bias": torch.ones(2)}
REFUSED: dict[str, tuple[Any, str]] = {
    "nothing": ({}, r"expected tensors of a network\. Got none"),
    "no tensors": ({"epoch": 3}, "expected tensors of a network"),
    "a list": ([torch.zeros(3)], "to hold a state dict. Got a list"),
    "integers": ({**ONE, "fc2.weight": torch.ones(2, 8, dtype=torch.int64)}, "Got torch.int64"),
    "a value of a state": ({**ONE, "fc2.weight": torch.ones(1, 8)}, "it has one output: the value of a state"),
    "layers that do not follow": (
        {**ONE, "fc2.weight": torch.ones(2, 9)},
        "'fc2' takes 9 numbers: expected 8.*part=",
    ),
    "a normalization": ({**TWO, "norm.weight": torch.ones(8), "norm.bias": torch.ones(8)}, r"Got 'norm' of weight \(8,\)"),
    "a recurrent network": ({"rnn.weight_ih_l0": torch.ones(16, 4)}, r"Got 'rnn' of weight_ih_l0"),
    "a bias alone": ({**TWO, "fc3.bias": torch.ones(2)}, r"Got 'fc3' of bias \(2,\)"),
    "another bias": ({**TWO, "fc2.bias": torch.ones(3)}, r"Got 'fc2' of weight \(2, 8\), bias \(3,\)"),
    "no numbers": ({**ONE, "fc2.weight": torch.ones(0, 8)}, r"expected numbers in each tensor\. Got none in \['fc2'\]"),
    "convolutions alone": ({"c.weight": torch.ones(16, 4, 3, 3)}, "expected a linear layer at the end"),
    "no square": ({"c.weight": torch.ones(16, 4, 3, 3), "f.weight": torch.ones(2, 16 * 6)}, "expected a square image"),
    "a policy of PPO": ({"mlp_extractor.policy_net.0.weight": torch.ones(8, 4)}, "of PPO or A2C"),
    "quantiles alone": ({"quantile_net.quantile_net.0.weight": torch.ones(8, 4)}, r"import the whole \.zip"),
    "a view larger than its data": ({"fc1.weight": torch.zeros(1).expand(2**20, 2**20)}, "to be a plain tensor"),
    "dicts without end": ({"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}, "at most 4 dicts in each other"),
}


@pytest.mark.parametrize(("value", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_in_a_line(value: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_state_dict(stored(value))
    assert "\n" not in str(caught.value)


def test_an_unknown_activation_and_strides_of_nothing() -> None:
    with pytest.raises(InputError, match=r"expected an activation of linear, relu, .* Got 'mish'"):
        read_state_dict(stored(TWO), activation="mish")
    with pytest.raises(InputError, match="expected strides where there are convolutions"):
        read_state_dict(stored(TWO), strides=(1,))


def test_the_state_of_an_optimizer_is_named() -> None:
    network = mlp()
    network(torch.zeros(1, 4)).sum().backward()
    optimizer = torch.optim.Adam(network.parameters())
    optimizer.step()
    with pytest.raises(InputError, match=r"expected tensors of a network\. Got the state of its optimizer"):
        read_state_dict(stored(optimizer.state_dict()))
