"""What stands in a file is told, and where it runs."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.export.edge_policy import DeviceManifest, PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.inspection import inspect
from edgedqn.export.tflite_file.manifest import embed, write_policy
from edgedqn.export.tflite_file.reader import fix_names, rewrite
from edgedqn.export.tflite_file.rewriting import with_action_output, with_float_ends


def test_all_of_a_file(int8_file: Path, int8_policy: bytes, device_for: Any, network: Any) -> None:
    report = inspect(int8_file)
    json.dumps(report, allow_nan=False)
    assert (report["file"], report["size_bytes"]) == ("policy.tflite", len(int8_policy))
    assert report["operator_counts"] == {"FULLY_CONNECTED": 2}
    assert [each["multiply_accumulates"] for each in report["operators"]] == [64, 32]
    assert report["multiply_accumulates"] == 96
    assert report["live_bytes"] == 32  # 16 int8 beside 4, or beside 2, each in blocks of 16
    assert 500 < report["arena_bytes"] < 5_000 and report["arena_unmeasured"] is None
    (source,), (sink,) = ([report["tensors"][i] for i in report[side]] for side in ("inputs", "outputs"))
    assert (source["name"], source["dtype"], source["shape"]) == ("observation", "int8", [1, 4])
    assert (sink["name"], sink["dtype"], sink["shape"]) == ("preferences", "int8", [1, 2])
    assert source["quantization"]["scales"] == 1 and source["quantization"]["scale"][0] > 0
    assert [kernel["shape"] for kernel in report["kernels"]] == [[16, 4], [2, 16]]
    assert sum(tensor["stored_bytes"] for tensor in report["tensors"]) == 64 + 32 + 4 * 18
    assert report["manifest"] == device_for(int8_policy).to_json()


def test_zeros_and_clusters_are_counted(tmp_path: Path, network: Any) -> None:
    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            if list(tensor.shape) == [16, 4]:
                model.buffers[tensor.buffer].data = np.array([0, 0, 0, 5] * 16, np.int8).view(np.uint8)

    (tmp_path / "x.tflite").write_bytes(rewrite(TfliteModel(network.int8), change))
    (kernel,) = [each for each in inspect(tmp_path / "x.tflite")["kernels"] if each["shape"] == [16, 4]]
    assert (kernel["zero_fraction"], kernel["distinct_values"]) == (0.75, 2)


def test_an_arena_is_of_a_proven_file_alone(
    tmp_path: Path, network: Any, int8_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x.tflite").write_bytes(network.int8)
    report = inspect(tmp_path / "x.tflite")
    assert report["arena_bytes"] is None and "No manifest proves" in report["arena_unmeasured"]
    monkeypatch.setattr(sys, "executable", "/bin/false")  # as where TFLite Micro cannot be imported
    report = inspect(int8_file)
    assert report["arena_bytes"] is None and "no arena size" in report["arena_unmeasured"]


def test_where_a_file_runs_and_why_not(tmp_path: Path, network: Any, device_for: Any) -> None:
    def devices(content: bytes, device: DeviceManifest | None) -> dict[str, str]:
        path = tmp_path / "policy.tflite"
        path.write_bytes(content if device is None else embed(content, device))
        return {kind: "yes" if told["runs"] else " ".join(told["reasons"]) for kind, told in inspect(path)["devices"].items()}

    device = device_for(network.int8)
    found = devices(network.int8, device)
    assert (found["linux_board"], found["microcontroller"]) == ("yes", "yes")
    assert "It takes int8 and gives int8" in found["browser"] and "--float-io" in found["browser"]
    plain = replace(device, scale=(1.0,), offset=(0.0,))
    found = devices(with_float_ends(TfliteModel(network.int8), plain)[0], plain)
    assert (found["linux_board"], found["browser"]) == ("yes", "yes")
    assert found["microcontroller"] == "It takes float32 and gives float32: policy_step() wants int8 for both."
    assert "widens none" in devices(network.float16, device_for(network.float16))["microcontroller"]
    assert all("no manifest" in reason for reason in devices(network.int8, None).values())
    found = devices(network.float32, None)
    assert found["linux_board"] == "yes" and "no manifest" in found["microcontroller"] and "no manifest" in found["browser"]
    action = with_action_output(TfliteModel(network.int8))
    assert devices(action, replace(device, meaning="action"))["linux_board"] == "yes"


def test_a_changed_file_is_refused_and_a_foreign_one_says_that_nothing_proves_it(
    int8_file: Path, int8_policy: bytes, network: Any, tmp_path: Path
) -> None:
    int8_file.write_bytes(int8_policy[:-1] + bytes([int8_policy[-1] ^ 1]))
    with pytest.raises(PolicyFileError, match=r"policy\.tflite: The file was changed"):
        inspect(int8_file)
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(network.float32)
    assert inspect(foreign)["manifest"] is None
    foreign.write_bytes(b"nothing of the kind")
    with pytest.raises(PolicyFileError, match="Not a TFLite file"):
        inspect(foreign)


def test_a_sidecar_alone_is_believed_and_compared(tmp_path: Path, network: Any, device_for: Any) -> None:
    path, content = tmp_path / "bare.tflite", fix_names(TfliteModel(network.int8), "preferences")
    path.write_bytes(content)
    write_policy(path, path.read_bytes(), device=device_for(content), evidence={})
    assert inspect(path)["manifest"] == device_for(content).to_json()
    path.write_bytes(content + b"\0")
    with pytest.raises(PolicyFileError, match="of another file"):
        inspect(path)
