"""`import`: an agent from elsewhere in a run folder, in place of one that was trained there."""

import hashlib
import inspect
import sys
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import tf_keras

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import require
from edgedqn.agents.files import Json
from edgedqn.agents.importing.agents import DEFAULTS, ForeignModel, ModelOptions, read_model
from edgedqn.agents.importing.comparison import compare, random_observations
from edgedqn.agents.importing.fitting import as_agent, fit
from edgedqn.agents.playing.environments import agent_view, as_given, make_environment
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.gate import Gate
from edgedqn.agents.playing.simulators.atari import told_of
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import Atari, EnvironmentSpec, Flatten, is_beyond_images, spec_of
from edgedqn.agents.playing.statistics import Interval, bootstrap_interval
from edgedqn.agents.teaching.graph import NumpyGraph
from edgedqn.agents.teaching.teachers import FunctionTeacher, Policy, Teacher, find_function
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.rows import Return
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json
from edgedqn.pipeline.commands.runs import asked_source
from edgedqn.pipeline.commands.teaching import play_until, teach
from edgedqn.pipeline.config import Changes, ImportedAgent
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import ON_POLICY_STATES

EPISODES = 100
SCORE_STEPS = 100_000  # of the environment: an agent that stalls in a game plays each episode to its limit
COMPARED_STATES = 64  # of play, on which a file's network is compared with its own library
FOLDED = ("Rescaling", "BatchNormalization", "DuelingMerge")  # into kernels, where the rest is a chain
FOUND = ("layers", "folded", "left_out")  # of the file's network, in an agent's statistics

Learn: TypeAlias = Callable[[SeedStreams, int, Gate], TrainedAgent]


def import_agent(arguments: Namespace) -> int:
    """Makes a run of a model."""
    source = asked_source(arguments)
    options = ModelOptions(
        activation=arguments.activation,
        part=arguments.part,
        strides=arguments.strides and tuple(arguments.strides),
        hidden=arguments.hidden and tuple(arguments.hidden),
        model_json=arguments.model_json,
        normalize=arguments.normalize,
        gives=arguments.gives,
    )
    job = import_model(
        arguments.model,
        source,
        out=arguments.out,
        seed=arguments.seed,
        states=arguments.states,
        options=options,
        gate_episodes=arguments.gate_episodes,
    )
    agent = TrainedAgent.load(job.folder.agent)
    if arguments.json:
        origin: Json = asdict(job.settings.training)
        stages = [stage.to_json() for stage in job.folder.description.stages if stage.name == "train"]
        shown = (*FOUND, "assumed", "compared", "score", "taught")
        origin |= {name: agent.statistics[name] for name in shown if name in agent.statistics}
        print_json(arguments, {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages, **origin})
    else:
        print(*_summary(agent), f"import done: {job.folder.path}", sep="\n")
    return DONE


def import_model(
    model: "str | Path | Policy",
    source: str | EnvironmentSource,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    states: int = ON_POLICY_STATES,
    options: ModelOptions = DEFAULTS,
    gate_episodes: int | None = None,
) -> Job:
    """Makes a run, its stage `train` done; `run` with the same environment, seed and folder goes on.

    Nothing in a file is run: its description is compared with a list of layers, and its weights are copied. Only an ONNX file,
    which is no program, is given to a library of its own, in another process, and its Q-values are compared. What a file does
    not say and is assumed is told on stderr. A function, and a network that is no chain of ours, plays, and a chain of ours is
    taught to do the same: that is the agent then, and every file of the run is compared with the teacher. What was found in
    the file is in the agent's `statistics`, with its return over 100 episodes of `select` and how that compares with its
    teacher's.

    Args:
      model: a file that `read_model` reads; or a function of an observation, which gives what `FunctionTeacher` takes, or its
        name, `module:function`.
      source: of the environment it was trained for.
      out: as of `scripting.run`.
      seed: as of `scripting.run`.
      states: observations to gather while it plays, >= 1.
      options: what the file does not say, or what the function gives.
      gate_episodes: at most, of the gate, as of `run`: as many a teacher plays, too.
    Raises:
      InputError: the model or a part of it cannot be used, does not fit the environment, or gives other Q-values than its own
        library says, and nothing was written; or the environment or the function failed while it played, and the run folder
        may be there without an agent.
    """
    source = EnvironmentSource.of(source)
    words = options.words() + (("--states", str(states)) if states != ON_POLICY_STATES else ())
    words += () if gate_episodes is None else ("--gate-episodes", str(gate_episodes))
    if callable(model) or (":" in str(model) and not Path(model).exists()):
        origin, learn = _of_function(model if callable(model) else str(model), source, options)
    else:
        origin, learn = _of_file(model, source, options, seed=seed)
    changes = Changes(gate_episodes=gate_episodes)
    job = Job.create(source, out=out, seed=seed, training=replace(origin, options=words), changes=changes)
    with job.locked():
        if not job.folder.is_done("train"):
            with job.folder.stage("train"):
                learn(SeedStreams(seed), states, job.settings.gate).save(job.folder.agent)
    return job


def _of_file(path: str | Path, source: EnvironmentSource, options: ModelOptions, *, seed: int) -> tuple[ImportedAgent, Learn]:
    """Where the agent comes from, and what makes it."""
    model = read_model(Path(path), options)
    with closing(make_environment(source)) as env:  # before the folder is made
        spec = fit(model, env, source=source)
        states = gather_observations(
            _graph(model, spec),
            agent_view(env, spec),
            reset_seeds=SeedStreams(seed).reset_seeds("calibrate"),
            count=COMPARED_STATES,
        )
    model, compared = compare(model, np.concatenate([random_observations(model), states.astype(np.float32)]))
    if Atari() in spec.preprocessing:
        told_of_game = told_of(source.name, by_sb3=model.kind == "stable-baselines3")
        print(f"{told_of_game} Frames stacked: {spec.frame_stack}, channels last.", file=sys.stderr)
    assumed = (*model.assumed, *_seen(spec))
    for each in assumed:
        print(f"Assumed of {model.source}: {each}.", file=sys.stderr)
    print(f"Compared: {compared}.", file=sys.stderr)
    origin = ImportedAgent(model.source, model.source_sha256, model.kind)
    found: Json = {"assumed": list(assumed), "compared": compared}
    return origin, partial(_learned, model, spec, found)


def _seen(spec: EnvironmentSpec) -> Iterator[str]:
    """What the size of a network's input says of how it sees its environment, as others may have done otherwise."""
    if Flatten() in spec.preprocessing:
        yield f"an observation of {list(spec.observation_shape)} as a vector, row by row"
    if spec.frame_stack > 1 and Atari() not in spec.preprocessing:
        yield f"its input of {list(spec.input_shape)} is the last {spec.frame_stack} observations, the oldest first"


def _graph(model: ForeignModel, spec: EnvironmentSpec) -> NumpyGraph:
    return NumpyGraph(describe(model.network), model.network.get_weights(), masked=spec.masked)


def _learned(
    model: ForeignModel, spec: EnvironmentSpec, found: Json, streams: SeedStreams, states: int, gate: Gate
) -> TrainedAgent:
    """The agent: the model's own chain, or one that it teaches."""
    chain, why_not = model.unclipped or model, model.not_a_chain
    if chain.not_a_chain is None:
        agent = as_agent(chain, spec.source, reset_seeds=streams.reset_seeds("calibrate"), count=states)
        clip = model.normalization
        if clip is None or not clip.clips(agent.observations):
            if clip is not None:
                none = f"none of {states:,} observations of play is beyond it"
                print(f"VecNormalize's clip at {clip.clip:g} is left out: {none}.", file=sys.stderr)
            found = found | _layers_of(chain.network, is_chain=True)
            return _scored(replace(agent, statistics=agent.statistics | found), streams)
        why_not = f"VecNormalize clips at {clip.clip:g} what it sees in play."
    print(f"It is no chain of ours, so it teaches one. {why_not}", file=sys.stderr)
    origin = ImportedAgent(model.source, model.source_sha256, model.kind)
    found = found | _layers_of(model.network, is_chain=False)
    return _taught(_graph(model, spec), spec, origin, streams, states=states, gate=gate, found=found)


def _layers_of(network: tf_keras.Model, *, is_chain: bool) -> Json:
    """What a file's network is made of, in words."""
    layers = [layer for layer in describe(network) if layer["layer"] not in ("InputLayer", "Flatten")]
    words: dict[str, list[str]] = {name: [] for name in FOUND}
    for layer in layers:
        kind = layer["layer"]
        to = "left_out" if kind == "Dropout" else "folded" if is_chain and kind in FOLDED else "layers"
        width, activation = layer.get("units", layer.get("filters")), layer.get("activation", "linear")
        parts = ["" if kind == "Activation" else kind, "" if width is None else str(width)]
        parts += ["" if activation == "linear" else activation, layer["name"] if to == "left_out" else ""]
        words[to].append(" ".join(filter(None, parts)))
    return words


def _of_function(given: "str | Policy", source: EnvironmentSource, options: ModelOptions) -> tuple[ImportedAgent, Learn]:
    """The same of a function. One that no module has under its name goes by it alone."""
    told_of_files = [option for option, value in vars(options).items() if value is not None and option != "gives"]
    require(not told_of_files, f"expected no {', '.join(told_of_files)} beside a function.")
    function = find_function(given) if isinstance(given, str) else given
    name = given if isinstance(given, str) else _name_of(given)
    with closing(make_environment(source)) as env:
        spec = spec_of(env, source, flatten=is_beyond_images(env))
        given_back = as_given(env, spec)
    teacher = FunctionTeacher(
        function, name, n_actions=spec.n_actions, gives=options.gives or "values", as_given=given_back, actions=spec.actions
    )
    try:
        content = Path(inspect.getfile(function)).read_bytes()
    except (OSError, TypeError):  # typed at a prompt, or of another language
        content = name.encode()
    origin = ImportedAgent(name, hashlib.sha256(content).hexdigest(), "function")
    return origin, lambda streams, states, gate: _taught(teacher, spec, origin, streams, states=states, gate=gate, found={})


def _name_of(function: Policy) -> str:
    module, name = getattr(function, "__module__", ""), getattr(function, "__qualname__", type(function).__name__)
    return f"{module}:{name}" if getattr(sys.modules.get(module), name, None) is function and module != "__main__" else name


def _taught(
    teacher: Teacher,
    spec: EnvironmentSpec,
    origin: ImportedAgent,
    streams: SeedStreams,
    *,
    states: int,
    gate: Gate,
    found: Json,
) -> TrainedAgent:
    statistics = {"source": origin.source, "source_sha256": origin.source_sha256, "kind": origin.kind}
    agent = teach(teacher, spec, streams=streams, states=states, gate=gate)
    return _scored(replace(agent, statistics=statistics | found), streams)


def _scored(agent: TrainedAgent, streams: SeedStreams) -> TrainedAgent:
    """With its return in its statistics, over 100 episodes or as many as make 100,000 environment steps; where it was taught,
    beside its teacher's."""
    with closing(agent_view(make_environment(agent.spec.source), agent.spec)) as env:
        returns = play_until(
            agent.policy,
            env,
            reset_seeds=streams.reset_seeds("select"),
            counts=range(1, EPISODES + 1),
            enough_steps=SCORE_STEPS,
            label="play",
        )
    mean = bootstrap_interval(returns)
    score = Return(mean.mean, mean.low, mean.high, len(returns)).to_json()
    compared: Json = {}
    wanted = agent.taught_by.get(streams.first_reset_seed("select"))
    if wanted is not None:
        both = min(len(wanted), len(returns))
        difference = bootstrap_interval(returns[:both] - wanted[:both])
        compared = {"taught": {"teacher_return": float(wanted[:both].mean()), "difference": difference.to_json()}}
    return replace(agent, statistics={**agent.statistics, "score": score, **compared})


def _summary(agent: TrainedAgent) -> Iterator[str]:
    """What was found, in lines."""
    statistics = agent.statistics
    found = {name: statistics.get(name, []) for name in FOUND}
    rest = "".join(f"; {name.replace('_', ' ')}: {', '.join(found[name])}" for name in FOUND[1:] if found[name])
    if agent.taught_by and found["layers"]:
        yield f"Teacher: {', '.join(found['layers'])}{rest}"
        rest = ""
    own = _layers_of(agent.network, is_chain=True)
    yield f"Network: {', '.join(own['layers'])}; {agent.network.count_params():,} weights{rest}"
    if "score" in statistics:
        score = Return.from_json(statistics["score"])
        yield f"Return: {score.mean:.4g} [{score.low:.4g}, {score.high:.4g}], {score.episodes} episodes"
    if "taught" in statistics:
        teacher, difference = statistics["taught"]["teacher_return"], Interval.from_json(statistics["taught"]["difference"])
        between = f"[{difference.low:+.3g}, {difference.high:+.3g}]"
        yield f"Its teacher: {teacher:.4g} on the same episodes; the difference is {difference.mean:+.3g} {between}"
