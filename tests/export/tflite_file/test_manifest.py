import dataclasses
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.export.edge_policy import (
    MAGIC,
    EdgePolicy,
    PolicyFileError,
    TfliteModel,
    file_digest,
    read_device_manifest,
    read_verified,
)
from edgedqn.export.tflite_file.manifest import device_part, embed, write_evidence, write_policy
from edgedqn.export.tflite_file.reader import fix_names


def ones(size: int) -> Any:
    return np.ones(size, np.float32)


def test_device_part_holds_the_float32_values_exactly(spec: EnvironmentSpec) -> None:
    scale = np.array([0.1, 1 / 3, 1e-30, 7e10], np.float32)
    device = device_part(spec, scale=scale, offset=np.zeros(4, np.float32), meaning="q_values", recipe="qat-int8")
    assert device.to_json() == {
        "schema": 1,
        "environment": {
            "id": "Test-v0",
            "observation_shape": [4],
            "observation_dtype": "float32",
            "n_actions": 2,
            "preprocessing": [],
        },
        "input": {"scale": [float(value) for value in scale], "offset": [0.0]},
        "output": {"meaning": "q_values", "tie_break": "lowest"},
        "recipe": "qat-int8",
    }
    read_back = np.array(json.loads(json.dumps(device.to_json()))["input"]["scale"], np.float32)
    np.testing.assert_array_equal(read_back, scale)


def test_a_thousand_equal_features_share_one_scale(spec: EnvironmentSpec) -> None:
    wide = dataclasses.replace(spec, observation_shape=(1000,))
    third = np.full(1000, 1 / 3, np.float32)
    same = device_part(wide, scale=third, offset=ones(1000), meaning="preferences", recipe="test")
    assert (same.scale, same.offset) == ((float(third[0]),), (1.0,)) and len(json.dumps(same.to_json())) < 400
    third[7] += np.float32(1e-7)
    other = device_part(wide, scale=third, offset=ones(1000), meaning="preferences", recipe="test")
    assert other.scale == tuple(map(float, third)) and other.offset == (1.0,)


@pytest.mark.parametrize(
    ("scale", "offset", "meaning"),
    [
        (ones(3), ones(4), "preferences"),
        (ones(4), ones(2), "preferences"),
        (np.ones(4), ones(4), "preferences"),
        (np.array([1, np.nan, 1, 1], np.float32), ones(4), "preferences"),
        (np.array([1, np.inf, 1, 1], np.float32), ones(4), "preferences"),
        (ones(4), ones(4), "values"),
    ],
)
def test_device_part_refuses_what_no_device_could_use(spec: EnvironmentSpec, scale: Any, offset: Any, meaning: str) -> None:
    with pytest.raises(PolicyFileError, match="expected"):
        device_part(spec, scale=scale, offset=offset, meaning=meaning, recipe="test")


def test_the_file_carries_its_manifest_minified_behind_the_magic(int8_policy: bytes, device_for: Any) -> None:
    at = int8_policy.index(MAGIC)
    (size,) = struct.unpack_from("<I", int8_policy, at - 4)
    text = int8_policy[at + 40 : at + size].decode()
    assert text == json.dumps(device_for(int8_policy).to_json(), separators=(",", ":"))
    assert read_device_manifest(int8_policy) == device_for(int8_policy)


def test_embed_is_deterministic_and_happens_once(network: Any, device_for: Any, int8_policy: bytes) -> None:
    content = fix_names(TfliteModel(network.int8), "preferences")
    assert embed(content, device_for(content)) == int8_policy
    with pytest.raises(PolicyFileError, match="expected one without"):
        embed(int8_policy, device_for(content))


def test_embed_refuses_a_network_that_does_not_fit(network: Any, spec: EnvironmentSpec) -> None:
    other = dataclasses.replace(spec, n_actions=3)
    with pytest.raises(PolicyFileError, match=r"Wrong output size: expected 3\. Got 2\."):
        embed(network.int8, device_part(other, scale=ones(4), offset=ones(4), meaning="preferences", recipe="test"))


def test_sidecar_as_the_contract_has_it(int8_file: Path, int8_policy: bytes, device_for: Any) -> None:
    import hashlib

    assert json.loads(int8_file.with_suffix(".json").read_text()) == {
        "schema": 1,
        "device": {**device_for(int8_policy).to_json(), "digest": file_digest(int8_policy).hex()},
        "file_sha256": hashlib.sha256(int8_policy).hexdigest(),
        "evidence": {"return": 1.0},
    }
    assert int8_file.read_bytes() == int8_policy  # what was measured is what ships
    assert sorted(p.name for p in int8_file.parent.iterdir()) == ["policy.json", "policy.tflite"]


def test_manifest_round_trips(int8_file: Path, int8_policy: bytes, device_for: Any) -> None:
    file = read_verified(int8_file)
    assert (file.device, file.evidence) == (device_for(int8_policy), {"return": 1.0})
    int8_file.with_suffix(".json").unlink()
    file = read_verified(int8_file)
    assert (file.device, file.evidence) == (device_for(int8_policy), {})


def test_a_new_sidecar_replaces_the_old_one(int8_file: Path, int8_policy: bytes, float_policy: bytes, device_for: Any) -> None:
    write_policy(int8_file, float_policy, device=device_for(float_policy), evidence={"return": 2.0})
    assert read_verified(int8_file).evidence == {"return": 2.0}


def test_a_file_without_a_device_part_takes_it_from_the_sidecar(tmp_path: Path, network: Any, device_for: Any) -> None:
    path = tmp_path / "foreign.tflite"
    write_policy(path, network.float32, device=device_for(network.float32), evidence={})
    file = read_verified(path)
    assert (file.device, file.evidence) == (device_for(network.float32), {})
    assert EdgePolicy.load(path).preferences(np.zeros(4)).shape == (2,)
    path.write_bytes(network.float32 + b"\0")
    with pytest.raises(PolicyFileError, match="of another file"):
        read_verified(path)


def test_the_manifest_of_another_policy_is_refused(int8_file: Path, int8_policy: bytes, device_for: Any) -> None:
    before = int8_file.with_suffix(".json").read_bytes()
    other = dataclasses.replace(device_for(int8_policy), recipe="another")
    with pytest.raises(PolicyFileError, match="of another manifest"):
        write_policy(int8_file, int8_policy, device=other, evidence={})
    with pytest.raises(PolicyFileError):
        write_policy(int8_file, int8_policy[:-1], device=device_for(int8_policy), evidence={})
    assert int8_file.with_suffix(".json").read_bytes() == before
    assert int8_file.read_bytes() == int8_policy


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_evidence_holds_no_nan(int8_file: Path, value: float) -> None:
    before = int8_file.with_suffix(".json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        write_evidence(dataclasses.replace(read_verified(int8_file), evidence={"return": value}))
    assert int8_file.with_suffix(".json").read_bytes() == before
