"""The manifest: what a device must know of a policy, inside the file; what was measured of it, beside the file."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import write_bytes, write_json
from edgedqn.agents.playing.spec import EnvironmentSpec, format_steps
from edgedqn.export.edge_policy import (
    DIGEST_SIZE,
    MAGIC,
    SCHEMA,
    Actions,
    DeviceManifest,
    Feature,
    Json,
    PolicyFileError,
    TfliteModel,
    VerifiedFile,
    check_structure,
    file_digest,
    find_block,
    parse_step,
    read_device_manifest,
)
from edgedqn.export.tflite_file.reader import with_metadata


def device_part(
    spec: EnvironmentSpec, *, scale: NDArray[np.float32], offset: NDArray[np.float32], meaning: str, recipe: str
) -> DeviceManifest:
    """The manifest's device part.

    All but `spec` are as in `DeviceManifest`; its numbers are exactly those of `scale` and `offset`, float32 [F] or [1], and
    one number where all of them are equal.

    Raises:
      PolicyFileError: a value no device could use, with what was expected.
    """
    device = DeviceManifest(
        env_id=spec.id,
        observation_shape=spec.observation_shape,
        observation_dtype=spec.observation_dtype,
        n_actions=spec.n_actions,
        actions=Actions(spec.actions.levels, spec.actions.shape, spec.actions.dtype) if spec.actions else None,
        features=tuple(Feature(each.key, each.size, each.one_hot, each.first) for each in spec.features),
        preprocessing=tuple(map(parse_step, format_steps(spec.preprocessing))),
        scale=_exact(scale),
        offset=_exact(offset),
        meaning=meaning,
        recipe=recipe,
    )
    return replace(device, scale=_one_for_all(device.scale), offset=_one_for_all(device.offset))


def embed(content: bytes, device: DeviceManifest) -> bytes:
    """Writes the device part and the digest into a `.tflite` without a manifest. This is the last change the file ever sees.

    Raises:
      PolicyFileError: there is a manifest already, or the network does not fit the new one.
    """
    if find_block(content) is not None:
        raise PolicyFileError("The file has a manifest: expected one without. Convert the policy again instead.")
    model = TfliteModel(content)
    check_structure(model, device)
    text = json.dumps(device.to_json(), separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    whole = with_metadata(model, "edgedqn", payload=MAGIC + bytes(DIGEST_SIZE) + text)
    at = find_block(whole)
    assert at is not None
    return whole[: at + len(MAGIC)] + file_digest(whole) + whole[at + len(MAGIC) + DIGEST_SIZE :]


def write_policy(path: Path, content: bytes, *, device: DeviceManifest, evidence: Json) -> VerifiedFile:
    """Writes a policy file and its sidecar `<stem>.json`, in place of earlier ones; each is complete or absent at any moment.

    Args:
      path: the `.tflite`.
      content: of it.
      device: the manifest's part inside the file, fixed before anything is measured. A file that carries none takes it from
        the sidecar alone.
      evidence: a JSON object: full spec and recipe, seeds, versions, return, gate, verification, footprint.
    Returns:
      The file, proven.
    Raises:
      PolicyFileError: the content is damaged, or the two do not belong together. Nothing is written then.
      ValueError: the evidence is no JSON, or holds a NaN or an infinity.
    """
    embedded, model = read_device_manifest(content), TfliteModel(content)
    check_structure(model, device)
    if embedded is not None and embedded.to_json() != device.to_json():
        raise PolicyFileError(f"{path.name} is of another manifest: expected the device part inside it. Got {device}.")
    return write_copy(VerifiedFile(path=path, model=model, device=device, evidence=evidence), path)


def write_copy(file: VerifiedFile, path: Path) -> VerifiedFile:
    """Writes a proven file and its sidecar to `path`, byte for byte, as `write_policy` does; returns the copy."""
    # Two files cannot be renamed at once: without the old sidecar, a reader finds either no evidence or the right one.
    path.with_suffix(".json").unlink(missing_ok=True)
    write_bytes(path, file.content)
    copy = replace(file, path=path)
    write_evidence(copy)
    return copy


def write_evidence(file: VerifiedFile) -> None:
    """Writes the sidecar beside a proven file, with the evidence that the value carries; the file itself is not read again.

    Raises:
      ValueError: the evidence is no JSON, or holds a NaN or an infinity.
    """
    device = file.device.to_json() if file.digest is None else {**file.device.to_json(), "digest": file.digest}
    sidecar = {"schema": SCHEMA, "device": device, "file_sha256": file.file_sha256, "evidence": file.evidence}
    write_json(file.path.with_suffix(".json"), sidecar)


def _exact(values: NDArray[np.float32]) -> tuple[float, ...]:
    if values.dtype != np.float32:
        raise PolicyFileError(f"The device computes in float32: expected float32 scales and offsets. Got {values.dtype}.")
    return tuple(float(value) for value in values.ravel())


def _one_for_all(values: tuple[float, ...]) -> tuple[float, ...]:
    """Where they are equal: a thousand of them are up to 20 kB of text."""
    return values[:1] if len(set(values)) == 1 else values
