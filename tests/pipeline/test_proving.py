"""What proves a file was seen by nothing that made it."""

import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.classic_control import CartPoleEnv

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import q_network
from edgedqn.agents.playing.environments import agent_view, make_environment, register_factory
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.config import TrainingConfig
from edgedqn.benchmarks.feeding import fed
from edgedqn.benchmarks.foreign import read_foreign
from edgedqn.benchmarks.machine import describe_machine
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.playing import Play, Players
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Return
from edgedqn.compression.folding import InputScaling
from edgedqn.compression.methods.distillation import Distil, Distillation
from edgedqn.compression.methods.initialization import ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.stage import Stage
from edgedqn.export.edge_policy import ACTION_MASK, Actions, DeviceManifest, EdgePolicy, Feature, VerifiedFile, read_verified
from edgedqn.export.tflite import to_tflite
from edgedqn.pipeline import judge, proving
from edgedqn.pipeline.config import Changes
from edgedqn.pipeline.job import Job, RunResult
from edgedqn.pipeline.proving import STATES, play_on_seeds, source_of, spec_for, states_on_prove_seeds, with_stress
from edgedqn.pipeline.seeds import BLOCK, STREAMS, SeedStreams

LESSON = Distillation(steps=100)
ROUND = Quantize(("round",), states=300)
TAUGHT = Distil(learning=LESSON, greedy_states=500, explored_states=200, rounds=0)


@pytest.fixture
def reset_seeds(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Every seed that CartPole is reset with, in this process."""
    seen: list[int] = []
    reset = CartPoleEnv.reset

    def spy(self: gymnasium.Env[Any, Any], *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        assert seed is not None, "an episode that depends on the one before"
        seen.append(seed)
        return reset(self, seed=seed, options=options)  # type: ignore[arg-type]

    monkeypatch.setattr(CartPoleEnv, "reset", spy)
    yield seen


def streams_of(seeds: list[int]) -> set[str]:
    return {STREAMS[seed // BLOCK] for seed in seeds}


def test_nothing_before_the_bench_sees_a_prove_seed(
    reset_seeds: list[int], tiny_training: TrainingConfig, tmp_path: Path
) -> None:
    teach = replace(TAUGHT, rounds=1, student_states=200)
    tiny = Recipe("tiny", "", (teach, QuantizeAware(LESSON)), "qat-int8")
    job = Job.create("CartPole-v1", out=tmp_path / "run", training=tiny_training, changes=Changes(recipes=(tiny,)))
    with job.locked(), quiet():
        job.do(("train",))
        assert streams_of(reset_seeds) == {"train", "select", "calibrate"}
        reset_seeds.clear()
        job.do(("compress", "export"))
    # With one core alone, this process plays to see how fragile the agent is.
    assert streams_of(reset_seeds) in ({"calibrate"}, {"calibrate", "select"})


@pytest.mark.parametrize(
    "stages",
    [
        (ScaleInput(), Search(attempts=1, teaching=TAUGHT, quantizing=ROUND)),
        (ScaleInput(), TAUGHT, Shrink(attempts=1, teaching=TAUGHT, quantizing=ROUND)),
        (ScaleInput(), ROUND),
    ],
    ids=["search", "shrink", "quantize"],
)
def test_what_asks_the_judge_sees_no_prove_seed_either(
    reset_seeds: list[int],
    tiny_training: TrainingConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stages: tuple[Stage, ...],
) -> None:
    plays: list[Play] = []

    def watched(play: Play, progress: bool) -> Players:
        plays.append(play)
        return Players(replace(play, workers=1), progress)  # in this process, where the seeds are seen

    monkeypatch.setattr(judge, "Players", watched)
    changes = Changes(recipes=(Recipe("tiny", "", stages, "qat-int8"),))
    job = Job.create("CartPole-v1", out=tmp_path / "run", training=tiny_training, changes=changes)
    with job.locked(), quiet():
        job.do(("train",))
        reset_seeds.clear()
        job.do(("compress",))
    assert streams_of(reset_seeds) == {"agreement", "calibrate", "select"}
    assert all(streams_of(list(play.seeds)) == {"select"} for play in plays)
    *_, report = CompressedPolicy.load(job.folder.compressed("tiny")).reports
    assert report.findings.attempts is not None
    (attempt,) = report.findings.attempts
    assert attempt.judgement.episodes >= 100 and attempt.judgement.env_steps > 0
    assert report.findings.passed == (attempt.judgement.verdict == "pass")


def test_agreement_and_gate_are_measured_on_prove_seeds_alone(reset_seeds: list[int], tiny_run: RunResult) -> None:
    streams = SeedStreams(0)
    policy = EdgePolicy.load(tiny_run.folder / "models" / "float32.tflite")
    observations = states_on_prove_seeds(policy, EnvironmentSource("CartPole-v1"), streams)
    assert observations.shape == (STATES, 4) and observations.dtype == np.float32
    assert streams_of(reset_seeds) == {"prove"}
    play = play_on_seeds(EnvironmentSource("CartPole-v1"), streams, Gate(looks=(300, 600)))
    assert streams_of(list(play.seeds)) == {"prove"} and len(play.seeds) == 600


def float_file(path: Path, env_id: str, frame_stack: int = 1) -> TrainedAgent:
    """Writes the file of an untrained agent."""
    with closing(make_environment(env_id)) as env:
        spec = spec_of(env, env_id, frame_stack=frame_stack)
    network = q_network(spec.input_shape, spec.n_actions, hidden=(8,), rng=np.random.default_rng(0))
    policy = CompressedPolicy(
        network=network,
        conversion="float32",
        scaling=InputScaling.identity(),
        meaning="q_values",
        spec=spec,
        observations=np.empty(0),
        recipe="float32",
        reports=(),
        layers=describe(network),
    )
    path.write_bytes(to_tflite(policy))
    return TrainedAgent(network, spec, np.empty(0), {})


@pytest.mark.parametrize(("env_id", "frame_stack"), [("FrozenLake-v1", 1), ("CartPole-v1", 3)])
def test_states_are_those_the_agents_network_would_visit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, env_id: str, frame_stack: int
) -> None:
    monkeypatch.setattr(proving, "STATES", 300)
    agent = float_file(tmp_path / "float32.tflite", env_id, frame_stack)
    found = states_on_prove_seeds(EdgePolicy.load(tmp_path / "float32.tflite"), EnvironmentSource(env_id), SeedStreams(4))
    with closing(make_environment(env_id)) as env:
        seeds = SeedStreams(4).reset_seeds("prove")
        expected = gather_observations(agent.policy, agent_view(env, agent.spec), reset_seeds=seeds, count=300)
    assert found.shape == (300, *agent.spec.input_shape) and found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)


def test_a_file_of_another_environment_is_refused(tmp_path: Path) -> None:
    float_file(tmp_path / "float32.tflite", "CartPole-v1")
    policy = EdgePolicy.load(tmp_path / "float32.tflite")
    with pytest.raises(InputError, match=r"another environment than Acrobot-v1: expected observations \[6\]"):
        states_on_prove_seeds(policy, EnvironmentSource("Acrobot-v1"), SeedStreams(0))


def of_file(environment: object, **device: Any) -> VerifiedFile:
    manifest = DeviceManifest(
        **{
            "env_id": "Pendulum-v1",
            "observation_shape": (3,),
            "observation_dtype": "float32",
            "n_actions": 3,
            "preprocessing": (),
            "scale": (1.0,),
            "offset": (0.0,),
            "meaning": "preferences",
            "recipe": "test",
            **device,
        }
    )
    evidence = {} if environment is None else {"environment": environment}
    return VerifiedFile(path=Path("a.tflite"), model=None, device=manifest, evidence=evidence)  # type: ignore[arg-type]


def test_a_file_is_played_where_its_sidecar_says_or_else_as_its_manifest_lets_see() -> None:
    torque = Actions(((-2.0, 0.0, 2.0),), (1,), "float32")
    assert source_of(of_file(None, actions=torque)) == EnvironmentSource("Pendulum-v1", action_levels=3)
    recorded = {"id": "Pendulum-v1", "arguments": {"g": 9.0}, "action_levels": 3, "n_actions": 3}
    assert source_of(of_file(recorded, actions=torque)) == EnvironmentSource("Pendulum-v1", {"g": 9.0}, action_levels=3)
    assert source_of(of_file(recorded), "Other-v0") == EnvironmentSource("Other-v0")
    assert source_of(of_file(None, preprocessing=(ACTION_MASK,))).action_mask is True


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        (
            {"id": "Pendulum-v1", "wrappers": [{"name": "this:X"}]},
            r"was wrapped in this:X: expected the run's folder",
        ),
        ({"id": "Pendulum-v1", "wrappers": [{}]}, r"a\.json is damaged: expected how Pendulum-v1 is made"),
        ({"id": "Pendulum-v1", "max_episode_steps": "5"}, r"a\.json is damaged"),
    ],
)
def test_a_sidecar_that_anybody_may_have_written_imports_nothing(environment: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        source_of(of_file(environment))
    assert "this" not in sys.modules


def test_under_stress_a_file_without_a_manifest_is_fed_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    path, source = Path(__file__).parents[1] / "benchmarks" / "default_converter_float.tflite", EnvironmentSource("CartPole-v1")
    with closing(make_environment(source)) as env:
        device = fed(read_foreign(path), env, source=source, scale=(2.0,)).device
    asked: dict[str, Any] = {}
    monkeypatch.setattr(proving, "SENSED", 20)
    monkeypatch.setattr(proving, "measure_stress", lambda *_, **given: asked.update(given))
    row = BenchmarkRow(name=path.stem, file=path.name, episode_return=Return(1.0, 1.0, 1.0, 300))
    benchmark = Benchmark(describe_machine(1), path.stem, (row,))
    with_stress(benchmark, {path.stem: path}, source=source, streams=SeedStreams(0), fed={path: device})
    assert asked["play"].fed == {path: device} and asked["observations"].shape == (20, 4)


@pytest.mark.filterwarnings("ignore::edgedqn.agents.errors.EnvironmentWarning")
def test_a_file_of_other_keys_is_for_another_environment(tiny_run: RunResult) -> None:
    class Tank(CartPoleEnv):
        """CartPole's four numbers under two keys."""

        def __init__(self) -> None:
            super().__init__()
            two = gymnasium.spaces.Box(-9, 9, (2,))
            self.observation_space = gymnasium.spaces.Dict({"at": two, "angle": two})  # type: ignore[assignment]

    file = read_verified(tiny_run.folder / "models" / "qat-int8.tflite")
    register_factory("KeyedCartPole-v0", Tank)
    source = EnvironmentSource("KeyedCartPole-v0")
    with closing(make_environment(source)) as env:
        for keys, refused in (((), False), (("angle", "at"), False), (("at", "angle"), True)):
            device = replace(file.device, features=tuple(Feature(key, 2) for key in keys))
            policy = EdgePolicy.from_file(replace(file, device=device))
            if refused:
                expected = r"expected observations of angle \(2 numbers\), at \(2 numbers\)\. Got at \(2"
                with pytest.raises(InputError, match=expected):
                    spec_for(policy, env, source=source)
            else:
                assert spec_for(policy, env, source=source).features  # also of a file from before there were names
    with closing(make_environment("CartPole-v1")) as env, pytest.raises(InputError, match="expected observations of no keys"):
        spec_for(policy, env, source=EnvironmentSource("CartPole-v1"))
