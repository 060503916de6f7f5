"""The stages of a run, each from files to files."""

import csv
import io
import shutil
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from edgedqn.agents.atomic_files import read_json, write_bytes, write_json, write_text
from edgedqn.agents.dqn import build_dqn
from edgedqn.agents.environments import make_environment, spec_of
from edgedqn.agents.noninferiority import GateResult
from edgedqn.agents.numpy_network import NumpyMlp
from edgedqn.agents.observations import gather_observations
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training import Checkpoint, CheckpointSelection, TrainingReport
from edgedqn.agents.training import train as train_agent
from edgedqn.benchmarks.comparison import SCHEMA as BENCHMARK_SCHEMA
from edgedqn.benchmarks.comparison import compare
from edgedqn.benchmarks.report import render_report
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.compression.recipes import compress as compress_agent
from edgedqn.export.edge_policy import PolicyFileError
from edgedqn.export.manifest import PolicyManifest, read_manifest, write_sidecar
from edgedqn.export.tflite import to_tflite
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.proving import prove_observations, prove_play
from edgedqn.pipeline.run_folder import RunFolder, versions
from edgedqn.pipeline.seeds import SeedStreams

ON_POLICY_STATES = 10_000


def train(run: RunFolder) -> None:
    """Trains the float agent: `agent/`.

    Raises:
      InputError: the environment gave a NaN. The best checkpoint so far stays in `agent/checkpoints/best/`.
    """
    env_id, config, streams = _of(run)
    training = config.training
    env, selection_env = make_environment(env_id), make_environment(env_id)
    spec = spec_of(env, env_id)
    agent = build_dqn(spec, training, streams.rng("train"))
    kept = tf_keras.models.clone_model(agent.network)
    shutil.rmtree(run.agent, ignore_errors=True)  # what is there would be taken for the result of this training

    def keep(checkpoint: Checkpoint) -> None:
        kept.set_weights(checkpoint.weights)
        statistics = {"env_steps": checkpoint.env_steps, "mean_return": checkpoint.mean_return}
        nothing_yet = np.zeros((0, *spec.observation_shape), np.float32)
        TrainedAgent(kept, spec, nothing_yet, statistics).save(run.best_checkpoint)

    selection = CheckpointSelection(
        selection_env,
        partial(streams.first_reset_seeds, "select"),
        training.evaluation_episodes,
        training.finalists,
        int(streams.rng("select").integers(2**31)),
        keep,
    )
    try:
        report = train_agent(
            agent, env, env_id, training.steps, streams.reset_seeds("train"), selection, training.evaluation_interval
        )
        observations = gather_observations(
            NumpyMlp(report.best.weights), env, streams.reset_seeds("calibrate"), ON_POLICY_STATES
        )
    finally:
        env.close()
        selection_env.close()
    write_text(run.agent / "training.csv", _csv(report))
    statistics = {
        "env_steps": training.steps,
        "gradient_steps": report.gradient_steps,
        "checkpoint": {"env_steps": report.best.env_steps, "mean_return": report.best.mean_return},
        "evaluations": [list(evaluation) for evaluation in report.evaluations],
        "seconds": round(report.seconds, 2),
    }
    TrainedAgent(agent.network, spec, observations, statistics).save(run.agent)


def compress(run: RunFolder, recipe: str) -> None:
    """Runs one recipe on the agent: `compressed/<recipe>/`."""
    env_id, _, streams = _of(run)
    env = make_environment(env_id)
    try:
        policy = compress_agent(
            TrainedAgent.load(run.agent),
            {FLOAT32.name: FLOAT32, **RECIPES}[recipe],
            env,
            streams.reset_seeds("calibrate"),
            streams.rng("calibrate", recipe),
        )
    finally:
        env.close()
    policy.save(run.compressed(recipe))


def export(run: RunFolder, recipe: str) -> None:
    """Converts a compressed policy: `models/<recipe>.tflite` and `.json`."""
    _, config, streams = _of(run)
    policy = CompressedPolicy.load(run.compressed(recipe))
    path = run.model(recipe)
    path.parent.mkdir(exist_ok=True)
    # Two files cannot be renamed at once: without the old sidecar, a reader finds either no evidence or the right one.
    path.with_suffix(".json").unlink(missing_ok=True)
    write_bytes(path, to_tflite(policy))
    evidence = {
        "environment": policy.spec.to_json(),
        "recipe": {"name": recipe, "stages": list(policy.reports)},
        "seed": run.description["seed"],
        "prove_seed": streams.first_reset_seed("prove"),
        "training": asdict(config.training),
        "versions": versions(),
    }
    write_sidecar(path, PolicyManifest(read_manifest(path).device, evidence))


def bench(run: RunFolder, recipes: tuple[str, ...]) -> dict[str, Any]:
    """Measures all files: `benchmark.json`, and the evidence beside each file. Returns the object of `benchmark.json`."""
    env_id, config, streams = _of(run)
    files = [run.model(name) for name in (FLOAT32.name, *recipes)]
    for path in files:
        with suppress(PolicyFileError):  # a damaged file becomes a failed row
            _record(path)  # what an earlier measurement found must not outlive it
    gates: dict[str, GateResult] = {}
    benchmark = compare(
        files,
        FLOAT32.name,
        config.latency,
        streams.rng("bench"),
        prove_observations(files[0], env_id, streams),
        prove_play(env_id, streams, config.gate),
        relative_to=run.path,
        on_gate=gates.__setitem__,
    )
    for path, row in zip(files, benchmark["rows"], strict=True):
        if row["status"] == "ok":
            gate = gates.get(path.stem)
            _record(path, benchmark=row, gate=asdict(gate) if gate else None)
    write_json(run.benchmark, benchmark)
    return benchmark


def _record(path: Path, **findings: Any) -> None:
    manifest = read_manifest(path)
    evidence = {key: value for key, value in manifest.evidence.items() if key not in ("benchmark", "gate")}
    write_sidecar(path, PolicyManifest(manifest.device, {**evidence, **findings}))


def report(run: RunFolder, command: str | None) -> None:
    """Writes `report.html` from `benchmark.json`; `command` is what makes the run again, if a command can."""
    benchmark = read_benchmark(run)
    write_text(run.report, render_report(benchmark, run.description, command, _margin(run, benchmark)))


def read_benchmark(run: RunFolder) -> dict[str, Any]:
    """The object of `benchmark.json`.

    Raises:
      InputError: it is missing or damaged.
    """
    return read_json(run.benchmark, BENCHMARK_SCHEMA)


def _margin(run: RunFolder, benchmark: dict[str, Any]) -> float | None:
    """The gate's margin in reward units, from the evidence of a file it was applied to."""
    for row in benchmark["rows"]:
        if row["status"] == "ok":
            gate = read_manifest(run.path / row["file"]).evidence.get("gate")
            if gate:
                return float(gate["margin"])
    return None


def _of(run: RunFolder) -> tuple[str, RunConfig, SeedStreams]:
    description = run.description
    return description["env_id"], RunConfig.from_json(description["config"]), SeedStreams(description["seed"])


def _csv(report: TrainingReport) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("env_steps", "episode_return", "epsilon", "loss"))
    writer.writerows(report.episodes)
    return text.getvalue()
