"""From an environment's name to a trained agent in a folder."""

from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tf_keras

from edgedqn.agents.architecture import describe, rebuild
from edgedqn.agents.errors import DivergedError
from edgedqn.agents.files import Json
from edgedqn.agents.networks import table_network
from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
from edgedqn.agents.playing.evaluation import gather_observations
from edgedqn.agents.playing.first_look import resolved, with_scale
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, is_beyond_images, observation_kind, spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.build import build_dqn, build_q_learning
from edgedqn.agents.training.checkpoints import Checkpoints
from edgedqn.agents.training.config import Config, QLearningConfig, TrainingConfig
from edgedqn.agents.training.interaction import Agent, Play, interact, interact_with_all
from edgedqn.agents.training.log import FileLog
from edgedqn.agents.training.loop import TrainingLog, TrainingReport, TrainingSchedule, train
from edgedqn.agents.training.presets import find_preset
from edgedqn.agents.training.selection import Candidate, CheckpointSelection
from edgedqn.benchmarks.report.table import in_digits
from edgedqn.pipeline.collection.actors import Actors, acting, check_cluster, require_deep
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.seeds import SeedStreams

ON_POLICY_STATES = 10_000


def train_agent(
    source: EnvironmentSource,
    config: Config,
    *,
    streams: SeedStreams,
    folder: Path,
    log: TrainingLog | None = None,
    collection: CollectionConfig | None = None,
) -> TrainedAgent:
    """Trains an agent and writes it to `folder`, or goes on from the newest checkpoint there.

    While it trains, the best candidate so far is in `checkpoints/best/`, what it takes to go on in `checkpoints/`, and
    `training.csv` and TensorBoard events beside them. Who records that it is done may call `remove_checkpoints` then.

    Args:
      source: of the environment; see `first_look.resolved`.
      config: how; which of the two classes decides between a deep Q-network and a Q-table.
      streams: the randomness: `train`, `select` for the choice of the checkpoint, `calibrate` for on-policy observations.
      folder: made if it is not there.
      log: of what happens; a `FileLog` in the folder by default. What it raises ends the training.
      collection: by actors of a Ray cluster, of a deep Q-network; by this process where it is None.
    Raises:
      InputError: the environment or the settings cannot be used, the disk is too full for the checkpoints, or learning
        diverged (DivergedError).
    """
    with ExitStack() as stack:
        env = stack.enter_context(closing(make_environment(source)))
        agent, spec, network = _build(env, source, config, streams.rng("train"))
        view = spec if isinstance(config, TrainingConfig) else replace(spec, preprocessing=())  # a table takes a state's number
        selection_env = stack.enter_context(closing(agent_view(make_environment(source), view)))
        first_seed = streams.first_reset_seed("train")
        checkpoints = _checkpoints(source, config, first_seed=first_seed, agent=agent, network=network, folder=folder)
        play = stack.enter_context(_playing(agent_view(env, view), spec, config, streams=streams, collection=collection))
        selection = CheckpointSelection(
            env=selection_env,
            seeds=partial(streams.first_reset_seeds, "select"),
            episodes=config.evaluation_episodes,
            finalists=config.finalists,
            n_actions=spec.n_actions,
            seed=int(streams.rng("select").integers(2**31)),
            on_best=lambda candidate: _unfinished(candidate, network, spec).save(checkpoints.folder / "best"),
        )
        with _advice_on_divergence(checkpoints.folder / "best"):
            report = train(
                agent,
                play,
                label=f"train {source.id}",
                schedule=TrainingSchedule(config.steps, config.evaluation_interval, config.checkpoint_interval),
                reset_seeds=streams.reset_seeds("train"),
                selection=selection,
                checkpoints=checkpoints,
                log=log or FileLog(folder),
            )
        best = _unfinished(report.best, network, spec)
        env = stack.enter_context(closing(agent_view(make_environment(source), spec)))
        seeds = streams.reset_seeds("calibrate")
        observations = gather_observations(best.policy, env, reset_seeds=seeds, count=ON_POLICY_STATES)
    result = replace(best, observations=observations, statistics=_statistics(config, report, play))
    result.save(folder)
    return result


@contextmanager
def _playing(
    env: gymnasium.Env[Any, Any],
    spec: EnvironmentSpec,
    config: Config,
    *,
    streams: SeedStreams,
    collection: CollectionConfig | None,
) -> Iterator[Play]:
    """Who takes the steps: this process, in `env` or in several environments, or actors."""
    if collection is not None:
        with acting(collection, spec, require_deep(config), new_rng=partial(streams.rng, "train")) as actors:
            yield actors
    elif isinstance(config, TrainingConfig) and config.num_envs > 1:
        with closing(make_vector(spec, num_envs=config.num_envs)) as envs:
            yield partial(interact_with_all, envs=envs, env_id=spec.id)
    else:
        yield partial(interact, env=env, env_id=spec.id)


def find_training(source: EnvironmentSource, algorithm: str | None) -> Config:
    """The preset of an environment that can be made."""
    with closing(make_environment(source)) as env:
        spec = spec_of(env, source, flatten=is_beyond_images(env))
    return find_preset(source.id, kind=observation_kind(spec.observation_shape, spec.preprocessing), algorithm=algorithm)


def check_training(
    source: EnvironmentSource, config: Config, folder: Path, *, collection: CollectionConfig | None = None
) -> None:
    """Refuses what `train_agent` would refuse, without writing anything; `folder`, the agent's, need not be there.

    Raises:
      InputError: the environment or the settings cannot be used, the network cannot be built, the replay does not fit in
        memory, the checkpoints do not fit on the disk, or there is no such cluster.
    """
    with closing(make_environment(source)) as env:
        agent, _, network = _build(env, source, config, np.random.default_rng(0))
    _checkpoints(source, config, first_seed=0, agent=agent, network=network, folder=folder)
    if collection is not None:
        check_cluster(collection, require_deep(config))


def _build(
    env: gymnasium.Env[Any, Any], source: EnvironmentSource, config: Config, rng: np.random.Generator
) -> tuple[Agent, EnvironmentSpec, tf_keras.Model]:
    """The agent that `config` describes, the spec of its environment, and a network to keep its weights in."""
    if isinstance(config, QLearningConfig):
        spec = spec_of(env, source)
        return build_q_learning(spec, config, rng=rng), spec, table_network(spec.input_shape[0], spec.n_actions)
    flatten = config.flattens(tuple(env.observation_space.shape or ()))
    spec = with_scale(spec_of(env, source, frame_stack=config.frame_stack, flatten=flatten))
    agent = build_dqn(spec, config, rng=rng)
    return agent, spec, rebuild(describe(agent.network))


def _checkpoints(
    source: EnvironmentSource, config: Config, *, first_seed: int, agent: Agent, network: tf_keras.Model, folder: Path
) -> Checkpoints:
    """Where they are kept, of this training and no other. InputError: they do not fit on the disk."""
    # What does not matter, and what earlier versions did not have.
    usual = {("keep_checkpoints", config.keep_checkpoints), ("exploration_duration", 1), ("overlap", False)}
    layers = describe(network)  # in the identity, because the code of a network of one's own may have changed
    place = {layer["name"]: i for i, layer in enumerate(layers)}  # Keras counts the names it gives over the life of a process
    identity = {
        "env_id": source.id,
        **({"environment": how} if len(how := source.to_json()) > 1 else {}),
        "config": {name: value for name, value in asdict(config).items() if (name, value) not in usual},
        "first_seed": first_seed,
        "network": [
            {**layer, "name": place[layer["name"]], "inputs": [place[name] for name in layer.get("inputs", [])]}
            for layer in layers
        ],
    }
    checkpoints = Checkpoints(folder / "checkpoints", identity, config.keep_checkpoints)
    if config.checkpoint_interval:
        candidate_bytes = sum(array.nbytes for array in network.get_weights())
        checkpoints.require_space(agent.state_bytes + config.finalists * candidate_bytes)
    return checkpoints


def _unfinished(candidate: Candidate, network: tf_keras.Model, spec: EnvironmentSpec) -> TrainedAgent:
    """A candidate as an agent that has no on-policy observations yet. Its weights are put into `network`."""
    network.set_weights(candidate.weights)
    statistics = {"env_steps": candidate.env_steps, "mean_return": candidate.mean_return}
    return TrainedAgent(network, spec, np.zeros((0, *spec.input_shape), np.float32), statistics)


@contextmanager
def _advice_on_divergence(best: Path) -> Iterator[None]:
    try:
        yield
    except DivergedError as error:
        kept = "The best network so far is kept. " if (best / "agent.json").exists() else ""
        raise DivergedError(
            f"{error} {kept}The same command would diverge again: expected other settings and another --out, or --force, "
            "which starts over."
        ) from error


def _statistics(config: Config, report: TrainingReport, play: Play) -> Json:
    collected = {"collection": play.record.to_json()} if isinstance(play, Actors) else {}
    return {
        "training": asdict(config),
        "env_steps": config.steps,
        "gradient_steps": report.gradient_steps,
        "checkpoint": {"env_steps": report.best.env_steps, "mean_return": report.best.mean_return},
        "evaluations": [list(evaluation) for evaluation in report.evaluations],
        "seconds": round(report.seconds, 2),
        **collected,
    }


def outcome_of(statistics: Json) -> str:
    """What a training came to, in words, and whether it ended while returns still rose: its best network is one of the last two
    that were scored, and better than all before."""
    best, scores = Candidate(**statistics.get("checkpoint", {}), weights=[]), statistics["evaluations"]
    before, last = [mean for _, mean in scores[:-2]], scores[-2:]
    is_late = best.env_steps in (env_steps for env_steps, _ in last)
    rising = is_late and bool(before) and max(mean for _, mean in last) > max(before)
    advice = ", still rising: more --steps may help" if rising else ""
    return f"return {in_digits(best.mean_return)}{advice}"


def with_mask(source: EnvironmentSource, before: EnvironmentSource | None, *, is_imported: bool) -> EnvironmentSource:
    """The source with whether the policy is told which actions are legal: as the run has it that is there already, from
    `before`; of a new one as asked, or where the environment says so. A model from elsewhere was not told."""
    if before is not None and before.id == source.id and not (source.action_mask or before.action_mask):
        return replace(source, action_mask=before.action_mask)  # None and False are the same to it
    if before is not None:
        return source if source.action_mask is not None or is_imported else replace(source, action_mask=before.action_mask)
    looked_at = resolved(source)  # what is odd is told
    return source if is_imported else looked_at
