import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.compression.folding import InputScaling, in_batches, plain_network
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.tfmot.fake_quantization import quantization_aware, start_ranges
from edgedqn.export.tflite import to_tflite

KINDS = ["float32", "ptq-int8", "tiny-qat", "tiny-round", "tiny-pruned"]


@pytest.fixture
def folder(tmp_path: Path, policies: dict[str, CompressedPolicy]) -> Path:
    policies["tiny-pruned"].save(tmp_path / "policy")
    return tmp_path / "policy"


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_policy_becomes_the_same_file(tmp_path: Path, policies: dict[str, CompressedPolicy], kind: str) -> None:
    policy = policies[kind]
    policy.save(tmp_path / "deep" / "folder")
    loaded = CompressedPolicy.load(tmp_path / "deep" / "folder")
    assert replace(loaded, network=None, observations=policy.observations) == replace(policy, network=None)
    np.testing.assert_array_equal(loaded.observations, policy.observations)
    for array, saved in zip(loaded.network.get_weights(), policy.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, saved)
    assert to_tflite(loaded) == to_tflite(policy)


def test_a_loaded_pruned_policy_has_its_zeros(folder: Path) -> None:
    policy = CompressedPolicy.load(folder)
    kernels = [array for array in policy.network.get_weights() if array.ndim == 2]
    assert sum((kernel == 0).sum() for kernel in kernels) > 200


def test_the_description_is_plain_json(folder: Path, policies: dict[str, CompressedPolicy]) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["observations.npz", "policy.json", "weights.npz"]
    description = json.loads((folder / "policy.json").read_text())
    assert description["schema"] == 2
    assert description["recipe"] == "tiny-pruned"
    assert description["reports"] == [report.to_json() for report in policies["tiny-pruned"].reports]


def test_refuses_another_schema(folder: Path) -> None:
    path = folder / "policy.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema": 1}))
    with pytest.raises(InputError, match=r"policy\.json has another schema: expected 2\. Got 1\.$"):
        CompressedPolicy.load(folder)


@pytest.mark.parametrize("name", ["policy.json", "weights.npz", "observations.npz"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped"])
def test_refuses_a_damaged_folder(folder: Path, policies: dict[str, CompressedPolicy], name: str, damage: str) -> None:
    path = folder / name
    content = path.read_bytes()
    path.unlink()
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "flipped":
        policy = policies["tiny-pruned"]
        kernel = max(policy.network.get_weights(), key=np.size)
        inside = {"weights.npz": kernel, "observations.npz": policy.observations}.get(name)
        at = len(content) // 2 if inside is None else content.index(inside.tobytes()) + 100
        path.write_bytes(content[:at] + b"\xff\x00\xff" + content[at + 3 :])
    with pytest.raises(InputError):
        CompressedPolicy.load(folder)


@pytest.mark.parametrize("text", ["[]", "null", "3", '{"schema": 4}', "{}"])
def test_refuses_json_of_something_else(folder: Path, text: str) -> None:
    (folder / "policy.json").write_text(text)
    with pytest.raises(InputError, match=r"policy\.json"):
        CompressedPolicy.load(folder)


@pytest.mark.parametrize("kind", ["float32", "tiny-qat", "tiny-pruned"])
def test_refuses_weights_of_another_network(tmp_path: Path, policies: dict[str, CompressedPolicy], kind: str) -> None:
    policies[kind].save(tmp_path)
    path = tmp_path / "policy.json"
    description = json.loads(path.read_text())
    description["layers"][2]["units"] = 8
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match=r"policy\.json and the arrays beside it make no policy: .*not compatible"):
        CompressedPolicy.load(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere/policy\.json cannot be read: expected a JSON object"):
        CompressedPolicy.load(tmp_path / "nowhere")


@pytest.mark.parametrize("keep_zeros", [False, True])
def test_a_saved_policy_of_convolutions_becomes_the_same_file(tmp_path: Path, frames: Any, keep_zeros: bool) -> None:
    network = plain_network(frames.agent.network)
    network.set_weights([np.where(np.abs(a) < 0.05, 0, a) if a.ndim > 1 else a for a in network.get_weights()])
    quantized = quantization_aware(network, (0.0, 1.0), keep_zeros=keep_zeros)
    scaling = InputScaling((1 / 255,), (0.0,), (0.0, 1.0))
    start_ranges(quantized, network, inputs=map(scaling, in_batches(frames.agent.observations)))
    quantized(scaling(frames.agent.observations[:64]), training=True)  # takes the kernels' ranges
    policy = CompressedPolicy(
        network=quantized,
        conversion="qat-int8",
        scaling=scaling,
        meaning="preferences",
        spec=frames.agent.spec,
        observations=frames.agent.observations,
        recipe="test",
        reports=(),
        layers=describe(network),
    )
    policy.save(tmp_path)
    loaded = CompressedPolicy.load(tmp_path)
    assert (loaded.layers, loaded.scaling, loaded.spec) == (policy.layers, scaling, frames.agent.spec)
    assert loaded.observations.dtype == np.uint8
    assert to_tflite(loaded) == to_tflite(policy)


def test_the_architecture_can_name_no_code(folder: Path) -> None:
    path = folder / "policy.json"
    description = json.loads(path.read_text())
    description["layers"][1] = {"layer": "Lambda", "name": "evil", "function": "os.system", "inputs": ["observation"]}
    path.write_text(json.dumps(description))
    with pytest.raises(InputError, match="Got 'Lambda'"):
        CompressedPolicy.load(folder)
