import subprocess
import sys

import numpy as np

from edgedqn.agents.numpy_network import Conv, Dense, Flatten
from edgedqn.pipeline.collection.published import published_bytes


def test_operators_count_their_numbers() -> None:
    conv = Conv(np.zeros((3, 3, 4, 8), np.float32), np.zeros(8, np.float32), True, (1, 1), "valid")
    dense = Dense(np.zeros((512, 3), np.float32), np.zeros(3, np.float32), False)
    assert published_bytes([conv, Flatten(), dense]) == 4 * (3 * 3 * 4 * 8 + 8 + 512 * 3 + 3)


def test_an_actor_loads_no_tensorflow() -> None:
    code = "import sys, edgedqn.pipeline.collection.collector; print({'tensorflow', 'tf_keras', 'ray'} & sys.modules.keys())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
