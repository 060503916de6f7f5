"""What a script calls. TensorFlow is loaded, quietly and with one thread, when a function here is called."""

import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from edgedqn.agents.files import Json
from edgedqn.agents.playing.gate import Gate, gate_for
from edgedqn.agents.training.config import Config, with_settings
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.seeds import SeedStreams

if TYPE_CHECKING:
    import gymnasium

    from edgedqn.agents.importing.agents import ModelOptions
    from edgedqn.agents.playing.source import EnvironmentSource
    from edgedqn.agents.teaching.teachers import Policy
    from edgedqn.agents.trained_agent import TrainedAgent
    from edgedqn.benchmarks.cores.budget import Budget
    from edgedqn.compression.policy import CompressedPolicy
    from edgedqn.compression.recipe import Recipe
    from edgedqn.export.config import ExportConfig
    from edgedqn.pipeline.collection.config import CollectionConfig
    from edgedqn.pipeline.config import RunConfig
    from edgedqn.pipeline.job import RunResult
    from edgedqn.pipeline.sweeps.results import SweepResult

P = ParamSpec("P")
R = TypeVar("R")

# Until 0.3: the order in which `run` took its arguments, and those of them that RunConfig has now.
OLD_ORDER = (
    *("out", "seed", "recipes", "steps", "force"),
    *("training", "latency", "strip", "manifest", "tolerance", "float_io", "output", "sparse"),
)
OLD_KEYWORDS = frozenset(OLD_ORDER[5:])


def _accepts_old_form(run: Callable[Concatenate[Json, P], R]) -> Callable[P, R]:
    """Until 0.3: `run` also takes what it took in 0.1, with a DeprecationWarning. What `RunConfig` replaces comes first."""

    @wraps(run)
    def either(*arguments: Any, **keywords: Any) -> R:
        named = {"env" if name == "env_id" else name: value for name, value in keywords.items()}
        by_position = dict(zip(("env", *OLD_ORDER), arguments, strict=False))
        if len(by_position) < len(arguments) or len(named) < len(keywords) or by_position.keys() & named.keys():
            raise TypeError(f"run() takes each argument once. Got {[*map(repr, arguments), *keywords]}.")
        given = by_position | named
        old = {name: given.pop(name) for name in OLD_KEYWORDS & set(given)}
        if len(arguments) > 1 or old or "env_id" in keywords:
            warnings.warn(
                "This form of `run` ends with EdgeDQN 0.3: expected run(env, *, out, seed, steps, recipes, config, force) "
                f"with a RunConfig of training, export, gate and latency. Got {[*map(repr, arguments[1:]), *keywords]}.",
                DeprecationWarning,
                stacklevel=2,
            )
        return run(old, **given)  # type: ignore[call-arg]

    shown = signature(run)
    either.__signature__ = shown.replace(parameters=list(shown.parameters.values())[1:])  # type: ignore[attr-defined]
    return either


@_accepts_old_form
def run(
    _old: Json,
    env: "str | EnvironmentSource",
    *,
    out: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    recipes: "Sequence[str | Recipe] | None" = None,
    config: "RunConfig | None" = None,
    force: bool = False,
    make_env: Callable[..., "gymnasium.Env[Any, Any]"] | None = None,
) -> "RunResult":
    """Trains an agent, compresses it by each recipe, exports, measures and reports; goes on where an earlier call stopped.

    Args:
      env: a gymnasium id, or `module:Id`; or an `EnvironmentSource`, which says what it is given and wrapped in.
      out: the run folder; `runs/<environment>-seed<seed>` by default.
      seed: of all randomness, >= 0.
      steps: environment steps of the training; the preset's by default.
      recipes: names, TOML files, or recipes of your own; those of the run, or else `DEFAULT_RECIPES`, by default.
        `ptq-int8` is always shown beside them.
      config: how to train, export, prove and time; what it leaves out stays as the run has it, or is the default.
      force: do every stage again.
      make_env: makes it, in place of what is registered; `env` is what to call it then. It is given the arguments of an
        `EnvironmentSource`, and `render_mode` where it takes that. The same function makes it when the run is gone on with.
    Raises:
      InputError: something of this cannot be used; nothing was written.
    """
    with quiet():
        load_tensorflow()
        from edgedqn.agents.playing.source import EnvironmentSource
        from edgedqn.pipeline.config import Changes, RunConfig, resolved
        from edgedqn.pipeline.job import KINDS, Job

        source = EnvironmentSource.of(env)
        _register(source, make_env)
        asked = config or RunConfig()
        tolerance, training, latency = (_old.pop(name, None) for name in ("tolerance", "training", "latency"))
        job = Job.create(
            source,
            out=out,
            seed=seed,
            training=asked.training or training,
            settings={} if steps is None else {"steps": steps},
            changes=Changes(
                recipes=resolved(recipes),
                export=_old | (asdict(asked.export) if asked.export else {}),
                gate=asked.gate,
                tolerance=tolerance,
                latency=asked.latency or latency,
                fit=asked.fit,
            ),
            force=force,
        )
        with job.locked():
            job.do(KINDS, force=force)
        return job.result()


def _register(source: "EnvironmentSource", make_env: "Callable[..., gymnasium.Env[Any, Any]] | None") -> None:
    if make_env is not None:
        from edgedqn.agents.playing.environments import register_factory

        register_factory(source.id, make_env)


def train(
    env: "str | EnvironmentSource",
    *,
    steps: int | None = None,
    seed: int = 0,
    config: Config | None = None,
    collection: "CollectionConfig | None" = None,
) -> "TrainedAgent":
    """Trains an agent. Nothing is kept of an interrupted training; `run` with a folder goes on from checkpoints.

    Args:
      env: as of `run`.
      steps: environment steps of the training; the preset's by default.
      seed: of all randomness, >= 0. The agent is the one that `run` trains from the same seed.
      config: how to train; the preset of the environment by default.
      collection: by actors of a Ray cluster: the seed then does not decide the agent. None: by this process.
    Raises:
      InputError: the environment, the settings or the cluster cannot be used, or learning diverged.
    """
    with quiet(), tempfile.TemporaryDirectory() as folder:
        load_tensorflow()
        from edgedqn.agents.playing.first_look import resolved
        from edgedqn.agents.playing.source import EnvironmentSource
        from edgedqn.pipeline.training import find_training, train_agent

        source, settings = resolved(EnvironmentSource.of(env)), {} if steps is None else {"steps": steps}
        training = with_settings(config or find_training(source, None), settings, env_id=source.id)
        return train_agent(source, training, streams=SeedStreams(seed), folder=Path(folder), collection=collection)


def import_agent(
    model: "str | Path | Policy",
    env: "str | EnvironmentSource",
    *,
    out: str | Path | None = None,
    seed: int = 0,
    states: int = 10_000,
    gate_episodes: int | None = None,
    options: "ModelOptions | None" = None,
    make_env: Callable[..., "gymnasium.Env[Any, Any]"] | None = None,
) -> "TrainedAgent":
    """Takes in an agent from elsewhere, or any policy as a teacher; `run` with the same environment, seed and `out` goes on.

    Args:
      model: a file of Keras, PyTorch, ONNX or SB3, of which nothing is run; or a function of one observation that gives
        Q-values, logits, probabilities or an action (`options.gives`), or its name, `module:function`.
      env: as of `run`.
      out: the run folder; `runs/<environment>-seed<seed>` by default.
      seed: of all randomness, >= 0.
      states: observations to gather while it plays, >= 1.
      gate_episodes: at most, of the gate, >= 100; a policy that teaches plays as many, too. The environment's by default.
      options: what the file does not say, or what the function gives.
      make_env: as of `run`.
    Returns:
      The agent, or the network that was taught to act as the policy does; its return and how it compares with its teacher are
      in `statistics`.
    Raises:
      InputError: the model cannot be used, or does not fit the environment.
    """
    with quiet():
        load_tensorflow()
        from edgedqn.agents.importing.agents import DEFAULTS
        from edgedqn.agents.playing.source import EnvironmentSource
        from edgedqn.agents.trained_agent import TrainedAgent
        from edgedqn.pipeline.commands.import_agent import import_model

        source = EnvironmentSource.of(env)
        _register(source, make_env)
        job = import_model(
            model, source, out=out, seed=seed, states=states, options=options or DEFAULTS, gate_episodes=gate_episodes
        )
        return TrainedAgent.load(job.folder.agent)


def sweep(
    asked: "str | Path | Json",
    *,
    out: str | Path | None = None,
    workers: int | None = None,
    engine: str = "local",
    address: str | None = None,
    storage: str | None = None,
    retry_failed: bool = False,
) -> "SweepResult":
    """Searches trainings and recipes for the files worth having; goes on where an earlier call stopped.

    Args:
      asked: a TOML file, what one would say, or the folder of an earlier call; see docs/sweeps.md.
      out: where all of it goes, a folder or a URL that fsspec knows; `runs/<name of the file>` by default.
      workers: processes of the engine `local`, with one core each; as many as there are cores by default.
      engine: who does the work, `local` or `ray`. With a budget in trials both come to the same files.
      address: of the Ray cluster; that of this machine by default.
      storage: the URL of a database for Optuna's record; a journal file in `out` by default.
      retry_failed: whether what could not be done in an earlier call is tried again.
    Raises:
      InputError: something of this cannot be used; nothing was done.
    """
    with quiet():
        load_tensorflow(sweep=True)
        from edgedqn.pipeline.sweeps.experiment import run_experiment

        return run_experiment(
            asked, out=out, workers=workers, engine=engine, address=address, storage=storage, retry_failed=retry_failed
        )


def compress(
    agent: "TrainedAgent",
    recipe: "str | Recipe" = "qat-int8",
    *,
    seed: int = 0,
    gate: Gate | None = None,
    export: "ExportConfig | None" = None,
    fit: "Budget | None" = None,
) -> "CompressedPolicy":
    """Runs a recipe on an agent.

    Args:
      agent: the float agent; it is left as it is.
      recipe: a name, a TOML file, or a recipe of your own; `float32` changes nothing, and is what others are compared with.
      seed: of all randomness, >= 0.
      gate: the test of candidates, for recipes with `asks_gate` (`qat-int8`, searches); the environment's by default.
      export: how it writes them; `ExportConfig()` by default.
      fit: a board that `auto-int8` searches within, as `find_budget` gives it; any by default.
    Raises:
      InputError: the agent cannot be compressed this way, or a fine-tuning diverged.
    """
    with quiet():
        load_tensorflow()
        from edgedqn.compression.recipes import FLOAT32
        from edgedqn.export.config import ExportConfig
        from edgedqn.pipeline.config import resolved
        from edgedqn.pipeline.stages import compress_judged

        return compress_judged(
            agent,
            FLOAT32 if recipe == FLOAT32.name else resolved([recipe])[0],
            streams=SeedStreams(seed),
            gate=gate or gate_for(agent.spec.id),
            export=export or ExportConfig(),
            fit=fit,
        )


def export_tflite(policy: "CompressedPolicy", path: str | Path, *, config: "ExportConfig | None" = None) -> Path:
    """Writes a policy as a `.tflite` with its manifest, after the file was compared with its network.

    Args:
      policy: what `compress` returned.
      path: of the file, in a folder that exists; `<name>.json` is written beside it.
      config: how; `ExportConfig()` by default.
    Returns:
      The path.
    Raises:
      InputError: the file does not do what its network does, or cannot be written as asked.
    """
    with quiet():
        load_tensorflow()
        from edgedqn.export.config import ExportConfig
        from edgedqn.pipeline.stages import write_verified

        write_verified(policy, Path(path), config=config or ExportConfig(), origin={})
    return Path(path)
