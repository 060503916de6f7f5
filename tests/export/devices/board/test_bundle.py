"""The board's part of a bundle as files; its scripts are run in `scripts/`."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, parse_steps
from edgedqn.export.devices.board.bundle import TWIN, readme, write_board
from edgedqn.export.devices.board.native import SOURCE
from edgedqn.export.edge_policy import Feature, PolicyFileError, parse_step, read_verified
from edgedqn.export.tflite_file.manifest import device_part, write_policy

Files = tuple[Path, Path]


def test_ships_what_was_proven(bundle: Path, cartpole_files: Files) -> None:
    assert (bundle / "policy.tflite").read_bytes() == cartpole_files[0].read_bytes()
    assert (bundle / "board" / TWIN).read_bytes() == cartpole_files[1].read_bytes()
    assert sorted(path.name for path in bundle.rglob("policy*.json")) == ["policy-float-io.json", "policy.json"]


def test_the_twin_is_optional_and_of_the_same_environment(tmp_path: Path, cartpole_files: Files, float_policy: bytes) -> None:
    write_board(read_verified(cartpole_files[0]), tmp_path)
    assert not (tmp_path / "board" / TWIN).exists() and TWIN not in (tmp_path / "README.md").read_text()
    assert (tmp_path / "board" / SOURCE).exists() and SOURCE in (tmp_path / "README.md").read_text()
    (tmp_path / "other.tflite").write_bytes(float_policy)
    with pytest.raises(PolicyFileError, match=r"of another environment: .* Got Test-v0"):
        write_board(read_verified(cartpole_files[0]), tmp_path, twin=read_verified(tmp_path / "other.tflite"))


def test_the_readme_is_of_this_very_policy(bundle: Path, cartpole_files: Files) -> None:
    text = (bundle / "README.md").read_text()
    file = read_verified(cartpole_files[0])
    for fact in (
        "# A policy for CartPole-v1",
        f"{len(file.content):,} bytes",
        file.file_sha256,
        "an array [4] of float32",
        "0 .. 1: the index of the largest of 2 preferences",
        f"{file.device.scale[0]:g}",
        "Its return was not measured.",
        TWIN,
    ):
        assert fact in text


def test_the_readme_says_in_which_order_a_vector_is_put_together(cartpole_files: Files) -> None:
    file = read_verified(cartpole_files[0])
    features = (Feature("mo|d`e", 2, (2,)), Feature("wind speed", 2))
    device = replace(file.device, features=features, env_id="tanks.tower:Tank-v0")
    text = readme(replace(file, device=device), has_twin=False, has_source=False)
    order = r'`"mo\u007cd\u0060e"` (2 numbers: one-hot of 0 .. 1), `"wind speed"` (2 numbers)'
    assert f"| you do | put these in one vector, in this order: {order} |" in text
    assert "# the vector, or a dict that has these keys\n" in text and "and tanks/tower.py lies here\n" in text
    for key, words in (("0/x", "a tuple that has these parts"), ("", "the categories")):
        other = replace(device, features=(Feature(key, 4, (2, 2)),))
        assert f"# the vector, or {words}\n" in readme(replace(file, device=other), has_twin=False, has_source=False)
    stacked = replace(device, preprocessing=(parse_step("frame_stack:2"),), scale=(1.0,), offset=(0.0,))
    assert f"{order}; call `reset()` before" in readme(replace(file, device=stacked), has_twin=False, has_source=False)
    plain = readme(file, has_twin=False, has_source=False)
    assert "| you do | nothing |" in plain and "action = policy(observation)\n" in plain and "lies here" not in plain


def test_the_readme_tells_the_return_where_it_was_measured(cartpole_files: Files) -> None:
    row = {"return": {"mean": 499.25, "ci95": [498.5, 500.0], "episodes": 300}, "gate": "pass"}
    path = cartpole_files[0]
    write_policy(path, path.read_bytes(), device=read_verified(path).device, evidence={"benchmark": row})
    assert "499.25, 95 % interval [498.50, 500.00], over 300 episodes; gate against the float policy: pass." in readme(
        read_verified(path), has_twin=False, has_source=False
    )


@pytest.mark.parametrize(
    "env_id, shape, dtype, steps, left",
    [
        ("Any-v0", (), "int64", ("one_hot",), "nothing"),
        ("Any-v0", (2,), "float32", ("frame_stack:2",), "clears the frame stack"),
        ("ALE/Pong-v5", (84, 84), "uint8", ("atari", "frame_stack:4"), "give the last two screens, .*; call"),
        (
            "PongNoFrameskip-v4",
            (84, 84),
            "uint8",
            ("atari", "frame_stack:4"),
            "play four frames a step.*; FIRE where a life begins",
        ),
    ],
)
def test_the_readme_tells_what_is_left_to_the_caller(
    cartpole_files: Files, env_id: str, shape: tuple[int, ...], dtype: str, steps: tuple[str, ...], left: str
) -> None:
    spec = EnvironmentSpec(
        source=EnvironmentSource(env_id),
        observation_shape=shape,
        observation_dtype=dtype,
        observation_low=(None,),
        observation_high=(None,),
        n_actions=2,
        preprocessing=parse_steps(steps),
    )
    device = device_part(
        spec, scale=np.ones(1, np.float32), offset=np.zeros(1, np.float32), meaning="preferences", recipe="test"
    )
    text = readme(replace(read_verified(cartpole_files[0]), device=device), has_twin=False, has_source=False)
    assert f"| `EdgePolicy` does | {', '.join(steps)}, scaling |" in text
    assert re.search(rf"\| you do \| .*{left}.*\|", text)


def test_the_readme_tells_who_chooses_the_action(cartpole_files: Files) -> None:
    file = read_verified(cartpole_files[0])
    file = replace(file, device=replace(file.device, meaning="action"))
    assert "| action | 0 .. 1: the file itself chooses it |" in readme(file, has_twin=False, has_source=False)
