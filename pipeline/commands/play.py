"""`play` of a .tflite, in a window, as a film or in a browser. Needs no TensorFlow."""

import json
from argparse import Namespace
from functools import partial

from tqdm import tqdm

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.evaluation import Evaluation
from edgedqn.pipeline.commands import SCHEMA
from edgedqn.pipeline.commands.evaluate import load_file
from edgedqn.pipeline.exit_codes import DONE
from edgedqn.pipeline.viewing.play import Load, film_path
from edgedqn.pipeline.viewing.play import play as play_policy
from edgedqn.pipeline.viewing.serving import address, page_folder, serve, server


def play(arguments: Namespace) -> int:
    """Plays the file."""
    if arguments.browser:
        return _play_in_browser(arguments)
    return show(partial(load_file, arguments), arguments)


def show(load: Load, arguments: Namespace) -> int:
    """Plays what `load` gives, in a window or into a film."""
    if arguments.port is not None:
        raise InputError("Only a page is served. Expected --browser beside --port. Got none.")

    def print_episode(env_id: str, seed: int, evaluation: Evaluation) -> None:
        if not arguments.json:
            tqdm.write(f"{env_id}, reset seed {seed}: return {evaluation.returns[0]:.2f}, {evaluation.env_steps} steps")

    film = film_path(arguments.gif, arguments.video)
    seeds = range(arguments.seed, arguments.seed + arguments.episodes)
    performance = play_policy(load, seeds, path=film, frames_per_second=arguments.fps, on_episode=print_episode)
    if arguments.json:
        found = {
            "schema": SCHEMA,
            "policy": str(arguments.path),
            "env_id": performance.env_id,
            "episodes": arguments.episodes,
            "seed": arguments.seed,
            "returns": list(performance.returns),
            "env_steps": performance.env_steps,
            "film": str(film) if film else None,
            "frames": performance.frames,
            "fps": performance.frames_per_second,
        }
        print(json.dumps(found))
    elif film is not None:
        print(f"Film: {film} ({performance.frames} frames, {performance.frames_per_second:g} per second)")
    return DONE


def _play_in_browser(arguments: Namespace) -> int:
    given = [f"--{name}" for name in ("gif", "video", "fps") if getattr(arguments, name) is not None]
    if given:
        raise InputError(f"A page plays by itself. Expected no {', '.join(given)} beside --browser.")
    with page_folder(arguments.path) as folder, server(folder, arguments.port or 0) as listening:
        url = address(listening)
        found = json.dumps({"schema": SCHEMA, "policy": str(arguments.path), "url": url})
        print(found if arguments.json else f"Open {url} in a browser; Ctrl-C ends it.", flush=True)
        serve(listening)
    return DONE
