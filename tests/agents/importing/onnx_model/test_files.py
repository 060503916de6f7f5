"""ONNX models of PyTorch's two exporters compute the same here; damaged and planted files are bad input."""

import importlib.util
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.onnx_model import files
from edgedqn.agents.importing.onnx_model.files import read_onnx

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
onnx = pytest.importorskip("onnx", reason="needs ONNX: the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: the extra peers")
nn = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore")  # the exporters' own
HAS_DYNAMO = importlib.util.find_spec("onnxscript") is not None
EXPORTERS = [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_DYNAMO, reason="needs onnxscript"))]


class Dueling(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self, *, centred_first: bool) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(4, 16), nn.ReLU())
        self.value = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 1))
        self.advantage = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
        self.centred_first = centred_first

    def forward(self, x: Any) -> Any:
        x = self.trunk(x)
        value, advantage = self.value(x), self.advantage(x)
        mean = advantage.mean(dim=1, keepdim=True)
        return value + (advantage - mean) if self.centred_first else value + advantage - mean


class Residual(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(4, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.register_buffer("mean", torch.tensor([0.1, 0.2, 0.3, 0.4]))
        self.register_buffer("deviation", torch.tensor([1.0, 2.0, 3.0, 4.0]))

    def forward(self, x: Any) -> Any:
        x = self.first((x - self.mean) / self.deviation)
        return self.last(x + torch.tanh(self.second(x)))


class Turned(nn.Module):  # type: ignore[misc, name-defined]
    """Takes images channels last."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Conv2d(2, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 4, 3))

    def forward(self, x: Any) -> Any:
        return self.network(x.permute(0, 3, 1, 2) / 255.0)


class Viewed(nn.Module):  # type: ignore[misc, name-defined]
    """Flattens by the sizes that it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4 * 11 * 9, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.conv(x))
        return self.last(x.view(x.size(0), -1))


class Averaged(nn.Module):  # type: ignore[misc, name-defined]
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        return self.last(nn.functional.relu6(self.conv(x)).mean(dim=(2, 3)))


def mlp(activation: Any) -> Any:
    return nn.Sequential(nn.Linear(4, 16), activation, nn.Linear(16, 16, bias=False), activation, nn.Linear(16, 3))


def of_images(*layers: Any, features: int) -> Any:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(features, 8), nn.Dropout(0.3), nn.ReLU(), nn.Linear(8, 3))


VECTOR, IMAGE = (4,), (2, 11, 9)
MODELS: dict[str, tuple[Callable[[], Any], tuple[int, ...]]] = {
    "relu": (lambda: mlp(nn.ReLU()), VECTOR),
    "tanh": (lambda: mlp(nn.Tanh()), VECTOR),
    "sigmoid": (lambda: mlp(nn.Sigmoid()), VECTOR),
    "leaky": (lambda: mlp(nn.LeakyReLU(0.2)), VECTOR),
    "elu": (lambda: mlp(nn.ELU(0.7)), VECTOR),
    "selu": (lambda: mlp(nn.SELU()), VECTOR),
    "gelu": (lambda: mlp(nn.GELU()), VECTOR),
    "silu": (lambda: mlp(nn.SiLU()), VECTOR),
    "softplus": (lambda: mlp(nn.Softplus()), VECTOR),
    "relu6": (lambda: mlp(nn.ReLU6()), VECTOR),
    "layer normalization": (lambda: nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)), VECTOR),
    "batch normalization": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Linear(8, 3)), VECTOR),
    "dueling": (lambda: Dueling(centred_first=True), VECTOR),
    "dueling, summed first": (lambda: Dueling(centred_first=False), VECTOR),
    "residual": (Residual, VECTOR),
    "convolutions": (
        lambda: of_images(nn.Conv2d(2, 4, 3, 2), nn.ReLU(), nn.Conv2d(4, 6, (3, 2), bias=False), nn.ReLU(), features=6 * 3 * 3),
        IMAGE,
    ),
    "padding on both sides": (lambda: of_images(nn.Conv2d(2, 4, 4, 2, padding=1), nn.Tanh(), features=4 * 5 * 4), IMAGE),
    "padding as Keras pads": (lambda: of_images(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), features=4 * 11 * 9), IMAGE),
    "pools": (
        lambda: of_images(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.AvgPool2d(2, 1), features=4 * 3 * 2),
        IMAGE,
    ),
    "a pool of everything": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)),
        IMAGE,
    ),
    "a mean of everything": (Averaged, IMAGE),
    "a flattened image": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(2 * 11 * 9, 3)), IMAGE),
    "sizes that are found": (Viewed, IMAGE),
    "channels last": (Turned, (11, 9, 2)),
}


def varied(model: Any) -> Any:
    """Weights, and the statistics of normalizations, that are all different."""
    torch.manual_seed(7)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if "var" in name or "norm" in name:
                tensor.uniform_(0.5, 1.5)
            elif tensor.dtype == torch.float32 and name not in ("mean", "deviation"):
                tensor.add_(torch.randn(tensor.shape) * 0.05)
    return model.eval()


def exported(model: Any, shape: tuple[int, ...], path: Path, *, dynamo: bool) -> Path:
    settings: dict[str, Any] = {"dynamic_axes": {"x": {0: "batch"}}, "dynamo": False}
    if dynamo:
        settings = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1)},), "dynamo": True, "verbose": False}
    torch.onnx.export(model, (torch.zeros(2, *shape),), str(path), input_names=["x"], **settings)
    return path


def compare(path: Path, shape: tuple[int, ...], *, channels_first: bool, part: str | None = None) -> Any:
    network = build(*read_onnx(path.read_bytes(), path.parent, part=part).network)
    observations = np.random.default_rng(0).normal(0, 2, (20, *shape)).astype(np.float32)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    expected = session.run([part] if part else None, {session.get_inputs()[0].name: observations})[0]
    seen = observations.transpose(0, 2, 3, 1) if channels_first else observations
    got = network(seen.reshape(-1, *network.input_shape[1:])).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    return network


@pytest.mark.parametrize("dynamo", EXPORTERS, ids=["old", "dynamo"])
@pytest.mark.parametrize("name", MODELS)
def test_an_exported_network_computes_what_it_computed(tmp_path: Path, name: str, dynamo: bool) -> None:
    make, shape = MODELS[name]
    path = exported(varied(make()), shape, tmp_path / "policy.onnx", dynamo=dynamo)
    as_it_is = name in ("channels last", "a flattened image")
    compare(path, shape, channels_first=len(shape) == 3 and not as_it_is)


def small(path: Path) -> Path:
    return exported(varied(mlp(nn.ReLU())), VECTOR, path, dynamo=False)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    model = onnx.load(small(tmp_path / "whole.onnx"))
    path = tmp_path / "policy.onnx"
    onnx.save(model, path, save_as_external_data=True, location="policy.data", size_threshold=0)
    compare(path, VECTOR, channels_first=False)
    whole = onnx.load(path, load_external_data=False)
    for location, reason in (
        ("/etc/passwd", "expected weights in a file beside the model"),
        ("../policy.data", "expected weights in a file beside the model"),
        ("a/../policy.data", "expected weights in a file beside the model"),
        ("C:\\x", "expected weights in a file beside the model"),
        ("", "expected weights in a file beside the model"),
        ("link.data", "Got a link"),
        ("gone.data", "Got nothing of this name"),
        ("folder", "Got a folder"),
        ("short.data", "ends too early"),
    ):
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        for tensor in changed.graph.initializer:
            entry = next(entry for entry in tensor.external_data if entry.key == "location")
            entry.value = location
        if location == "link.data":
            (tmp_path / "link.data").symlink_to(tmp_path / "policy.data")
        (tmp_path / "folder").mkdir(exist_ok=True)
        (tmp_path / "short.data").write_bytes(b"123")
        with pytest.raises(InputError, match=reason):
            read_onnx(changed.SerializeToString(), tmp_path)
    for key, value, reason in (("offset", "-4", "offset '-4'"), ("length", "3", "has '3' bytes: expected")):
        changed = onnx.ModelProto()
        changed.CopyFrom(whole)
        for tensor in changed.graph.initializer:
            kept = [(entry.key, entry.value) for entry in tensor.external_data if entry.key != key]
            del tensor.external_data[:]
            for each_key, each_value in [*kept, (key, value)]:
                tensor.external_data.add(key=each_key, value=each_value)
        with pytest.raises(InputError, match=reason):
            read_onnx(changed.SerializeToString(), tmp_path)


def edited(path: Path, change: Callable[[Any], Any]) -> bytes:
    model = onnx.load(path)
    change(model)
    return model.SerializeToString()


def all_dims(model: Any, size: int) -> None:
    for tensor in model.graph.initializer:
        tensor.dims[0] = size


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no nodes": (lambda m: m.graph.ClearField("node"), "an ONNX model with nodes"),
    "too many nodes": (lambda m: [m.graph.node.add() for _ in range(3000)], "at most 2000 nodes"),
    "another operator": (lambda m: setattr(m.graph.node[1], "op_type", "Mish"), "the operator 'Mish' is not understood"),
    "another library's operator": (lambda m: setattr(m.graph.node[1], "domain", "evil"), "the operator 'evil::Relu'"),
    "two inputs": (lambda m: m.graph.input.add(name="more"), "expected one input. Got 2"),
    "two outputs": (lambda m: m.graph.output.add(name="more"), "choose with part="),
    "an output that is not there": (lambda m: setattr(m.graph.output[0], "name", "gone"), "its output 'gone' is none"),
    "an input of text": (lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", 8), "its input is STRING"),
    "an input of no shape": (lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"), "expected an input"),
    "a source that is not there": (lambda m: m.graph.node[0].input.__setitem__(0, "gone"), r"takes \['gone'\]"),
    "weights of text": (lambda m: setattr(m.graph.initializer[0], "data_type", 8), "is STRING"),
    "weights of no type": (lambda m: setattr(m.graph.initializer[0], "data_type", 99), "is unknown"),
    "huge weights": (lambda m: all_dims(m, 2**40), "numbers in all"),
    "negative weights": (lambda m: all_dims(m, -1), "numbers in all"),
    "more weights than there are": (lambda m: all_dims(m, 100), "expected an ONNX model"),
    "sparse weights": (lambda m: m.graph.sparse_initializer.add(), "expected dense weights"),
    "the same output twice": (lambda m: m.graph.node[1].output.__setitem__(0, m.graph.node[0].output[0]), "two nodes give"),
    "a graph in a node": (lambda m: m.graph.node[0].attribute.add(name="transB", type=5), "Gemm has transB"),
}


@pytest.mark.parametrize(("change", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_not_understood_is_refused_in_a_line(tmp_path: Path, change: Any, reason: str) -> None:
    with pytest.raises(InputError, match=reason) as caught:
        read_onnx(edited(small(tmp_path / "policy.onnx"), change), tmp_path)
    assert "\n" not in str(caught.value)


def test_one_of_several_outputs(tmp_path: Path) -> None:
    path = small(tmp_path / "policy.onnx")
    model = onnx.load(path)
    name = model.graph.output[0].name
    model.graph.output.add().CopyFrom(onnx.helper.make_tensor_value_info("more", 1, None))
    with pytest.raises(InputError, match=r"expected an output of .* Got part='other'"):
        read_onnx(model.SerializeToString(), tmp_path, part="other")
    assert build(*read_onnx(model.SerializeToString(), tmp_path, part=name).network).output_shape == (None, 3)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04", bytes(1000), b"\x08" * 10000])
def test_what_is_no_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="expected an ONNX model"):
        read_onnx(content, tmp_path)


def test_damage_is_bad_input(tmp_path: Path, outcomes: Callable[..., Any]) -> None:
    content = small(tmp_path / "policy.onnx").read_bytes()
    found = outcomes(lambda mutant: read_onnx(mutant, tmp_path), content, 200)
    assert found["refused"] > 20


def test_onnx_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in sys.modules if name == "onnx" or name.startswith("onnx.")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=r"this needs the extra `onnx`: pip install 'edgedqn\[onnx\]'"):
        read_onnx(b"", tmp_path)


def test_pickles_are_not_looked_at(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(mlp(nn.ReLU()), buffer)
    with pytest.raises(InputError, match="expected an ONNX model"):
        read_onnx(buffer.getvalue(), tmp_path)
    assert files.MOST_NODES == 2000
