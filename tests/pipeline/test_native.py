"""Threads and memory of native libraries."""

import subprocess
import sys


def test_tensorflow_with_another_number_of_threads_is_refused() -> None:
    code = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(2); tf.constant(1) + 1\n"
        "from edgedqn.agents.errors import InputError\nfrom edgedqn.pipeline.native import load_tensorflow\n"
        "try:\n    load_tensorflow(1)\nexcept InputError as error:\n    print(error)"
    )
    heard = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heard.stdout.startswith("TensorFlow already runs with another number of threads: expected 1.")
