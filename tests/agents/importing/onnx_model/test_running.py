"""An ONNX file gives in its own library what the network that was read of it gives."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.keras_model.other_process import read_elsewhere
from edgedqn.agents.importing.onnx_model import running
from edgedqn.agents.importing.onnx_model.files import read_onnx
from edgedqn.agents.importing.onnx_model.running import run_onnx
from edgedqn.agents.importing.onnx_model.values import OnnxModel

onnx = pytest.importorskip("onnx", reason="needs onnx: the extra onnx")


def written(path: Path, *nodes: Any, shape: list[Any], dtype: int = 1, output: int = 1, **constants: Any) -> OnnxModel:
    make = onnx.helper
    weights = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    given = make.make_tensor_value_info("x", dtype, shape)
    graph = make.make_graph(list(nodes), "g", [given], [make.make_tensor_value_info("y", output, None)], weights)
    model = make.make_model(graph, opset_imports=[make.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return read_onnx(path.read_bytes(), path.parent)


RNG = np.random.default_rng(0)
KERNEL, W = RNG.normal(size=(2, 3, 2, 2)).astype(np.float32), RNG.normal(size=(12, 3)).astype(np.float32)


@pytest.mark.parametrize("batch", ["N", 1, 4])
@pytest.mark.parametrize("library", ["ONNX Runtime", "onnx's evaluator"])
def test_images_are_turned_and_batches_are_as_long_as_they_must(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: Any, library: str
) -> None:
    if library == "ONNX Runtime":
        pytest.importorskip("onnxruntime", reason="needs ONNX Runtime: the extra peers")
    else:
        without = "import sys; sys.modules['onnxruntime'] = None; "
        monkeypatch.setattr(
            running, "read_elsewhere", lambda code, *rest, **more: read_elsewhere(without + code, *rest, **more)
        )
    node = onnx.helper.make_node
    nodes = [node("Conv", ["x", "k"], ["c"]), node("Relu", ["c"], ["r"]), node("Flatten", ["r"], ["f"])]
    model = written(tmp_path / "m.onnx", *nodes, node("MatMul", ["f", "w"], ["y"]), shape=[batch, 3, 3, 4], k=KERNEL, w=W)
    observations = RNG.normal(size=(6, 3, 4, 3)).astype(np.float32)
    name, values = run_onnx(tmp_path / "m.onnx", model, observations)
    assert name == library and values.shape == (6, 3)
    np.testing.assert_allclose(values.astype(np.float64), build(*model.network)(observations), rtol=1e-4, atol=1e-5)


def test_bytes_come_in_and_actions_come_out(tmp_path: Path) -> None:
    node = onnx.helper.make_node
    nodes = [node("Cast", ["x"], ["f"], to=1), node("MatMul", ["f", "w"], ["q"]), node("ArgMax", ["q"], ["y"], axis=1)]
    model = written(tmp_path / "m.onnx", *nodes, shape=["N", 12], dtype=2, output=7, w=W)
    assert model.dtype == "uint8"
    observations = RNG.integers(256, size=(6, 12)).astype(np.float32)
    _, values = run_onnx(tmp_path / "m.onnx", model, observations)
    assert values.dtype.kind == "i" and (values[:, 0] == (observations @ W).argmax(axis=1)).all()


def test_what_cannot_be_run_is_told_in_a_line(tmp_path: Path) -> None:
    model = written(tmp_path / "m.onnx", onnx.helper.make_node("MatMul", ["x", "w"], ["y"]), shape=["N", 12], w=W)
    (tmp_path / "m.onnx").write_bytes(b"something else")
    with pytest.raises(InputError, match="the model cannot be read") as caught:
        run_onnx(tmp_path / "m.onnx", model, np.zeros((1, 12), np.float32))
    assert "\n" not in str(caught.value)
