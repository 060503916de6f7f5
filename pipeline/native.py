"""Native libraries: kept to the threads and the memory they were given."""

import os
import resource
from contextlib import suppress
from importlib.util import find_spec
from typing import TextIO

from edgedqn.agents.errors import InputError

OF_SWEEPS = ("optuna", "fsspec")  # modules that the extra `sweep` brings
MEMORY_BYTES = 4_000_000_000  # addresses, most of which the libraries reserve and never touch


def load_tensorflow(threads: int = 1, *, sweep: bool = False) -> None:
    """Imports TensorFlow and gives it and NumPy so many threads. One thread is what makes the same seed give the same weights.

    Raises:
      InputError: it is not installed, or already runs with another number of threads; or, of a `sweep`, what that needs
        besides is not installed.
    """
    missing = [name for name in OF_SWEEPS if sweep and find_spec(name) is None]
    if missing:
        raise InputError(f"This needs the extra `sweep`: pip install 'edgedqn[sweep]'. Got: no {' and no '.join(missing)}.")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import tensorflow as tf
        import tf_keras  # noqa: F401
        import threadpoolctl
    except ImportError as error:
        raise InputError(f"This needs the extra `train`: pip install 'edgedqn[train]'. Got: {error}.") from error
    threadpoolctl.threadpool_limits(threads)  # NumPy's share
    # It warns that each fine-tuning compiles anew, which is meant.
    tf.get_logger().setLevel("ERROR")
    threading = tf.config.threading
    if (threading.get_intra_op_parallelism_threads(), threading.get_inter_op_parallelism_threads()) == (threads, threads):
        return
    try:
        threading.set_intra_op_parallelism_threads(threads)
        threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        raise InputError(
            f"TensorFlow already runs with another number of threads: expected {threads}. Start EdgeDQN before anything else "
            "uses it."
        ) from error


def limit_memory() -> None:
    """Of this process and those that it starts, from here on: what asks for more gets a MemoryError."""
    _, most = resource.getrlimit(resource.RLIMIT_AS)
    within = MEMORY_BYTES if most == resource.RLIM_INFINITY else min(MEMORY_BYTES, most)
    with suppress(ValueError, OSError):  # macOS knows the limit and refuses to set it; the limit of time holds there, too
        resource.setrlimit(resource.RLIMIT_AS, (within, most))


def descriptor(stream: TextIO) -> int | None:
    """The file descriptor behind a stream; None where there is none, as in a notebook."""
    try:
        return stream.fileno()
    except (AttributeError, OSError, ValueError):
        return None
