"""`import`: an agent from elsewhere in a run folder, in place of one that was trained there."""

import hashlib
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import require
from edgedqn.agents.importing.agents import NOTHING, ModelOptions, as_agent, fit, read_model
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.simulators.atari import told_of
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Atari, EnvironmentSpec, is_beyond_images, spec_of
from edgedqn.agents.teaching.graph import NumpyGraph
from edgedqn.agents.teaching.teachers import FunctionTeacher, Teacher, find_function
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json
from edgedqn.pipeline.commands.runs import asked_source
from edgedqn.pipeline.commands.teaching import EPISODES, teach
from edgedqn.pipeline.config import ImportedAgent
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import ON_POLICY_STATES

Learn: TypeAlias = Callable[[SeedStreams, int], TrainedAgent]


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
        gives=arguments.gives,
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
    model: str | Path,
    source: str | EnvironmentSource,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    states: int = ON_POLICY_STATES,
    told: ModelOptions = NOTHING,
) -> Job:
    """Makes a run, its stage `train` done; `run` with the same environment, seed and folder goes on.

    Nothing in a file is run: its description is compared with a list of layers, and its weights are copied. What it does not
    say and is assumed, and what it does otherwise than the network here, is told on stderr. A function, and a network that is
    no chain of ours, plays, and a chain of ours is taught to do the same: that is the agent then, and how it compares with its
    teacher is told, and kept in the agent's `statistics`.

    Args:
      model: a file that `read_model` reads, or `module:function`, of an observation, which gives what `FunctionTeacher` takes.
      source: of the environment it was trained for.
      out: as of `scripting.run`.
      seed: as of `scripting.run`.
      states: observations to gather while it plays, >= 1.
      told: what the file does not say, or what the function gives.
    Raises:
      InputError: the model or a part of it cannot be used, or does not fit the environment, and nothing was written; or the
        environment or the function failed while it played, and the run folder is there without an agent.
    """
    source = EnvironmentSource.of(source)
    options = told.words() + (("--states", str(states)) if states != ON_POLICY_STATES else ())
    is_function = ":" in str(model) and not Path(model).exists()
    origin, learn = (_of_function if is_function else _of_file)(model, source, told)
    job = Job.create(source, out=out, seed=seed, training=replace(origin, options=options))
    with job.locked():
        if not job.folder.is_done("train"):
            with job.folder.stage("train"):
                learn(SeedStreams(seed), states).save(job.folder.agent)
    return job


def _of_file(path: str | Path, source: EnvironmentSource, told: ModelOptions) -> tuple[ImportedAgent, Learn]:
    """Where the agent comes from, and what makes it."""
    model = read_model(Path(path), told)
    with closing(make_environment(source)) as env:
        spec = fit(model, env, source=source)  # before the folder is made
    if Atari() in spec.preprocessing:
        told_of_game = told_of(source.name, by_sb3=model.kind == "stable-baselines3")
        print(f"{told_of_game} Frames stacked: {spec.frame_stack}, channels last.", file=sys.stderr)
    for assumed in model.assumed:
        print(f"Assumed of {model.source}: {assumed}.", file=sys.stderr)
    if model.clip is not None:
        print(f"Not done here: VecNormalize clips what the network sees at {model.clip:g}.", file=sys.stderr)
    origin = ImportedAgent(model.source, model.source_sha256, model.kind)
    if model.not_a_chain is None:
        return origin, lambda streams, states: as_agent(
            model, source, reset_seeds=streams.reset_seeds("calibrate"), count=states
        )
    print(f"It is no chain of ours, so it teaches one. {model.not_a_chain}", file=sys.stderr)
    graph = NumpyGraph(describe(model.network), model.network.get_weights(), masked=spec.masked)
    return origin, partial(_taught, graph, spec, origin)


def _of_function(name: str | Path, source: EnvironmentSource, told: ModelOptions) -> tuple[ImportedAgent, Learn]:
    """The same of a function."""
    told_of_files = [option for option, value in vars(told).items() if value is not None and option != "gives"]
    require(not told_of_files, f"expected no {', '.join(told_of_files)} beside a function.")
    function = find_function(str(name))
    with closing(make_environment(source)) as env:
        spec = spec_of(env, source, flatten=is_beyond_images(env))
    teacher = FunctionTeacher(function, str(name), n_actions=spec.n_actions, gives=told.gives or "values")
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):  # typed at a prompt, or of another language
        content = str(name).encode()
    origin = ImportedAgent(str(name), hashlib.sha256(content).hexdigest(), "function")
    return origin, partial(_taught, teacher, spec, origin)


def _taught(teacher: Teacher, spec: EnvironmentSpec, origin: ImportedAgent, streams: SeedStreams, states: int) -> TrainedAgent:
    found = teach(teacher, spec, streams=streams, states=states)
    low, high = found.difference.low, found.difference.high
    print(
        f"Taught: a return of {found.student:.4g} where its teacher has {found.teacher:.4g} (paired difference "
        f"{found.difference.mean:+.3g}, 95 % interval {low:+.3g} to {high:+.3g}, {EPISODES} episodes).",
        file=sys.stderr,
    )
    compared = {"mean_return": found.student, "teacher_return": found.teacher, "difference": found.difference.to_json()}
    statistics = {"source": origin.source, "source_sha256": origin.source_sha256, "kind": origin.kind, "taught": compared}
    return replace(found.agent, statistics=statistics)
