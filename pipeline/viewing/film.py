"""Films of an environment, frame by frame into a GIF or an MP4 file that is complete or absent."""

import shutil
import tempfile
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import atomic_write

FASTEST_GIF = 50  # frames per second; browsers take a delay below 2/100 s for a mistake and show the film at 10
SMALLEST_SIDE = 160  # pixels of the longer side; what is smaller is enlarged by a whole number (MinAtar draws 10 x 10)

Add = Callable[[object], None]  # takes what `env.render()` gives
Append = Callable[[NDArray[np.uint8]], None]  # takes a picture [H, W, 3]


@contextmanager
def film(path: Path, frames_per_second: float) -> Iterator[Add]:
    """Opens a film; what it gives takes one frame after the other, [H, W, 3 or 4]: bytes, or numbers from 0 to 1.

    Only one frame is held in memory. `path` appears, or is replaced, when the block ends without an exception.

    Args:
      path: `.gif` or `.mp4`, in a folder that exists.
      frames_per_second: > 0; of a GIF at most 50.
    Raises:
      InputError: one of these is not so, the file cannot be written, a package is missing, or a frame is no picture of the
        size of the first.
    """
    writers, suffix = {".gif": _gif, ".mp4": _mp4}, path.suffix.lower()
    require(suffix in writers, f"Cannot make a film {path}: expected a name that ends in {' or '.join(writers)}.")
    too_fast = suffix == ".gif" and frames_per_second > FASTEST_GIF
    require(not too_fast, f"A GIF shows at most {FASTEST_GIF} frames per second. Got {frames_per_second:g}.")
    with ExitStack() as stack:
        try:
            if path.is_dir():
                raise IsADirectoryError("it is a folder")
            file = stack.enter_context(atomic_write(path))
        except OSError as error:
            raise InputError(f"{path} cannot be written: expected a file in a writable folder. Got: {error}.") from error
        add = stack.enter_context(writers[suffix](file, frames_per_second))
        size: tuple[int, ...] = ()

        def add_frame(frame: object) -> None:
            nonlocal size
            picture = _picture(frame)
            size = size or picture.shape
            if picture.shape != size:
                raise InputError(f"All frames of a film are of one size: expected {list(size)}. Got {list(picture.shape)}.")
            add(picture)

        yield add_frame


@contextmanager
def _gif(file: BinaryIO, frames_per_second: float) -> Iterator[Append]:
    try:
        from PIL import GifImagePlugin, Image
    except ImportError as error:
        raise InputError(_missing("GIF", error)) from error
    before: NDArray[np.uint8] | None = None
    count = 0

    # Frame by frame, because Image.save() keeps all of them in memory, and makes one of two that are alike.
    def add(frame: NDArray[np.uint8]) -> None:
        nonlocal before, count
        # In hundredths of a second; the rounding is carried over, so that the film as a whole keeps its pace.
        shown = round(100 * (count + 1) / frames_per_second) - round(100 * count / frames_per_second)
        top, left, height, width = (0, 0, *frame.shape[:2]) if before is None else _changed(before, frame)
        patch = Image.fromarray(np.ascontiguousarray(frame[top : top + height, left : left + width])).quantize()
        if before is None:
            file.writelines(GifImagePlugin.getheader(patch, info={"loop": 0})[0])
        # Disposal 1: the next frame is drawn over this one.
        file.writelines(
            GifImagePlugin.getdata(patch, (left, top), duration=10 * shown, disposal=1, include_color_table=before is not None)
        )
        before, count = frame, count + 1

    yield add
    file.write(b";")


@contextmanager
def _mp4(file: BinaryIO, frames_per_second: float) -> Iterator[Append]:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ImportError, RuntimeError) as error:
        raise InputError(_missing("MP4", error)) from error
    encoder: Generator[None, bytes | None, None] | None = None
    with tempfile.TemporaryDirectory() as folder:
        encoded = Path(folder) / "film.mp4"  # ffmpeg goes back to the beginning of its file, and wants a name

        def add(frame: NDArray[np.uint8]) -> None:
            nonlocal encoder
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), "edge")  # H.264 halves the colours' resolution
            if encoder is None:
                encoder = imageio_ffmpeg.write_frames(
                    encoded, (even.shape[1], even.shape[0]), fps=frames_per_second, macro_block_size=2, ffmpeg_log_level="error"
                )
                encoder.send(None)
            try:
                encoder.send(even.tobytes())
            except OSError as error:
                raise InputError(f"ffmpeg stopped: expected it to take all frames. Got: {error}.") from error

        try:
            yield add
        finally:
            if encoder is not None:
                encoder.close()  # waits for ffmpeg
        if not encoded.exists() or encoded.stat().st_size == 0:
            raise InputError("ffmpeg wrote no film: expected a codec and space for it. EDGEDQN_VERBOSE=1 shows what it says.")
        with encoded.open("rb") as source:
            shutil.copyfileobj(source, file)


def _picture(frame: object) -> NDArray[np.uint8]:
    """[H, W, 3] bytes, large enough to be seen."""
    array = np.asarray(frame)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or 0 in array.shape:
        got = list(array.shape) if array.ndim else type(frame).__name__
        raise InputError(f"The environment drew no picture: expected an array [height, width, 3]. Got {got}.")
    array = array[:, :, :3]
    if array.dtype.kind == "f":
        array = np.rint(255 * array.clip(0, 1))
    factor = -(-SMALLEST_SIDE // max(array.shape[:2]))
    picture: NDArray[np.uint8] = array.astype(np.uint8).repeat(factor, axis=0).repeat(factor, axis=1)
    return picture


def _changed(before: NDArray[np.uint8], frame: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Top, left, height and width of what differs; one pixel where nothing does, since a frame cannot be empty."""
    differs = (before != frame).any(axis=2)  # [H, W]
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, 1, 1
    return int(rows[0]), int(columns[0]), int(rows[-1] - rows[0]) + 1, int(columns[-1] - columns[0]) + 1


def _missing(kind: str, error: Exception) -> str:
    return f"{kind} films need the extra `render`: pip install 'edgedqn[render]'. Got: {error}."
