"""`import`: an agent from elsewhere in a run folder, in place of one that was trained there."""

from argparse import Namespace
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from edgedqn.agents.importing.agents import as_agent, fit, read_model
from edgedqn.agents.playing.environments import make_environment
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json
from edgedqn.pipeline.config import ImportedAgent
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import ON_POLICY_STATES


def import_agent(arguments: Namespace) -> int:
    """Makes a run of a model."""
    job = import_model(arguments.model, arguments.env_id, out=arguments.out, seed=arguments.seed)
    if arguments.json:
        origin = asdict(job.settings.training)
        stages = [stage.to_json() for stage in job.folder.description.stages if stage.name == "train"]
        print_json(arguments, {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages, **origin})
    else:
        print(f"import done: {job.folder.path}")
    return DONE


def import_model(path: Path, env_id: str, *, out: str | Path | None = None, seed: int = 0) -> Job:
    """Makes a run, its stage `train` done; `run` with the same environment, seed and folder goes on.

    Nothing in the file is run: its description is compared with a list of plain layers, and its weights are copied.

    Args:
      path: a `.keras`, an `.h5` as `model.save` writes it, or the `.zip` of a Stable-Baselines3 DQN.
      env_id: the environment it was trained for.
      out: as of `scripting.run`.
      seed: as of `scripting.run`.
    Raises:
      InputError: the file or a part of it cannot be used, or does not fit the environment, and nothing was written; or the
        environment failed while the model played it, and the run folder is there without an agent.
    """
    model = read_model(path)
    with closing(make_environment(env_id)) as env:
        fit(model, env, env_id=env_id)  # before the folder is made
    origin = ImportedAgent(model.source, model.source_sha256, model.kind)
    job = Job.create(env_id, out=out, seed=seed, training=origin)
    with job.locked():
        if not job.folder.is_done("train"):
            with job.folder.stage("train"):
                seeds = SeedStreams(seed).reset_seeds("calibrate")
                as_agent(model, env_id, reset_seeds=seeds, count=ON_POLICY_STATES).save(job.folder.agent)
    return job
