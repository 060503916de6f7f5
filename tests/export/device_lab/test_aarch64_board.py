"""The bundle on an emulated Raspberry-Pi-class board: the actions of this machine, every one. Its speed says nothing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.simulators.atari import register
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.methods.distillation import Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.recipe import Recipe
from edgedqn.export.devices.board.bundle import TWIN, write_board
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.pipeline import training as stages
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.scripting import run

OBSERVATIONS = 1_000

BoardPython = Callable[..., str]


@pytest.fixture
def board(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> Path:
    """A bundle in a folder of its own."""
    (tmp_path / "device").mkdir()
    write_board(read_verified(cartpole_files[0]), tmp_path / "device", twin=read_verified(cartpole_files[1]))
    return tmp_path / "device"


@pytest.mark.parametrize("name", ["policy.tflite", f"board/{TWIN}"])
def test_computes_the_actions_of_this_machine(board: Path, board_python: BoardPython, ask_board: str, name: str) -> None:
    # Wide and narrow ones: the clamp at the ends of int8, and the levels round zero.
    widths = np.repeat([0.1, 1.0, 10.0, 1_000.0], OBSERVATIONS // 4)[:, np.newaxis]
    observations = (np.random.default_rng(17).normal(size=(OBSERVATIONS, 4)) * widths).astype(np.float32)
    np.save(board / "observations.npy", observations)
    policy = EdgePolicy.load(board / name)
    (board / "ask.py").write_text(ask_board)
    answer: dict[str, Any] = json.loads(board_python(board, "ask.py", name))
    assert answer["machine"] == "aarch64"
    actions = [policy(x) for x in observations]
    assert set(actions) == {0, 1}  # else any board would pass
    assert answer["actions"] == actions
    assert answer["rows"] == [policy.preferences(x).tolist() for x in observations]


def test_runs_the_scripts_of_the_bundle(board: Path, board_python: BoardPython) -> None:
    told = board_python(board, "run_policy.py", "--steps", "10", "--hertz", "1000").splitlines()
    assert told[0].startswith("Observation to action: ")
    assert len(told[-1].split()) == 10
    board_python(board, "bench_on_device.py", "board.json", "--calls", "20")
    measured = json.loads((board / "board.json").read_text())
    assert measured["machine"]["architecture"] == "aarch64"
    assert [row["file"] for row in measured["rows"]] == ["policy.tflite", f"board/{TWIN}"]


@pytest.mark.filterwarnings("ignore:The agent for ALE/Pong-v5 is no better than a random policy")
def test_a_game_from_its_training_to_the_screens_that_a_board_sees(
    tmp_path: Path, board_python: BoardPython, ask_board: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole path in a thousand steps: what has learned next to nothing is compressed, proven and bundled all the same."""
    pytest.importorskip("ale_py", reason="needs games: the extra atari")
    training = TrainingConfig(
        steps=1_000,
        network="nips",
        hidden=(16,),
        frame_stack=4,
        buffer_size=1_000,
        learning_starts=300,
        batch_size=8,
        learning_rate=1e-5,  # all neurons of a layer that never fire make a file that XNNPACK refuses
        train_freq=8,
        gradient_steps=1,
        num_envs=2,
        evaluation_interval=1_000,
        evaluation_episodes=1,
        finalists=1,
    )
    monkeypatch.setattr(stages, "ON_POLICY_STATES", 300)
    learning = QuantizeAware(Distillation(steps=50, batch_size=8))
    recipe = Recipe("rounded", "fifty gradient steps with int8 in the loop", (ScaleInput(), learning), "qat-int8")
    timing = LatencyConfig(blocks=2, invokes_per_block=5, patience_s=0.0)
    config = RunConfig(training=training, gate=Gate(0.05, looks=(2,)), latency=timing)
    source = EnvironmentSource("ALE/Pong-v5", max_episode_steps=100)
    result = run(source, out=tmp_path / "run", recipes=[recipe], config=config)
    _, *rows = result.measured.rows
    assert [(row.name, row.status, row.gate) for row in rows] == [(n, "ok", "undecided") for n in ("ptq-int8", "rounded")]
    (tmp_path / "device").mkdir()
    write_board(read_verified(result.folder / rows[0].file), tmp_path / "device")
    register("ALE/Pong-v5")
    env = gymnasium.make("ALE/Pong-v5", frameskip=1)
    env.reset(seed=0)
    frames = [env.step(env.action_space.sample())[0] for _ in range(200)]
    screens = np.stack([frames[i : i + 2] for i in range(2, 200, 4)])  # [50, 2, 210, 160, 3]: the last two of four
    np.save(tmp_path / "device" / "observations.npy", screens)
    (tmp_path / "device" / "ask.py").write_text(ask_board)
    answer: dict[str, Any] = json.loads(board_python(tmp_path / "device", "ask.py", "policy.tflite"))
    policy = EdgePolicy.load(tmp_path / "device")
    assert answer["rows"] == [policy.preferences(x).tolist() for x in screens]
    assert answer["actions"] == [policy(x) for x in screens]
    assert len({tuple(row) for row in answer["rows"]}) > 1  # else any board would pass
