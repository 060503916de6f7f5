"""Threads and memory of native libraries."""

import re
import subprocess
import sys

import pytest

import edgedqn
from edgedqn.agents.errors import InputError
from edgedqn.pipeline import cli, native


def test_tensorflow_with_another_number_of_threads_is_refused() -> None:
    code = (
        "import tensorflow as tf; tf.config.threading.set_intra_op_parallelism_threads(2); tf.constant(1) + 1\n"
        "from edgedqn.agents.errors import InputError\nfrom edgedqn.pipeline.native import load_tensorflow\n"
        "try:\n    load_tensorflow(1)\nexcept InputError as error:\n    print(error)"
    )
    heard = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert heard.stdout.startswith("TensorFlow already runs with another number of threads: expected 1.")


def test_a_sweep_without_its_extra_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(native, "find_spec", lambda name: None if name == "optuna" else object())
    expected = "This needs the extra `sweep`: pip install 'edgedqn[sweep]'. Got: no optuna."
    with pytest.raises(InputError, match=re.escape(expected)):
        edgedqn.sweep("sweep.toml")
    assert cli.main(["sweep", "sweep.toml"]) == cli.main(["run", "CartPole-v1", "--seeds", "0-1"]) == 2
    assert capsys.readouterr().err == f"edgedqn: {expected}\n" * 2
