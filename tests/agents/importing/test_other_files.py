"""Files of another job are named as what they are."""

import pickle  # noqa: TID251 - the tests write what readers must not run
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import read_model


def zipped(path: Path, *names: str) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "{}")


def pickled(module: str) -> bytes:
    return b"\x80\x04" + f"c{module}\nX\n)\x81.".encode()


FILES: dict[str, tuple[bytes, str]] = {
    "buffer.pkl": (pickled("stable_baselines3.common.buffers"), "a replay buffer of Stable-Baselines3"),
    "vecnormalize.pkl": (pickled("stable_baselines3.common.vec_env.vec_normalize"), "the statistics of VecNormalize"),
    "tree.pkl": (pickled("sklearn.tree"), "a pickle of scikit-learn"),
    "table.pkl": (pickle.dumps(np.zeros(3)), "a pickle, which is a program"),
    "old.pth": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.", "PyTorch before 1.6 saved them"),
    "policy.tflite": (b"\x1c\0\0\0TFL3" + bytes(40), r"a \.tflite"),
    "model.json": (b'{"class_name": "Sequential"}', "layers without their weights"),
    "text.txt": (b"hello", "something else"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_another_job(tmp_path: Path, name: str) -> None:
    content, what = FILES[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"cannot be imported: expected a \.keras, .* Got .*{what}") as caught:
        read_model(tmp_path / name)
    assert "\n" not in str(caught.value)


ARCHIVES: dict[str, tuple[tuple[str, ...], str]] = {
    "of SB 2": (("data", "parameters", "parameter_list"), "an archive of Stable-Baselines 2"),
    "half of one": (("data", "x"), r"without a policy\.pth"),
    "a SavedModel": (("m/saved_model.pb",), "a packed SavedModel"),
    "statistics": (("mean.npy", "var.npy"), "statistics of observations"),
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
