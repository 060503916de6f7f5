"""A policy played for people to watch: in a window, or into a film."""

import os
import warnings
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.playing.evaluation import Evaluation, Policy, evaluate
from edgedqn.agents.training.bars import tqdm
from edgedqn.pipeline.viewing.film import FASTEST_GIF, Add, film

USUAL_PACE = 30  # frames per second, where an environment names none; gymnasium's RecordVideo takes the same


class Player(NamedTuple):
    """A policy, its environment as the policy sees it, and that one's id."""

    policy: Policy
    env: gymnasium.Env[Any, Any]
    env_id: str


Load = Callable[[str], Player]  # render mode -> who plays


@dataclass(frozen=True, kw_only=True)
class Performance:
    """What was played."""

    env_id: str
    returns: tuple[float, ...]  # [N], of each episode, in reward units
    env_steps: int  # over all episodes
    frames: int  # how many were shown: one more than steps in each episode
    frames_per_second: float  # as shown


def film_path(gif: Path | None, video: Path | None) -> Path | None:
    """Where the film goes, or None for a window. InputError: both are given, or one does not end as it should."""
    require(gif is None or video is None, "Expected --gif or --video, or neither for a window. Got both.")
    for option, path, suffix in (("--gif", gif, ".gif"), ("--video", video, ".mp4")):
        if path is not None and path.suffix.lower() != suffix:
            raise InputError(f"Expected {option} to name a file that ends in {suffix}. Got {path}.")
    return gif or video


def play(
    load: Load,
    seeds: Iterable[int],
    *,
    path: Path | None = None,
    frames_per_second: float | None = None,
    on_episode: Callable[[str, int, Evaluation], None] = lambda env_id, seed, evaluation: None,
) -> Performance:
    """Plays one episode per reset seed.

    Args:
      load: makes the policy and its environment for a render mode.
      seeds: of the episodes, at least one.
      path: of the film, `.gif` or `.mp4`; None opens a window.
      frames_per_second: what the environment names by default, of a GIF at most 50.
      on_episode: called after each episode with the environment's id, the reset seed and the result.
    Raises:
      InputError: there is no display, the environment cannot be rendered this way, or the film cannot be made.
    """
    if path is None:
        _check_display()
    policy, env, env_id = _load(load, "human" if path is None else "rgb_array")
    with ExitStack() as stack:
        stack.enter_context(closing(env))
        pace = frames_per_second or env.metadata.get("render_fps") or USUAL_PACE
        add: Add | None = None
        if path is None:
            _set_pace(env, pace)
        else:
            if frames_per_second is None and path.suffix.lower() == ".gif":
                pace = min(pace, FASTEST_GIF)
            add = stack.enter_context(film(path, pace))
        bar = stack.enter_context(tqdm(desc="play", unit=" frames", disable=None, leave=False))
        returns: list[float] = []
        env_steps = frames = 0
        for seed in seeds:
            try:
                evaluation = evaluate(policy, Watched(env, add, bar), seeds=[seed])
            except gymnasium.error.DependencyNotInstalled as error:
                raise InputError(
                    f"{env_id} needs the extra `render` to be drawn: pip install 'edgedqn[render]'. Got: {error}"
                ) from error
            on_episode(env_id, seed, evaluation)
            returns += evaluation.returns
            env_steps += evaluation.env_steps
            frames += evaluation.env_steps + 1
    return Performance(env_id=env_id, returns=tuple(returns), env_steps=env_steps, frames=frames, frames_per_second=pace)


class Watched(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Shows what is seen after each reset and each step. A window, where there is one, is the environment's own."""

    def __init__(self, env: gymnasium.Env[Any, Any], add: Add | None, bar: "tqdm[Any]"):
        """Takes what adds a frame to the film, None where there is a window, and a progress bar that counts frames."""
        super().__init__(env)
        self._add = add
        self._bar = bar

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        result = self.env.reset(seed=seed, options=options)
        self._show()
        return result

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        result = self.env.step(action)
        self._show()
        return result

    def _show(self) -> None:
        if self._add is not None:
            self._add(self.env.render())
        self._bar.update()


def _load(load: Load, render_mode: str) -> Player:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gymnasium warns of a render mode it does not find; that is said below
        try:
            return load(render_mode)
        except InputError:
            raise
        except (TypeError, ValueError, gymnasium.error.Error) as error:
            if "render" not in str(error):
                raise
            raise InputError(f"The environment cannot be rendered as {render_mode!r}: {error}") from error


def _check_display() -> None:
    """InputError without a display: SDL would draw into memory and report nothing. SDL_VIDEODRIVER says that this is meant."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    try:
        import pygame
    except ImportError:
        return  # the environment has other means, or will say what it needs
    try:
        pygame.display.init()
        driver = pygame.display.get_driver()
        pygame.display.quit()
    except pygame.error as error:
        driver = f"none ({error})"
    if driver.startswith(("none", "offscreen", "dummy")) and "SDL_VIDEODRIVER" not in os.environ:
        raise InputError(
            f"There is no display for a window: --gif FILE makes a film. Expected a screen. Got SDL's driver {driver}."
        )


def _set_pace(env: gymnasium.Env[Any, Any], frames_per_second: float) -> None:
    """For this environment alone: what its class says stays."""
    env.metadata = {**env.metadata, "render_fps": frames_per_second}
    if isinstance(env, gymnasium.Wrapper):
        _set_pace(env.env, frames_per_second)
