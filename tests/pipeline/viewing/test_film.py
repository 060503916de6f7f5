"""Films: every frame is in them as it was drawn, at its pace, and the file is complete or absent."""

import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.viewing.film import film


def drawing(height: int = 120, width: int = 200, count: int = 12) -> Any:
    """A red square that moves over a background of 200 colours; two frames in a row are the same."""
    background = np.zeros((height, width, 3), np.uint8)
    background[..., 2] = np.arange(width) % 200
    frames = []
    for i in range(count):
        frame = background.copy()
        frame[10:30, 10 + 5 * (i // 2) : 30 + 5 * (i // 2)] = (255, 0, 0)
        frames.append(frame)
    return frames


def make(path: Path, frames: Any, frames_per_second: int = 25) -> Path:
    with film(path, frames_per_second) as add:
        for frame in frames:
            add(frame)
    return path


def gif(path: Path) -> list[tuple[NDArray[Any], Any]]:
    with Image.open(path) as image:
        return [(np.asarray(frame.convert("RGB")), frame.info["duration"]) for frame in ImageSequence.Iterator(image)]


def mp4(path: Path) -> tuple[Any, list[Any]]:
    count, _ = imageio_ffmpeg.count_frames_and_secs(path)
    reader = imageio_ffmpeg.read_frames(path)
    told = next(reader)
    width, height = told["size"]
    frames = [np.frombuffer(next(reader), np.uint8).reshape(height, width, 3) for _ in range(count)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # it leaves its pipes to the garbage collector, now and then
        reader.close()
    return told, frames


def test_a_gif_holds_each_frame_as_it_was_drawn(tmp_path: Path) -> None:
    frames = drawing()
    frames += [frames[0]]
    shown = gif(make(tmp_path / "film.gif", frames))
    assert len(shown) == len(frames)
    for (picture, duration), frame in zip(shown, frames, strict=True):
        np.testing.assert_array_equal(picture, frame)
        assert duration == 40
    with Image.open(tmp_path / "film.gif") as image:
        assert image.info["loop"] == 0  # for ever


def test_a_gif_of_many_colours_is_close(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, 200).astype(np.uint8)
    frames = [np.stack(np.broadcast_arrays(ramp, ramp[:160, None], np.uint8(rng.integers(256))), axis=-1) for _ in range(3)]
    for (picture, _), frame in zip(gif(make(tmp_path / "film.gif", frames)), frames, strict=True):
        assert np.abs(picture.astype(int) - frame).mean() < 6


@pytest.mark.parametrize("pace", [4, 15, 30, 45, 50])
def test_a_gif_keeps_its_pace_in_hundredths_of_a_second(tmp_path: Path, pace: int) -> None:
    durations = [duration for _, duration in gif(make(tmp_path / "film.gif", drawing(count=20), pace))]
    assert min(durations) >= 20
    assert sum(durations) == pytest.approx(1_000 * 20 / pace, abs=5)


def test_an_mp4_holds_each_frame(tmp_path: Path) -> None:
    frames = drawing(height=121, width=199)
    told, shown = mp4(make(tmp_path / "film.mp4", frames))
    assert (told["size"], told["fps"], told["codec"]) == ((200, 122), 25.0, "h264")  # H.264 wants even sides
    assert len(shown) == len(frames)
    for picture, frame in zip(shown, frames, strict=True):
        assert np.abs(picture[:121, :199].astype(int) - frame).mean() < 10
    assert list(tmp_path.iterdir()) == [tmp_path / "film.mp4"]


def test_small_pictures_are_enlarged_and_fractions_are_colours(tmp_path: Path) -> None:
    frame = np.zeros((10, 8, 3))
    frame[2, 3] = (1.0, 0.5, 0.0)
    ((picture, _),) = gif(make(tmp_path / "film.gif", [frame]))
    assert picture.shape == (160, 128, 3)
    assert (picture[32:48, 48:64] == (255, 128, 0)).all()
    assert (picture[:32] == 0).all()


def test_transparency_is_left_out(tmp_path: Path) -> None:
    frames = [np.dstack([frame, np.full(frame.shape[:2], 9, np.uint8)]) for frame in drawing(count=2)]
    assert (gif(make(tmp_path / "film.gif", frames))[1][0] == frames[1][..., :3]).all()


@pytest.mark.parametrize("name", ["film.gif", "film.mp4"])
def test_what_is_not_finished_is_not_there(tmp_path: Path, name: str) -> None:
    path = make(tmp_path / name, drawing(count=2))
    before = path.read_bytes()

    def interrupted() -> Iterator[Any]:
        yield from drawing(count=2)
        raise KeyboardInterrupt

    for target in (path, tmp_path / f"other-{name}"):
        with pytest.raises(KeyboardInterrupt):
            make(target, interrupted())
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_bytes() == before
    make(path, drawing(count=9))
    assert path.read_bytes() != before


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (None, "drew no picture: expected an array .*Got NoneType"),
        (np.zeros((5, 5)), r"drew no picture.*Got \[5, 5\]"),
        (np.zeros((200, 121, 3), np.uint8), r"of one size: expected \[120, 200, 3\]. Got \[200, 121, 3\]"),
    ],
)
@pytest.mark.parametrize("name", ["film.gif", "film.mp4"])
def test_what_is_no_picture_is_refused(tmp_path: Path, name: str, frame: NDArray[Any] | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        make(tmp_path / name, [*drawing(count=1), frame])
    assert list(tmp_path.iterdir()) == []


def test_bad_names_and_paces_are_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.gif").mkdir()
    for name, pace, said in (
        ("film.avi", 25, r"ends in .gif or .mp4"),
        ("film", 25, r"ends in .gif or .mp4"),
        ("film.gif", 60, "at most 50 frames per second. Got 60"),
        ("missing/film.gif", 25, "cannot be written: expected a file in a writable folder"),
        ("folder.gif", 25, "cannot be written.*it is a folder"),
    ):
        with pytest.raises(InputError, match=said):
            make(tmp_path / name, drawing(count=1), pace)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.gif"]


@pytest.mark.parametrize(("name", "package"), [("film.gif", "PIL"), ("film.mp4", "imageio_ffmpeg")])
def test_a_missing_package_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=r"need the extra `render`: pip install 'edgedqn\[render\]'"):
        make(tmp_path / name, drawing(count=1))
    assert list(tmp_path.iterdir()) == []


# imageio-ffmpeg leaves the pipe to a program that is gone to the garbage collector, which cannot close it either.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("program", ["exit 1", "cat > /dev/null"])
def test_an_ffmpeg_that_fails_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str) -> None:
    fake = tmp_path / "bin" / "ffmpeg"
    fake.parent.mkdir()
    fake.write_text(f"#!/bin/sh\n{program}\n")
    fake.chmod(0o755)
    monkeypatch.setattr(imageio_ffmpeg._io, "get_ffmpeg_exe", lambda: os.fspath(fake))
    monkeypatch.setattr(imageio_ffmpeg._io, "get_first_available_h264_encoder", lambda: "libx264")
    with pytest.raises(InputError, match="ffmpeg"):
        make(tmp_path / "film.mp4", drawing(count=200))
    assert not (tmp_path / "film.mp4").exists()
