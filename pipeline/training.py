"""From an environment's name to a trained agent in a folder."""

from contextlib import ExitStack, closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from edgedqn.agents.architecture import describe, rebuild
from edgedqn.agents.checkpoints import Checkpoints
from edgedqn.agents.dqn import build_dqn
from edgedqn.agents.environments import agent_view, make_environment, make_vector, spec_of
from edgedqn.agents.errors import DivergedError
from edgedqn.agents.networks import table_network
from edgedqn.agents.observations import gather_observations
from edgedqn.agents.presets import Config, QLearningConfig
from edgedqn.agents.q_learning import build_q_learning
from edgedqn.agents.selection import Candidate, CheckpointSelection
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training import Agent, interact, interact_with_all, train
from edgedqn.agents.training_log import FileLog
from edgedqn.pipeline.seeds import SeedStreams

ON_POLICY_STATES = 10_000


def train_agent(env_id: str, config: Config, streams: SeedStreams, folder: Path) -> TrainedAgent:
    """Trains an agent and writes it to `folder`, or goes on from the newest checkpoint there.

    While it trains, the best candidate so far is in `checkpoints/best/`, what it takes to go on in `checkpoints/`, and
    `training.csv` and TensorBoard events beside them. At the end the best candidate stays, and what it took to go on goes.

    Args:
      env_id: a gymnasium id, or `module:Id`.
      config: how; which of the two classes decides between a deep Q-network and a Q-table.
      streams: the randomness: `train`, `select` for the choice of the checkpoint, `calibrate` for on-policy observations.
      folder: made if it is not there.
    Raises:
      InputError: the environment or the settings cannot be used, the disk is too full for the checkpoints, or learning
        diverged (DivergedError).
    """
    with ExitStack() as stack:

        def make() -> Any:
            return stack.enter_context(closing(make_environment(env_id)))

        device_env = make()
        if isinstance(config, QLearningConfig):
            spec = spec_of(device_env, env_id)
            agent: Agent = build_q_learning(spec, config, streams.rng("train"))
            network = table_network(spec.input_shape[0], spec.n_actions)
            play = partial(interact, device_env, env_id)
            selection_env = make()
        else:
            spec = spec_of(device_env, env_id, config.frame_stack, flatten=config.network == "mlp")
            dqn = build_dqn(spec, config, streams.rng("train"))
            agent, network = dqn, rebuild(describe(dqn.network))
            play = partial(interact, agent_view(device_env, spec), env_id)
            if config.num_envs > 1:
                envs = stack.enter_context(closing(make_vector(env_id, spec, config.num_envs)))
                play = partial(interact_with_all, envs, env_id)
            selection_env = agent_view(make(), spec)
        identity = {
            "env_id": env_id,
            "config": asdict(config),
            "first_seed": streams.first_reset_seed("train"),
            "network": describe(network),  # the code of a network of one's own may have changed
        }
        checkpoints = Checkpoints(folder / "checkpoints", identity, config.keep_checkpoints)
        if config.checkpoint_interval:
            checkpoints.require_space(agent.state_bytes)

        def trained(candidate: Candidate, observations: np.ndarray[Any, Any], statistics: dict[str, Any]) -> TrainedAgent:
            network.set_weights(candidate.weights)
            return TrainedAgent(network, spec, observations, statistics)

        def keep(candidate: Candidate) -> None:
            nothing_yet = np.zeros((0, *spec.input_shape), np.float32)
            statistics = {"env_steps": candidate.env_steps, "mean_return": candidate.mean_return}
            trained(candidate, nothing_yet, statistics).save(folder / "checkpoints" / "best")

        selection = CheckpointSelection(
            selection_env,
            partial(streams.first_reset_seeds, "select"),
            config.evaluation_episodes,
            config.finalists,
            spec.n_actions,
            int(streams.rng("select").integers(2**31)),
            keep,
        )
        try:
            report = train(
                agent,
                play,
                f"train {env_id}",
                config.steps,
                streams.reset_seeds("train"),
                selection,
                config.evaluation_interval,
                checkpoints,
                config.checkpoint_interval,
                FileLog(folder),
            )
        except DivergedError as error:
            raise DivergedError(
                f"{error} The best network so far is kept. The same command would diverge again: expected other settings and "
                "--force, or another --out."
            ) from error
        result = trained(report.best, np.zeros((0, *spec.input_shape), np.float32), {})
        observations = gather_observations(
            result.policy, agent_view(make(), spec), streams.reset_seeds("calibrate"), ON_POLICY_STATES
        )
    statistics = {
        "env_steps": config.steps,
        "gradient_steps": report.gradient_steps,
        "checkpoint": {"env_steps": report.best.env_steps, "mean_return": report.best.mean_return},
        "evaluations": [list(evaluation) for evaluation in report.evaluations],
        "seconds": round(report.seconds, 2),
    }
    result = trained(report.best, observations, statistics)
    result.save(folder)
    checkpoints.clear()
    return result
