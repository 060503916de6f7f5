"""The same policy with float ends: the file that browsers take, and the faster one through Python on many boards."""

from dataclasses import replace

import numpy as np

from edgedqn.export.edge_policy import DeviceManifest
from edgedqn.export.tflite_file.manifest import embed
from edgedqn.export.tflite_file.reader import stripped
from edgedqn.export.tflite_file.rewriting import with_float_io


def float_twin(content: bytes, device: DeviceManifest) -> tuple[bytes, DeviceManifest]:
    """A finished file with integer ends, given float ones; see `rewriting.with_float_io`.

    Args:
      content: a `.tflite`, its manifest inside or beside it.
      device: its manifest's device part.
    Returns:
      The twin, stripped, and its own device part, which is inside it, too.
    Raises:
      PolicyFileError: the file is damaged, or has no integer input.
    """
    twin, device = with_float_ends(content, device)
    return embed(stripped(twin), device), device


def with_float_ends(content: bytes, device: DeviceManifest) -> tuple[bytes, DeviceManifest]:
    """The same before it is stripped and gets a manifest: what an exporter goes on with. Arguments and errors as above."""
    scale, offset = np.array(device.scale, np.float32), np.array(device.offset, np.float32)
    return with_float_io(content, scale, offset), replace(device, scale=(1.0,), offset=(0.0,))
