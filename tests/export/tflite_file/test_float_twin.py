"""A twin is a whole file of its own, and of the same policy; its integers are compared in test_rewriting and test_tflite."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, read_verified
from edgedqn.export.tflite_file.float_twin import float_twin
from edgedqn.export.tflite_file.manifest import PolicyManifest, write_policy


@pytest.mark.parametrize("manifest", ["embedded", "beside"])
def test_is_whole_and_acts_alike(tmp_path: Path, network: Any, int8_file: Path, manifest: str) -> None:
    device = read_verified(int8_file).device
    content = int8_file.read_bytes() if manifest == "embedded" else network.int8
    twin, told = float_twin(content, device)
    assert told == replace(device, scale=(1.0,), offset=(0.0,))
    write_policy(tmp_path / "twin.tflite", twin, PolicyManifest(told, {}))
    (tmp_path / "twin.json").unlink()  # its manifest is inside
    integers, floats = EdgePolicy.load(int8_file), EdgePolicy.load(tmp_path / "twin.tflite")
    observations = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    assert [integers(each) for each in observations] == [floats(each) for each in observations]


def test_needs_integers_to_begin_with(network: Any, int8_file: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"expected an int8 input\. Got float32"):
        float_twin(network.float32, read_verified(int8_file).device)
