"""Asks actors for chunks of steps and gives them to a training, as if it had taken them itself."""

import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from types import ModuleType
from typing import NamedTuple, Protocol

import numpy as np

from edgedqn.agents.dqn import DQN
from edgedqn.agents.errors import InputError, one_line, require
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.training.bars import tqdm
from edgedqn.agents.training.config import Config, TrainingConfig
from edgedqn.agents.training.interaction import Agent, Step
from edgedqn.pipeline.collection.chunks import Unpacker, size_of
from edgedqn.pipeline.collection.cluster import is_joined, join_cluster, raised_by
from edgedqn.pipeline.collection.collector import Answer, Collector, Request
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.collection.published import published_bytes
from edgedqn.pipeline.collection.publishing import CALIBRATION_STATES, RecentObservations, publish_float, publish_int8
from edgedqn.pipeline.collection.record import CollectionRecord

PATIENCE_S = 300.0  # for any actor to begin, where none plays
MOST_DEATHS = 3  # of an actor in a row, without a chunk between
LOOK_S = 1.0  # between looks at whether there was Ctrl-C

NewRng = Callable[[str], np.random.Generator]  # of a purpose


class _Remote(Protocol):
    """A method of an actor."""

    def remote(self, request: Request, *published: object) -> object:
        """Has it called with what the reference stands for; a reference to what comes of it."""


class _Handle(Protocol):
    """Ray's, of a `Collector`."""

    collect: _Remote


class _Asked(NamedTuple):
    """A chunk that is in flight."""

    reference: object  # Ray's
    run: int  # the stream of steps that it belongs to


@dataclass
class _Actor:
    """What is known of one actor in its present life."""

    handle: _Handle
    unpack: Unpacker
    life: int
    deaths: int  # in a row
    plays: bool = False  # it has sent a chunk
    asked: deque[_Asked] = field(default_factory=deque)  # oldest first
    number: int = 0  # of the next request
    run: int = -1  # the stream of steps that its episodes belong to
    version: int | None = None  # of the last policy it was sent
    spare_seeds: int = 0  # that it was given and has not told to be used


class Actors:
    """Plays for a `DQN` by actors; a `Play`, as `loop.train` takes it. They live until `end`.

    Each actor has at most `chunks_ahead` chunks in flight. Actors whose chunks have come take turns, and the agent learns after
    as many steps as ever, so that gradient steps and the environment steps behind them keep their ratio. An actor that is gone
    is replaced, and its episodes are cut off where they were.
    """

    def __init__(
        self, ray: ModuleType, config: CollectionConfig, *, spec: EnvironmentSpec, training: TrainingConfig, new_rng: NewRng
    ):
        """Takes Ray, joined to a cluster, and how the actors play; each of them draws from an rng of its own.

        Raises:
          InputError: the cluster has too few cores, or the replay is too small for so many environments.
        """
        _require_room(ray, config, training)
        self.record = CollectionRecord(config)
        self._ray, self._config, self._spec, self._training = ray, config, spec, training
        self._new_rng = new_rng
        self._remote = ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(Collector)
        self._run = -1
        self._published: object = None  # Ray's reference to it
        self._published_size = 0
        self._version: int | None = None  # the gradient steps behind it
        self._due = 1  # gradient steps, of the next one
        self._recent = RecentObservations()
        self._actors: list[_Actor] = []
        self._turns = list(range(config.actors))  # of actors; whose last one was longest ago is first

    def __call__(self, agent: Agent, reset_seeds: Iterator[int]) -> Iterator[Step]:
        """As `interact`, without an end; all actors begin new episodes.

        Raises:
          InputError: an environment gave what cannot be learned from; no actor begins; or one dies again and again.
        """
        assert isinstance(agent, DQN)
        self._run += 1  # what is still in flight belongs to episodes that were cut off
        started, record = time.monotonic(), self.record
        self._actors = self._actors or [self._begin(index, agent) for index in range(self._config.actors)]
        try:
            while True:
                self._publish_if_due(agent)
                for index in range(len(self._actors)):
                    self._ask(index, agent, reset_seeds)
                found = self._next(agent)
                if found is None:
                    continue
                actor, answer = found
                stale = None if answer.version is None else agent.gradient_steps - answer.version
                record.took(len(answer.chunk.s_t), size_of(answer.chunk), stale)
                self._recent.add(answer.chunk.s_t)
                for step in actor.unpack(answer.chunk):
                    record.env_steps += 1
                    yield step
        finally:
            record.seconds += time.monotonic() - started

    def end(self) -> None:
        """Has all of them killed, without waiting for the cluster to do it."""
        for actor in self._actors:
            self._ray.kill(actor.handle)

    def _begin(self, index: int, agent: DQN, *, life: int = 0, deaths: int = 0) -> _Actor:
        training = self._training
        handle = self._remote.remote(
            self._spec,
            num_envs=training.num_envs,
            duration=training.exploration_duration,
            rng=self._new_rng(f"actor {index}, life {life}, from step {agent.env_steps}"),
            path=sys.path,
        )
        return _Actor(handle=handle, unpack=Unpacker(index * training.num_envs), life=life, deaths=deaths)

    def _ask(self, index: int, agent: DQN, reset_seeds: Iterator[int]) -> None:
        """Has the actor asked for as many chunks as may be in flight."""
        config, actor = self._config, self._actors[index]
        most_resets = config.chunk_steps + self._training.num_envs
        while len(actor.asked) < config.chunks_ahead:
            needed = max(0, (len(actor.asked) + 1) * most_resets - actor.spare_seeds)
            request = Request(
                number=actor.number,
                steps=config.chunk_steps,
                begins=actor.run != self._run,
                epsilon=agent.epsilon ** config.exponent(index),
                env_steps=agent.env_steps,
                version=self._version,
                seeds=list(islice(reset_seeds, needed)),
            )
            is_new = actor.version != self._version
            if is_new:
                self.record.published_bytes += self._published_size
            reference = actor.handle.collect.remote(request, *([self._published] if is_new else []))
            actor.asked.append(_Asked(reference, self._run))
            actor.run, actor.version = self._run, self._version
            actor.number += 1
            actor.spare_seeds += needed

    def _next(self, agent: DQN) -> tuple[_Actor, Answer] | None:
        """The first chunk that has come, or None where what came is of no use. Those of one actor come in their order."""
        ray, started = self._ray, time.monotonic()
        awaited = {self._actors[index].asked[0].reference: index for index in self._turns}
        # All that are ready, in this order; asked for one, Ray may choose any of them.
        ready, _ = ray.wait(list(awaited), num_returns=len(awaited), timeout=0)
        while not ready:
            ready, _ = ray.wait(list(awaited), num_returns=1, timeout=LOOK_S)
            waited = time.monotonic() - started
            if not ready and waited > PATIENCE_S and not any(actor.plays for actor in self._actors):
                raise InputError(f"No actor began within {PATIENCE_S:g} s: expected free cores in the cluster. Got none.")
        self.record.waiting_seconds += time.monotonic() - started
        index = awaited[ready[0]]
        self._turns.append(self._turns.pop(self._turns.index(index)))
        actor = self._actors[index]
        asked = actor.asked.popleft()
        try:
            answer: Answer = ray.get(asked.reference)
        except ray.exceptions.RayTaskError as error:
            raise raised_by(error) from None
        except ray.exceptions.RayError as error:  # its process or its machine is gone
            self._replace(index, agent, one_line(error))
            return None
        actor.plays = True
        actor.deaths = 0
        actor.spare_seeds -= answer.resets
        return (actor, answer) if asked.run == self._run else None

    def _replace(self, index: int, agent: DQN, reason: str) -> None:
        """Another actor in the place of one that is gone. The steps that it had not sent are lost."""
        gone, count = self._actors[index], self._training.num_envs
        if gone.deaths == MOST_DEATHS:
            raise InputError(f"Actor {index} is gone {MOST_DEATHS + 1} times in a row: expected it to play. Got: {reason}")
        tqdm.write(f"Actor {index} is gone ({reason}): another takes its place.", file=sys.stderr)
        self._ray.kill(gone.handle)  # where it was merely out of reach, it shall not play on
        for env_index in range(index * count, (index + 1) * count):
            agent.cut_episodes(env_index)
        self.record.restarts += 1
        self._actors[index] = self._begin(index, agent, life=gone.life + 1, deaths=gone.deaths + 1)

    def _publish_if_due(self, agent: DQN) -> None:
        """Makes the learner's weights those that actors are sent with the next request."""
        started, record, config = time.monotonic(), self.record, self._config
        if agent.gradient_steps < self._due:
            return
        is_int8 = config.policy == "int8"
        # Where a training is gone on with, there is nothing to calibrate a file with at first.
        is_file = is_int8 and record.env_steps >= CALIBRATION_STATES
        published = publish_int8(agent.network, self._spec, self._recent()) if is_file else publish_float(agent.network)
        record.publishing_seconds += time.monotonic() - started
        self._due = agent.gradient_steps + (config.publish_every if is_file == is_int8 else 1)
        if published is None:
            record.refused += 1
            return
        record.publications += 1
        self._published, self._published_size = self._ray.put(published), published_bytes(published)
        self._version = agent.gradient_steps


@contextmanager
def acting(config: CollectionConfig, spec: EnvironmentSpec, training: TrainingConfig, *, new_rng: NewRng) -> Iterator[Actors]:
    """Actors in the cluster of `config.address`, which all end with the context.

    Raises:
      InputError: there is no such cluster, or see `Actors`.
    """
    with _joined(config.address) as ray:
        actors = Actors(ray, config, spec=spec, training=training, new_rng=new_rng)
        try:
            yield actors
        finally:
            actors.end()


def check_cluster(config: CollectionConfig, training: TrainingConfig) -> None:
    """InputError: there is no such cluster, or see `Actors`."""
    with _joined(config.address) as ray:
        _require_room(ray, config, training)


def require_deep(training: Config) -> TrainingConfig:
    """InputError: it is not of a deep Q-network, or learns in a thread: weights are published between two updates."""
    if not isinstance(training, TrainingConfig):
        raise InputError("Actors collect for a deep Q-network: expected algorithm dqn. Got q-learning.")
    require(not training.overlap, "Actors play beside the learner in any case: expected no --overlap with them. Got both.")
    return training


@contextmanager
def _joined(address: str | None) -> Iterator[ModuleType]:
    """Ray, and no longer than that, where this process had not joined a cluster before."""
    was_joined = is_joined()
    ray = join_cluster(address)
    try:
        yield ray
    finally:
        if not was_joined:
            ray.shutdown()


def _require_room(ray: ModuleType, config: CollectionConfig, training: TrainingConfig) -> None:
    cores = int(ray.cluster_resources().get("CPU", 0))
    require(
        cores >= config.actors,
        f"Each actor takes a core of the cluster: expected {config.actors} of them. Got {cores}; `ray start --num-cpus` says "
        "how many a machine has, also where environments wait more than they compute.",
    )
    # What comes more than a fourth of the ring behind the newest is dropped from the replay.
    least = 4 * (config.slack_steps + config.actors * training.num_envs * (training.n_step + training.frame_stack))
    expected = f"Frames would be gone before they are used: expected buffer_size of {least} or more with these actors"
    require(training.buffer_size >= least, f"{expected}. Got {training.buffer_size}.")
