"""Files of another job are named as what they are."""

import os
import pickle  # noqa: TID251 - the tests write what readers must not run
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import read_model
from edgedqn.agents.importing.foreign_files import LARGEST_FILE


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")


OLD = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03."
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 6789012\n"


def pickled(module: str) -> bytes:
    return b"\x80\x04" + f"c{module}\nX\n)\x81.".encode()


FILES: dict[str, tuple[bytes, str]] = {
    "buffer.pkl": (pickled("stable_baselines3.common.buffers"), "a replay buffer of Stable-Baselines3"),
    "vecnormalize.pkl": (
        pickled("stable_baselines3.common.vec_env.vec_normalize"),
        r"the statistics of VecNormalize: .* --normalize vecnormalize\.pkl",
    ),
    "tree.pkl": (pickled("sklearn.tree"), "a pickle of scikit-learn, which is a program: .*edgedqn import module:function"),
    "algorithm_state.pkl": (pickled("ray.rllib.policy"), "a pickle of RLlib"),
    "table.pkl": (pickle.dumps(np.zeros(3)), "a pickle, which is a program: a function that loads it"),
    "module.pkl": (pickled("torch.nn.modules"), r"a pickle, which is a program\. .*torch\.onnx\.export"),
    "old.pth": (OLD, r"PyTorch before 1.6 saved them.*torch\.save\(torch\.load\('old\.pth', weights_only=True\)"),
    "old_module.pth": (OLD + b"ctorch.nn.modules.linear", "a whole module as PyTorch before 1.6 saved it"),
    "ckpt.data-00000-of-00001": (bytes(40), r"a part of a TensorFlow checkpoint: import its \.index"),
    "checkpoint": (b'model_checkpoint_path: "ckpt"\n', "a part of a TensorFlow checkpoint"),
    "policy.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), r"a \.tflite, .*: edgedqn bench policy\.tflite --env ENV_ID plays"),
    "m.safetensors": (b"\x10\0\0\0\0\0\0\0" + b'{"w": {}}       ', r"a \.safetensors.*safetensors\.torch\.load_file\('m\."),
    "dqn.cleanrl_model": (b"\x81\xa6params\x81\xa7Dense_0\x82\xa4bias\xa6kernel", "weights of Flax, without their layers"),
    "table.npy": (b"\x93NUMPY\x01\0", r"an array of NumPy\. If it is a table of Q-values: a function"),
    "agent.tar.gz": (b"\x1f\x8b\x08\0", r"a packed file \(gzip\): unpack it"),
    "agent.tar": (bytes(257) + b"ustar\0", r"a packed file \(tar\): unpack it"),
    "model.json": (b'{"class_name": "Sequential"}', "layers without their weights: .* --model-json model.json"),
    "tfjs.json": (
        b'{"modelTopology": {"class_name": "S"}}',
        "TensorFlow.js model: tensorflowjs_converter .* tfjs.json policy.h5",
    ),
    "data": (b'{"policy_class": {}}', r"the settings of a Stable-Baselines3 archive.*: import the \.zip"),
    "args.json": (b'{"env_id": "CartPole-v1"}', "a JSON text, in which no network is"),
    "list.json": (b"[1, 2]", "a JSON text, in which no network is"),
    "notes.yml": (b"env: CartPole-v1\n", r"a text that begins 'env: CartPole-v1\\n'"),
    "page.zip": (b"\n <!DOCTYPE html>\n<html>", r"a web page, not the file .* /resolve/ in place of /blob/"),
    "page.onnx": (b"<html><head>", "a web page, not the file"),
    "pointer.onnx": (POINTER, "a pointer of Git LFS, which stands for a file of 6,789,012 bytes: git lfs pull"),
    "empty.zip": (b"", "an empty file"),
    "empty.onnx": (b"", "an empty file"),
    "noise.bin": (b"\xffhello", "something else"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_job(tmp_path: Path, name: str) -> None:
    content, what = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"cannot be imported: expected a \.keras, .* Got .*{what}") as caught:
        read_model(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_what_is_too_large_for_an_agent_is_named_all_the_same(tmp_path: Path) -> None:
    """A replay buffer of images has gigabytes."""
    path = tmp_path / "replay_buffer.pkl"
    path.write_bytes(pickled("stable_baselines3.common.buffers"))
    os.truncate(path, LARGEST_FILE + 2)
    with pytest.raises(InputError, match="Got a replay buffer of Stable-Baselines3"):
        read_model(path)


ARCHIVES: dict[str, tuple[tuple[str, ...], str]] = {
    "of SB 2": (("data", "parameters", "parameter_list"), "an archive of Stable-Baselines 2"),
    "half of one": (("data", "x"), r"without a policy\.pth"),
    "a SavedModel": (("m/saved_model.pb",), "a packed SavedModel"),
    "statistics": (("mean.npy", "var.npy"), "statistics of observations"),
    "arrays": (("w0.npy", "b0.npy"), r"arrays of NumPy, without their layers.*torch\.save"),
    "an exported program": (("m/archive_format", "m/models/m.json"), r"torch\.export\.load\('model\.zip'\)\.state_dict"),
    "a packed folder": (("x/README.md", "x/dqn.zip"), r"an archive around 'x/dqn\.zip': unpack it"),
    "others": (("config.json",), r"an archive of something else: config\.json"),
}


@pytest.mark.parametrize(("names", "what"), ARCHIVES.values(), ids=ARCHIVES)
def test_archives_of_another_job(tmp_path: Path, names: Any, what: str) -> None:
    zipped(tmp_path / "model.zip", *names)
    with pytest.raises(InputError, match=f"Got .*{what}"):
        read_model(tmp_path / "model.zip")


def test_a_saved_model_is_refused_with_the_line_that_helps(tmp_path: Path) -> None:
    (tmp_path / "policy").mkdir()
    (tmp_path / "policy" / "saved_model.pb").write_bytes(b"")
    for path in (tmp_path / "policy", tmp_path / "policy" / "saved_model.pb"):
        with pytest.raises(InputError, match=r"Got a SavedModel.*load_model\('policy'\)\.save\('policy\.keras'\)"):
            read_model(path)


FOLDERS: dict[str, tuple[tuple[str, ...], str]] = {
    "of Hugging Face": (
        ("README.md", "config.json", "dqn.zip", "policy.h5"),
        r"import the agent's file in it, dqn\.zip or policy\.h5",
    ),
    "of SB3": (("data", "policy.pth", "_stable_baselines3_version"), r"shutil\.make_archive\('agent', 'zip', 'repo'\)"),
    "of another format": (("config.json", "m.safetensors"), r"without a file of an agent: 'config\.json, m\.safetensors'"),
    "empty": ((), "an empty folder"),
}


@pytest.mark.parametrize(("names", "what"), FOLDERS.values(), ids=FOLDERS)
def test_a_folder_says_what_is_in_it(tmp_path: Path, names: Any, what: str) -> None:
    (tmp_path / "repo").mkdir()
    for name in names:
        (tmp_path / "repo" / name).write_bytes(b"")
    with pytest.raises(InputError, match=rf"repo cannot be imported: expected a file\. Got .*{what}"):
        read_model(tmp_path / "repo")
