"""`import`: an agent from elsewhere in a run folder, in place of one that was trained there."""

import sys
from argparse import Namespace
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from edgedqn.agents.importing.agents import NOTHING, ModelOptions, as_agent, fit, read_model
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json
from edgedqn.pipeline.commands.runs import asked_source
from edgedqn.pipeline.config import ImportedAgent
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import ON_POLICY_STATES


def import_agent(arguments: Namespace) -> int:
    """Makes a run of a model."""
    source = asked_source(arguments)
    told = ModelOptions(
        activation=arguments.activation,
        part=arguments.part,
        strides=arguments.strides and tuple(arguments.strides),
        hidden=arguments.hidden and tuple(arguments.hidden),
        model_json=arguments.model_json,
        normalize=arguments.normalize,
    )
    job = import_model(arguments.model, source, out=arguments.out, seed=arguments.seed, states=arguments.states, told=told)
    if arguments.json:
        origin = asdict(job.settings.training)
        stages = [stage.to_json() for stage in job.folder.description.stages if stage.name == "train"]
        print_json(arguments, {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages, **origin})
    else:
        print(f"import done: {job.folder.path}")
    return DONE


def import_model(
    path: Path,
    source: str | EnvironmentSource,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    states: int = ON_POLICY_STATES,
    told: ModelOptions = NOTHING,
) -> Job:
    """Makes a run, its stage `train` done; `run` with the same environment, seed and folder goes on.

    Nothing in the file is run: its description is compared with a list of plain layers, and its weights are copied. What it
    does not say and is assumed, and what it does otherwise than the network here, is told on stderr.

    Args:
      path: a file that `read_model` reads.
      source: of the environment it was trained for.
      out: as of `scripting.run`.
      seed: as of `scripting.run`.
      states: observations to gather while it plays, >= 1.
      told: what the file does not say.
    Raises:
      InputError: the file or a part of it cannot be used, or does not fit the environment, and nothing was written; or the
        environment failed while the model played it, and the run folder is there without an agent.
    """
    model, source = read_model(path, told), EnvironmentSource.of(source)
    with closing(make_environment(source)) as env:
        fit(model, env, source=source)  # before the folder is made
    for assumed in model.assumed:
        print(f"Assumed of {model.source}: {assumed}.", file=sys.stderr)
    if model.clip is not None:
        print(f"Not done here: VecNormalize clips what the network sees at {model.clip:g}.", file=sys.stderr)
    options = told.words() + (("--states", str(states)) if states != ON_POLICY_STATES else ())
    origin = ImportedAgent(model.source, model.source_sha256, model.kind, options)
    job = Job.create(source, out=out, seed=seed, training=origin)
    with job.locked():
        if not job.folder.is_done("train"):
            with job.folder.stage("train"):
                seeds = SeedStreams(seed).reset_seeds("calibrate")
                as_agent(model, source, reset_seeds=seeds, count=states).save(job.folder.agent)
    return job
