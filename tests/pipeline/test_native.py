"""Quiet native code, loud Python."""

import subprocess
import sys

import pytest

CHATTER = """
import os, sys
from edgedqn.pipeline.native import quiet
def noise(text):
    os.write(1, f'native {text}\\n'.encode()); os.write(2, f'native {text}\\n'.encode())
noise('before')
try:
    with quiet():
        noise('inside')
        print('python inside'); print('python error inside', file=sys.stderr)
        raise ValueError
except ValueError:
    pass
noise('after')
print('python after')
"""


def test_only_python_is_heard_inside_and_everything_again_outside() -> None:
    heard = subprocess.run([sys.executable, "-c", CHATTER], capture_output=True, text=True, check=True)
    assert sorted(heard.stdout.split("\n")) == sorted(["native before", "python inside", "native after", "python after", ""])
    assert heard.stderr == "native before\npython error inside\nnative after\n"


def test_verbose_lets_everything_through() -> None:
    environment = {"EDGEDQN_VERBOSE": "1", "PATH": ""}
    heard = subprocess.run([sys.executable, "-c", CHATTER], capture_output=True, text=True, check=True, env=environment)
    assert "native inside" in heard.stdout and "native inside" in heard.stderr


def test_tensorflow_with_another_number_of_threads_is_refused() -> None:
    code = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(2); tf.constant(1) + 1\n"
        "from edgedqn.agents.errors import InputError\nfrom edgedqn.pipeline.native import load_tensorflow\n"
        "try:\n    load_tensorflow(1)\nexcept InputError as error:\n    print(error)"
    )
    heard = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heard.stdout.startswith("TensorFlow already runs with another number of threads: expected 1.")


@pytest.mark.parametrize(
    "stream", ["None", "type('Tee', (), {'write': lambda self, text: None, 'flush': lambda self: None})()"]
)
def test_stdout_may_be_none_or_have_no_file_descriptor(stream: str) -> None:
    """As in a service, or where a script put a stream of its own."""
    code = f"import sys\nfrom edgedqn.pipeline.native import quiet\nsys.stdout = mine = {stream}\n"
    code += "with quiet():\n    print('inside')\nassert sys.stdout is mine"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
