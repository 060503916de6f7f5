"""A short film of two policy files on the same reset seed, for the report."""

import tempfile
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError, one_line
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import choose
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.report.page import Film
from edgedqn.export.edge_policy import EdgePolicy
from edgedqn.pipeline.viewing.film import film

PICTURES = "rgb_array"
LONGEST = 500  # steps
FRAMES = 150  # of which as many are shown at most
FRAMES_PER_SECOND = 15
HEIGHT = 200  # pixels at most
MOST_BYTES = 1_000_000
GAP = 4  # pixels between the two


def side_by_side(baseline: Path, candidate: Path, source: EnvironmentSource, seed: int) -> Film | str:
    """Plays both on one reset seed and films them, the float file on the left and the other on the right.

    Or says why it cannot: a package is missing, or the environment draws nothing.
    """
    try:
        with closing(make_environment(source)) as env:
            if PICTURES not in env.metadata.get("render_modes", ()):
                return f"{source.id} draws no pictures."
        (left, left_return), (right, right_return) = (_episode(path, source, seed) for path in (baseline, candidate))
        height, longest = left[0].shape[0], max(len(left), len(right))
        between = np.full((height, GAP if height > GAP * 10 else 1, 3), 128, left[0].dtype)
        frames = [
            np.concatenate([left[min(at, len(left) - 1)], between, right[min(at, len(right) - 1)]], axis=1)
            for at in range(0, longest, -(-longest // FRAMES))
        ]
        content, still = _gif(frames), _gif(frames[:1])
    except Exception as error:  # a renderer of the user's own may raise anything, and the report goes without a film
        return one_line(error)
    if len(content) > MOST_BYTES:
        return f"A report carries a film of at most {MOST_BYTES:,} bytes. Got {len(content):,}."
    return Film(gif=content, still=still, name=candidate.stem, seed=seed, returns=(left_return, right_return))


def _gif(frames: Sequence[NDArray[Any]]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.gif"
        with film(path, FRAMES_PER_SECOND) as add:
            for frame in frames:
                add(frame)
        return path.read_bytes()


def _episode(path: Path, source: EnvironmentSource, seed: int) -> tuple[list[NDArray[Any]], float]:
    """The pictures, the first before any step, and the return so far."""
    policy = EdgePolicy.load(path)
    with closing(make_environment(source, PICTURES)) as env:
        observation, info = env.reset(seed=seed)
        pictures, total = [_small(env.render())], 0.0
        for _ in range(LONGEST):
            observation, reward, terminated, truncated, info = env.step(choose(policy, observation, info))
            total += float(reward)
            pictures.append(_small(env.render()))
            if terminated or truncated:
                break
    return pictures, total


def _small(frame: object) -> NDArray[Any]:
    """Every n-th pixel of a picture [H, W, 3], so that it is at most 200 high."""
    picture = np.asarray(frame)
    if picture.ndim != 3:
        raise InputError(f"Expected an environment that draws pictures [height, width, 3]. Got {type(frame).__name__}.")
    step = max(1, -(-picture.shape[0] // HEIGHT))
    return picture[::step, ::step, :3].copy()
