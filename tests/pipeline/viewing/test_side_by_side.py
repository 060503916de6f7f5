"""Two files on one reset seed, as a film that a report can carry."""

from io import BytesIO

import pytest
from gymnasium.envs.classic_control import CartPoleEnv
from gymnasium.error import DependencyNotInstalled
from PIL import Image

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.report.page import Film
from edgedqn.pipeline.job import RunResult
from edgedqn.pipeline.viewing import side_by_side as module
from edgedqn.pipeline.viewing.side_by_side import FRAMES, GAP, HEIGHT, MOST_BYTES, side_by_side


def test_both_are_played_and_stand_side_by_side(tiny_run: RunResult) -> None:
    models = tiny_run.folder / "models"
    made = side_by_side(models / "float32.tflite", models / "qat-int8.tflite", EnvironmentSource("CartPole-v1"), 31)
    assert isinstance(made, Film)
    assert (made.name, made.seed) == ("qat-int8", 31)
    assert all(1 <= value <= 500 for value in made.returns)
    with Image.open(BytesIO(made.gif)) as picture:
        assert 1 < picture.n_frames <= FRAMES + 1  # type: ignore[attr-defined]
        width, height = picture.size
    with Image.open(BytesIO(made.still)) as first:
        assert (first.n_frames, first.size) == (1, (width, height))  # type: ignore[attr-defined]
    assert height <= HEIGHT and width == 2 * (600 // 2) + GAP and len(made.gif) <= MOST_BYTES


def test_the_same_files_on_the_same_seed_are_the_same_film(tiny_run: RunResult) -> None:
    path = tiny_run.folder / "models" / "float32.tflite"
    one, other = (side_by_side(path, path, EnvironmentSource("CartPole-v1"), 7) for _ in range(2))
    assert isinstance(one, Film) and one == other and one.returns[0] == one.returns[1]


def test_without_pictures_there_is_no_film_and_it_says_why(tiny_run: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tiny_run.folder / "models" / "float32.tflite"
    with monkeypatch.context() as patched:
        patched.setattr(module, "MOST_BYTES", 100)
        told = side_by_side(path, path, EnvironmentSource("CartPole-v1"), 7)
        assert isinstance(told, str) and "at most 100 bytes" in told

    for error in (DependencyNotInstalled("pygame is\nnot installed."), ZeroDivisionError("of a user's own renderer")):

        def blind(*_: object, error: Exception = error) -> None:
            raise error

        with monkeypatch.context() as patched:
            patched.setattr(CartPoleEnv, "render", blind)
            assert side_by_side(path, path, EnvironmentSource("CartPole-v1"), 7) == " ".join(str(error).split())
    monkeypatch.setattr(CartPoleEnv, "metadata", {"render_modes": []})
    assert side_by_side(path, path, EnvironmentSource("CartPole-v1"), 7) == "CartPole-v1 draws no pictures."


def test_what_draws_no_picture_is_named() -> None:
    with pytest.raises(InputError, match="draws pictures"):
        module._small("text")
