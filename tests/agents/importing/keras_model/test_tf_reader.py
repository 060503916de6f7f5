"""Variables come in the order of their objects; a checkpoint that was made up kills another process than this one."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from tensorflow.core.protobuf import tensor_bundle_pb2

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.keras_model import tf_reader
from edgedqn.agents.importing.keras_model.tf_checkpoints import MAGIC, read_checkpoint


def test_the_order_of_the_objects(tmp_path: Path) -> None:
    root = tf.Module()
    root.z, root.a, root.optimizer = tf.Module(), tf.Module(), tf.Module()
    root.z.kernel, root.a.kernel, root.optimizer.slot = tf.Variable([1.0]), tf.Variable([2.0]), tf.Variable([3.0])
    tf.train.Checkpoint(first=root.z, rest=root).write(str(tmp_path / "ckpt"))
    graph = tf.train.load_checkpoint(str(tmp_path / "ckpt")).get_tensor("_CHECKPOINTABLE_OBJECT_GRAPH")
    assert tf_reader._in_order(graph) == [f"{owner}/kernel{tf_reader.VARIABLE}" for owner in ("first", "rest/a")]


def checksum(content: bytes) -> bytes:
    """CRC-32C, masked as LevelDB does it."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)


def number(value: int) -> bytes:
    return bytes([value]) if value < 128 else bytes([value & 127 | 128]) + number(value >> 7)


def block(items: list[tuple[bytes, bytes]]) -> bytes:
    written, starts = b"", []
    for key, value in items:
        starts.append(len(written))
        written += number(0) + number(len(key)) + number(len(value)) + key + value
    starts = starts or [0]
    return written + b"".join(struct.pack("<I", start) for start in (*starts, len(starts)))


def index(*dims: int) -> bytes:
    """The index of a checkpoint with one variable of this shape, its checksums and all."""
    header = tensor_bundle_pb2.BundleHeaderProto(num_shards=1)
    header.version.producer = 1
    entry = tensor_bundle_pb2.BundleEntryProto(dtype=1, size=16)
    for size in dims:
        entry.shape.dim.add(size=size)
    written, handles = b"", []
    for content in (block([(b"", header.SerializeToString()), (b"w", entry.SerializeToString())]), block([])):
        handles.append(number(len(written)) + number(len(content)))
        written += content + b"\0" + checksum(content + b"\0")
    last = block([(b"\xff", handles[0])])
    footer = handles[1] + number(len(written)) + number(len(last))
    return written + last + b"\0" + checksum(last + b"\0") + footer.ljust(40, b"\0") + MAGIC


MADE_UP: dict[str, tuple[Callable[[], bytes], str]] = {
    "a dimension below 0": (lambda: index(-5, 2), "its reader ended with -6"),
    "no objects": (lambda: index(2, 2), r"Got one of TensorFlow 1\."),
}


@pytest.mark.parametrize(("make_index", "reason"), MADE_UP.values(), ids=MADE_UP)
def test_what_is_made_up_is_bad_input(tmp_path: Path, make_index: Any, reason: str) -> None:
    (tmp_path / "ckpt.index").write_bytes(make_index())
    (tmp_path / "ckpt.data-00000-of-00001").write_bytes(bytes(16))
    with pytest.raises(InputError, match=f"its checkpoint cannot be read: .*{reason}") as caught:
        read_checkpoint(tmp_path / "ckpt.index", hidden=())
    assert "\n" not in str(caught.value)
