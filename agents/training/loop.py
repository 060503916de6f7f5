"""The run loop: a stream of steps, consumed by the learner, the log and the choice of the best checkpoint."""

import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from edgedqn.agents.playing.environments import check_transition
from edgedqn.agents.training.checkpoints import Checkpoints, State, prefixed, under
from edgedqn.agents.training.selection import Candidate, CheckpointSelection, Scorable


class Agent(Scorable, Protocol):
    """What the loop asks of an agent: `dqn.DQN` or `q_learning.QLearning`."""

    gradient_steps: int
    last_loss: float

    @property
    def epsilon(self) -> float:
        """The probability that the next action is random."""

    @property
    def learning_rate(self) -> float:
        """At this step."""

    @property
    def state_bytes(self) -> int:
        """About how large `state` becomes."""

    def act(self, observation: NDArray[Any], /) -> int:
        """The next action of one environment."""

    def act_in_all(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        """The next actions of several environments."""

    def observe(
        self, s_tm1: NDArray[Any], a_tm1: int, r_t: float, terminated: bool, truncated: bool, s_t: NDArray[Any], lane: int
    ) -> None:
        """Remembers one step and learns when it is time."""

    def cut_episodes(self) -> None:
        """Ends the episodes in progress as if truncated."""

    def state(self) -> State:
        """All that decides the future."""

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: dict[str, Any]) -> None:
        """Goes on where `state` was taken."""


class Step(NamedTuple):
    """One step of one environment; `episode_return` is None until the step that ends the episode."""

    s_tm1: NDArray[Any]  # [*observation_shape]
    a_tm1: int
    r_t: float
    terminated: bool
    truncated: bool
    s_t: NDArray[Any]  # [*observation_shape]
    lane: int
    episode_return: float | None
    episode_length: int


class EpisodeRecord(NamedTuple):
    """A finished training episode: a line of `training.csv`. `loss` is the mean of the last time of learning."""

    env_steps: int
    episode_return: float
    episode_length: int
    epsilon: float
    learning_rate: float
    loss: float
    seconds: float


@dataclass(frozen=True)
class TrainingReport:
    """What happened: each finished episode, each evaluation, the candidate taken, and the time it all took."""

    episodes: tuple[EpisodeRecord, ...]
    evaluations: tuple[tuple[int, float], ...]  # (env_steps, mean greedy return)
    best: Candidate
    gradient_steps: int
    seconds: float


class TrainingLog(Protocol):
    """Is told what happens; see `training_log`."""

    def resume(self, env_steps: int, records: Sequence[EpisodeRecord]) -> None:
        """Before all else, where training goes on from a checkpoint: its step, and the episodes that ended before it."""

    def episode(self, record: EpisodeRecord, gradient_steps: int) -> None:
        """An episode ended."""

    def evaluation(self, env_steps: int, mean_return: float) -> None:
        """The greedy policy was scored."""

    def flush(self) -> None:
        """A checkpoint was written: what was told so far is for good."""


def interact(env: gymnasium.Env[Any, Any], env_id: str, agent: Agent, reset_seeds: Iterator[int]) -> Iterator[Step]:
    """Plays for ever, episode after episode, each reset with the next seed.

    Raises:
      BadTransitionError: the environment gave a NaN or an infinity; the message has the step.
    """
    act = agent.act
    for seed in reset_seeds:
        observation, _ = env.reset(seed=seed)
        s_tm1 = np.array(observation)  # a copy, here and below: some environments go on writing to the array they gave
        check_transition(env_id, agent.env_steps, observation=s_tm1, reward=0.0)
        episode_return, length, over = 0.0, 0, False
        while not over:
            a_tm1 = act(s_tm1)
            observation, reward, terminated, truncated, _ = env.step(a_tm1)
            s_t, r_t = np.array(observation), float(reward)
            check_transition(env_id, agent.env_steps + 1, observation=s_t, reward=r_t)
            episode_return += r_t
            length += 1
            over = terminated or truncated
            yield Step(s_tm1, a_tm1, r_t, terminated, truncated, s_t, 0, episode_return if over else None, length)
            s_tm1 = s_t


def interact_with_all(
    envs: gymnasium.vector.SyncVectorEnv, env_id: str, agent: Agent, reset_seeds: Iterator[int]
) -> Iterator[Step]:
    """Plays several environments side by side for ever; each episode is reset with the next seed.

    Args:
      envs: L of them, not resetting themselves, as `environments.make_vector` makes them.
      env_id: for messages.
      agent: chooses the actions.
      reset_seeds: of the episodes, endless.
    Raises:
      BadTransitionError: an environment gave a NaN or an infinity; the message has the step.
    """
    count = envs.num_envs
    s_tm1 = np.array(envs.reset(seed=list(itertools.islice(reset_seeds, count)))[0])  # [L, *observation_shape]
    check_transition(env_id, agent.env_steps, observation=s_tm1, reward=0.0)
    returns, lengths = np.zeros(count), np.zeros(count, np.int64)
    while True:
        actions = agent.act_in_all(s_tm1)  # [L]
        observations, rewards, terminated, truncated, _ = envs.step(actions)
        s_t = np.array(observations)  # [L, *observation_shape]
        returns += rewards
        lengths += 1
        over = terminated | truncated  # [L]
        for lane in range(count):
            r_t = float(rewards[lane])
            check_transition(env_id, agent.env_steps + 1, observation=s_t[lane], reward=r_t)
            ends = bool(terminated[lane]), bool(truncated[lane])
            episode_return = float(returns[lane]) if over[lane] else None
            yield Step(s_tm1[lane], int(actions[lane]), r_t, *ends, s_t[lane], lane, episode_return, int(lengths[lane]))
        if over.any():
            seeds = [next(reset_seeds) if is_over else None for is_over in over]
            s_t = np.array(envs.reset(seed=seeds, options={"reset_mask": over})[0])
            check_transition(env_id, agent.env_steps, observation=s_t, reward=0.0)
            returns[over], lengths[over] = 0.0, 0
        s_tm1 = s_t


def train(
    agent: Agent,
    play: Callable[[Agent, Iterator[int]], Iterator[Step]],
    label: str,
    steps: int,
    reset_seeds: Iterator[int],
    selection: CheckpointSelection,
    evaluation_interval: int,
    checkpoints: Checkpoints | None = None,
    checkpoint_interval: int = 0,
    log: TrainingLog | None = None,
) -> TrainingReport:
    """Trains `agent` for `steps` environment steps, from the newest checkpoint on where there is one.

    At a checkpoint the episodes in progress are cut off as if truncated, and new ones begin: what an environment holds inside
    cannot be saved. It is done whether or not the training is ever interrupted, so that both come to the same weights.

    A progress bar on stderr shows episode return, epsilon, steps/s and the time left; it is silent where stderr is no
    terminal.

    Args:
      agent: not trained before.
      play: agent, reset seeds -> an endless stream of steps; `interact` or `interact_with_all`.
      label: of the progress bar.
      steps: environment steps, >= 1.
      reset_seeds: of the training episodes, endless.
      selection: scores candidates every `evaluation_interval` steps and at the end.
      evaluation_interval: in environment steps.
      checkpoints: where they are kept; None makes none.
      checkpoint_interval: in environment steps; 0 makes none.
      log: is told of each episode and evaluation.
    Raises:
      BadTransitionError: the environment gave a NaN or an infinity.
      DivergedError: the loss became NaN or infinite. What `selection` kept before stays with its `on_best`.
    """
    seeds = _Counted(reset_seeds)
    episodes: list[EpisodeRecord] = []
    earlier_seconds = 0.0
    if checkpoints is not None and (values := _restored(checkpoints, agent, selection)) is not None:
        episodes = [EpisodeRecord(*record) for record in values["episodes"]]
        earlier_seconds = values["seconds"]
        seeds.skip(values["resets"])
        tqdm.write(f"{label}: going on at step {agent.env_steps:,} of {steps:,}.", file=sys.stderr)
        if log is not None:
            log.resume(agent.env_steps, episodes)
    started = time.monotonic() - earlier_seconds
    with ExitStack() as stack:
        if log is not None:
            stack.callback(log.flush)  # also what led to an error is worth reading
        bar = stack.enter_context(
            tqdm(total=steps, initial=agent.env_steps, desc=label, unit=" steps", disable=None, mininterval=0.5)
        )
        while agent.env_steps < steps:
            boundary = steps
            if checkpoints is not None and checkpoint_interval:
                boundary = min(steps, (agent.env_steps // checkpoint_interval + 1) * checkpoint_interval)
            for step in play(agent, seeds):
                agent.observe(*step[:7])
                if step.episode_return is not None:
                    record = EpisodeRecord(
                        agent.env_steps,
                        step.episode_return,
                        step.episode_length,
                        agent.epsilon,
                        agent.learning_rate,
                        agent.last_loss,
                        round(time.monotonic() - started, 3),
                    )
                    episodes.append(record)
                    if log is not None:
                        log.episode(record, agent.gradient_steps)
                    recent = sum(e.episode_return for e in episodes[-20:]) / len(episodes[-20:])
                    bar.set_postfix({"return": f"{recent:.1f}", "epsilon": f"{agent.epsilon:.2f}"}, refresh=False)
                bar.update()
                if agent.env_steps % evaluation_interval == 0 and agent.gradient_steps > 0:
                    selection.consider(agent)
                    if log is not None:
                        log.evaluation(*selection.scores[-1])
                if agent.env_steps == boundary:
                    break
            agent.cut_episodes()
            if checkpoints is not None and checkpoint_interval and boundary < steps:
                seconds = time.monotonic() - started
                checkpoints.save(agent.env_steps, _state(agent, selection, episodes, seeds.taken, seconds))
                if log is not None:
                    log.flush()
        if not selection.scores or selection.scores[-1][0] != agent.env_steps:
            selection.consider(agent)
            if log is not None:
                log.evaluation(*selection.scores[-1])
        if checkpoints is not None and checkpoint_interval:  # choosing takes its time, and may be interrupted, too
            seconds = time.monotonic() - started
            checkpoints.save(agent.env_steps, _state(agent, selection, episodes, seeds.taken, seconds))
    best = selection.best(agent)
    return TrainingReport(tuple(episodes), tuple(selection.scores), best, agent.gradient_steps, time.monotonic() - started)


class _Counted:
    """An iterator that knows how many it gave."""

    def __init__(self, source: Iterator[int]):
        self._source = source
        self.taken = 0

    def __iter__(self) -> Iterator[int]:
        return self

    def __next__(self) -> int:
        self.taken += 1
        return next(self._source)

    def skip(self, count: int) -> None:
        for _ in range(count):
            next(self)


def _restored(checkpoints: Checkpoints, agent: Agent, selection: CheckpointSelection) -> dict[str, Any] | None:
    """Takes both to where the newest checkpoint was written, and gives what else it says. Its arrays, which keep the file on
    the disk while they live, end here."""
    saved = checkpoints.newest()
    if saved is None:
        return None
    arrays, values = saved
    agent.restore(under("agent", arrays), values["agent"])
    selection.restore(under("selection", arrays), values["selection"])
    return values


def _state(agent: Agent, selection: CheckpointSelection, episodes: list[EpisodeRecord], resets: int, seconds: float) -> State:
    agent_arrays, agent_values = agent.state()
    selection_arrays, selection_values = selection.state()
    arrays = prefixed("agent", agent_arrays) | prefixed("selection", selection_arrays)
    values = {"agent": agent_values, "selection": selection_values, "resets": resets, "seconds": seconds}
    return arrays, {**values, "episodes": [list(record) for record in episodes]}
