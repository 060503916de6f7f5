"""Playing for people: what is shown is what is played, by a file without TensorFlow and by an agent with its own view."""

import json
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import imageio_ffmpeg
import numpy as np
import pytest
import tf_keras
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import agent_view, make_environment
from edgedqn.agents.playing.evaluation import evaluate
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.export.tflite_file.manifest import device_part, embed
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.viewing.play import Player, film_path, play

OWN = textwrap.dedent(
    '''
    """Environments that draw nothing, or draw without naming a pace."""
    import gymnasium, numpy as np

    class Blind(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-9, 9, (4,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        def reset(self, *, seed=None, options=None):
            self.t = 0
            return np.zeros(4, np.float32), {}
        def step(self, action):
            self.t += 1
            return np.zeros(4, np.float32), 1.0, self.t == 3, False, {}

    class Drawn(Blind):
        metadata = {"render_modes": ["rgb_array"]}
        def __init__(self, render_mode=None):
            self.render_mode = render_mode
        def render(self):
            return np.full((40, 30, 3), self.t / 4)

    class Fast(Drawn):
        metadata = {"render_modes": ["rgb_array"], "render_fps": 125}

    for made in (Blind, Drawn, Fast):
        gymnasium.register(f"{made.__name__}-v0", made)
    '''
)


@pytest.fixture(scope="module", autouse=True)
def no_screen() -> Iterator[None]:
    """SDL is told to draw nowhere, whatever the machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDL_VIDEODRIVER", "dummy")
        yield


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of the module with the environments."""
    folder = tmp_path_factory.mktemp("environments")
    (folder / "drawing_environments.py").write_text(OWN)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield "drawing_environments"


def steering(inputs: int, angle: int) -> tf_keras.Model:
    """A network that pushes the cart to where the pole leans; the angle is the input number `angle`."""
    network = q_network((inputs,), 2, hidden=[2], rng=np.random.default_rng(0))
    hidden = np.zeros((inputs, 2), np.float32)
    hidden[angle] = [1, -1]
    network.set_weights([hidden, np.zeros(2), np.array([[0, 1], [1, 0]], np.float32), np.zeros(2)])
    return network


def follow(observation: NDArray[Any]) -> int:
    return int(observation[2] > 0)


def spec(env_id: str, frame_stack: int = 1) -> EnvironmentSpec:
    with closing(make_environment(env_id)) as env:
        return spec_of(env, env_id, frame_stack=frame_stack)


@pytest.fixture(scope="module")
def write_file(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes a policy file that steers, for an environment with four features."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TensorFlow's own, while converting
        network = steering(4, 2)
        signature = tf.function(network).get_concrete_function(tf.TensorSpec((1, 4)))
        content = tf.lite.TFLiteConverter.from_concrete_functions([signature], network).convert()

    def write(env_id: str) -> Path:
        path = tmp_path_factory.mktemp("policies") / "policy.tflite"
        path.write_bytes(
            embed(
                content,
                device_part(
                    spec(env_id),
                    scale=np.ones(1, np.float32),
                    offset=np.zeros(1, np.float32),
                    meaning="q_values",
                    recipe="float32",
                ),
            )
        )
        return path

    return write


@pytest.fixture(scope="module")
def policy_file(write_file: Callable[[str], Path]) -> Path:
    return write_file("CartPole-v1")


def returns_of(seeds: list[int]) -> list[float]:
    with closing(make_environment("CartPole-v1")) as env:
        return list(evaluate(follow, env, seeds=seeds).returns)


def load_cartpole(render_mode: str) -> Player:
    return Player(follow, make_environment("CartPole-v1", render_mode), "CartPole-v1")


def load_own(name: str) -> Callable[[str], Player]:
    return lambda render_mode: Player(follow, make_environment(name, render_mode), name)


def refused(capsys: pytest.CaptureFixture[str], *said: str) -> None:
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1, err
    assert err.startswith("edgedqn: ")
    for words in said:
        assert words in err


def test_a_gif_of_a_policy_file(policy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "pole.gif"
    assert main(["play", str(policy_file), "--gif", str(film), "--seed", "3", "--episodes", "2", "--json"]) == 0
    (steps, more), out = map(int, returns_of([3, 4])), capsys.readouterr()
    assert json.loads(out.out) == {
        "schema": 1,
        "policy": str(policy_file),
        "env_id": "CartPole-v1",
        "episodes": 2,
        "seed": 3,
        "returns": [steps, more],
        "env_steps": steps + more,
        "film": str(film),
        "frames": steps + 1 + more + 1,
        "fps": 50,
    }
    assert out.err == ""
    with Image.open(film) as image:
        assert (image.size, getattr(image, "n_frames", 1), image.info["duration"]) == ((600, 400), steps + 1 + more + 1, 20)


def test_what_is_shown_is_what_was_played(tmp_path: Path) -> None:
    performance = play(load_cartpole, [5], path=tmp_path / "pole.gif")
    assert performance.returns == tuple(returns_of([5]))
    with make_environment("CartPole-v1", "rgb_array") as env, Image.open(tmp_path / "pole.gif") as image:
        observation, over = env.reset(seed=5)[0], False
        for number, frame in enumerate(ImageSequence.Iterator(image)):
            if number:
                observation, _, over, *_ = env.step(follow(observation))
            np.testing.assert_array_equal(np.asarray(frame.convert("RGB")), env.render())
        assert over
        assert getattr(image, "n_frames", 1) == performance.frames == performance.env_steps + 1


def test_a_video_of_a_policy_file(policy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film = tmp_path / "pole.mp4"
    assert main(["play", str(policy_file), "--video", str(film), "--seed", "3", "--fps", "25"]) == 0
    (steps,) = map(int, returns_of([3]))
    assert capsys.readouterr().out == (
        f"CartPole-v1, reset seed 3: return {steps}.00, {steps} steps\nFilm: {film} ({steps + 1} frames, 25 per second)\n"
    )
    assert imageio_ffmpeg.count_frames_and_secs(film) == (steps + 1, pytest.approx((steps + 1) / 25, abs=0.05))


def test_an_agent_folder_plays_with_its_own_view(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Two frames at once: a network of eight inputs, which the plain environment would not fit.
    stacked = spec("CartPole-v1", frame_stack=2)
    agent = TrainedAgent(steering(8, 6), stacked, np.zeros((1, 8), np.float32), {})
    agent.save(tmp_path / "agent")
    assert main(["play", str(tmp_path / "agent"), "--gif", str(tmp_path / "pole.gif"), "--seed", "3", "--json"]) == 0
    with agent_view(make_environment("CartPole-v1"), stacked) as env:
        expected = evaluate(agent.policy, env, seeds=[3]).returns
    assert tuple(json.loads(capsys.readouterr().out)["returns"]) == expected == tuple(returns_of([3]))


def test_a_window_shows_every_frame_at_the_pace_asked_for(
    policy_file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = []
    render: Any = CartPoleEnv.render

    def watch(self: CartPoleEnv) -> Any:
        shown.append((self.render_mode, self.metadata["render_fps"]))
        return render(self)

    monkeypatch.setattr(CartPoleEnv, "render", watch)
    assert main(["play", str(policy_file), "--seed", "3", "--fps", "5000", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (steps,) = returns_of([3])
    assert (told["returns"], told["film"], told["frames"], told["fps"]) == ([steps], None, steps + 1, 5000)
    assert shown == [("human", 5000)] * int(steps + 1)
    assert CartPoleEnv.metadata["render_fps"] == 50


def test_an_environment_that_only_draws_pictures_gets_a_window(own: str) -> None:
    performance = play(load_own(f"{own}:Fast-v0"), [0], frames_per_second=5000)
    assert (performance.frames, performance.frames_per_second) == (4, 5000)


@pytest.mark.parametrize(("options", "made"), [(["--fps", "5000"], []), (["--gif", "a.gif"], ["a.gif"])])
def test_a_policy_file_is_played_without_tensorflow(
    policy_file: Path, tmp_path: Path, options: list[str], made: list[str]
) -> None:
    code = "import sys\nfor name in ('tensorflow', 'tf_keras', 'keras'):\n    sys.modules[name] = None\n"
    code += "from edgedqn.pipeline.cli import console\nconsole()"
    command = [sys.executable, "-c", code, "play", str(policy_file), *options, "--json"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (0, "")
    assert json.loads(answer.stdout)["returns"] == returns_of([0])  # no greeting of pygame's beside it
    assert [path.name for path in tmp_path.iterdir()] == made


@pytest.mark.parametrize(
    ("name", "path", "asked", "shown"),
    [("Drawn", "a.gif", None, 30), ("Fast", "a.gif", None, 50), ("Fast", "a.mp4", None, 125), ("Fast", "a.gif", 20, 20)],
)
def test_the_pace_is_the_environments_or_the_usual(
    own: str, tmp_path: Path, name: str, path: str, asked: int | None, shown: int
) -> None:
    assert play(load_own(f"{own}:{name}-v0"), [0], path=tmp_path / path, frames_per_second=asked).frames_per_second == shown
    assert (tmp_path / path).stat().st_size > 0


def test_a_gif_that_is_asked_to_be_too_fast_is_refused(
    policy_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["play", str(policy_file), "--gif", str(tmp_path / "a.gif"), "--fps", "60"]) == 2
    refused(capsys, "at most 50 frames per second. Got 60")
    assert list(tmp_path.iterdir()) == []


def test_interrupted_it_leaves_the_old_film(tmp_path: Path) -> None:
    film = tmp_path / "pole.gif"
    film.write_bytes(b"old")

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(load_cartpole, [0, 1], path=film, on_episode=interrupt)
    assert film.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [film]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--gif", "a.gif", "--video", "a.mp4"], "Expected --gif or --video, or neither for a window. Got both."),
        (["--gif", "a.mp4"], "Expected --gif to name a file that ends in .gif. Got a.mp4."),
        (["--video", "a.avi"], "Expected --video to name a file that ends in .mp4. Got a.avi."),
        (["--gif", "missing/a.gif"], "missing/a.gif cannot be written"),
    ],
)
def test_bad_films_are_refused_in_one_line(
    policy_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["play", str(policy_file), *options]) == 2
    refused(capsys, said)
    assert list(tmp_path.iterdir()) == []


def test_the_film_is_the_one_that_is_named() -> None:
    assert film_path(None, None) is None
    assert film_path(Path("a.GIF"), None) == Path("a.GIF")
    assert film_path(None, Path("a.mp4")) == Path("a.mp4")


@pytest.mark.parametrize("display", [None, ":987"])
def test_without_a_display_there_is_no_window(
    policy_file: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], display: str | None
) -> None:
    for name in ("SDL_VIDEODRIVER", "WAYLAND_DISPLAY", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    if display:
        monkeypatch.setenv("DISPLAY", display)
    if sys.platform != "linux":
        pytest.skip("elsewhere there always is one")
    assert main(["play", str(policy_file)]) == 2
    said = [line for line in capfd.readouterr().err.splitlines() if line.startswith("edgedqn: ")]
    assert len(said) == 1
    assert "There is no display for a window: --gif FILE makes a film." in said[0]


@pytest.mark.parametrize(("options", "mode"), [([], "human"), (["--gif", "a.gif"], "rgb_array")])
def test_an_environment_that_cannot_be_drawn_is_refused(
    own: str,
    write_file: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: Any,
    mode: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["play", str(write_file(f"{own}:Blind-v0")), *options]) == 2
    refused(capsys, f"cannot be rendered as {mode!r}")
    assert list(tmp_path.iterdir()) == []


def test_without_pygame_the_extra_is_named(
    policy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "pygame", None)
    for options in ([], ["--gif", str(tmp_path / "a.gif")]):
        assert main(["play", str(policy_file), *options]) == 2
        refused(capsys, "CartPole-v1 needs the extra `render` to be drawn: pip install 'edgedqn[render]'")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_policy_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.tflite").write_bytes(b"x")
    for path in (tmp_path / "bad.tflite", tmp_path / "missing.tflite", tmp_path):
        assert main(["play", str(path), "--gif", str(tmp_path / "a.gif")]) == 2
        refused(capsys, str(path))
    assert not (tmp_path / "a.gif").exists()


def test_an_error_that_is_not_of_drawing_stays_one() -> None:
    def load(render_mode: str) -> Player:
        raise TypeError("a fault of ours")

    with pytest.raises(TypeError, match="a fault of ours"):
        play(load, [0])


def test_a_nan_on_the_way_is_told_with_its_seed(tmp_path: Path) -> None:
    class Broken(gymnasium.Wrapper):
        def step(self, action: int) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
            observation, *rest = super().step(action)
            return observation * np.nan, *rest

    with pytest.raises(InputError, match="in the episode of reset seed 7"):
        play(
            lambda mode: Player(follow, Broken(make_environment("CartPole-v1", mode)), "CartPole-v1"),
            [7],
            path=tmp_path / "a.gif",
        )
    assert list(tmp_path.iterdir()) == []
