"""The variables of a TensorFlow checkpoint, read by TensorFlow in a process of its own.

Its reader compares checksums and runs nothing. But a shape that was made up, with a checksum that fits, kills its process: a
dimension below 0, or more numbers than can be counted. And sizes that were made up fill the memory. So there are limits.
"""

import io
import json
import sys

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from edgedqn.agents.importing.keras_model.other_process import limit_memory

VARIABLE = "/.ATTRIBUTES/VARIABLE_VALUE"
MEMORY_LIMIT = 2**30  # bytes, beside some copies of the file
_OBJECTS = "_CHECKPOINTABLE_OBJECT_GRAPH"
_MOST_NODES = 100_000


def main() -> None:
    """The other process: a checkpoint's prefix and size as its argument, NumPy's format on stdout."""
    prefix, size = json.loads(sys.argv[1])
    limit_memory(MEMORY_LIMIT + 6 * size)
    reader = tf.train.load_checkpoint(prefix)
    shapes, types = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
    if _OBJECTS not in shapes:
        raise ValueError("expected a checkpoint of Keras' or TensorFlow 2's objects. Got one of TensorFlow 1.")
    plain = {key for key, shape in shapes.items() if types[key] == tf.float32 and len(shape) > 0 and key.endswith(VARIABLE)}
    names = [key for key in _in_order(reader.get_tensor(_OBJECTS)) if key in plain]
    if 4 * sum(int(np.prod(shapes[key], dtype=object)) for key in names) > size:
        raise ValueError("it would unfold to more than its data has bytes")
    arrays = {str(i): reader.get_tensor(key) for i, key in enumerate(names)}
    answer = io.BytesIO()
    np.savez(answer, names=np.frombuffer(json.dumps(names).encode(), np.uint8), **arrays)
    sys.stdout.buffer.write(answer.getvalue())


def _in_order(content: bytes) -> list[str]:
    """The variables' keys, each object's before those of the next one, as the objects were made."""
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(content).nodes
    if len(nodes) > _MOST_NODES:
        raise ValueError(f"expected at most {_MOST_NODES:,} objects")
    todo, seen, keys = [0], set(), dict[str, None]()
    while todo:
        number = todo.pop()
        if number in seen:
            continue
        seen.add(number)
        keys.update((attribute.checkpoint_key, None) for attribute in nodes[number].attributes)
        todo += [child.node_id for child in reversed(nodes[number].children) if "optimizer" not in child.local_name]
    return list(keys)
