"""What runs in the process of an actor: environments, a policy and an epsilon of its own. Without TensorFlow or Ray."""

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.numpy_network import NumpyNetwork
from edgedqn.agents.playing.environments import agent_view, make_environment, make_vector
from edgedqn.agents.playing.spec import EnvironmentSpec
from edgedqn.agents.training.exploration import EpsilonGreedyExploration
from edgedqn.agents.training.interaction import Acting, Step, interact, interact_with_all
from edgedqn.pipeline.collection.chunks import Chunk, pack
from edgedqn.pipeline.collection.published import FilePolicy, Published, read_published


class Request(NamedTuple):
    """What an actor is asked for."""

    number: int  # of the request, counted from 0
    steps: int  # of the chunk
    begins: bool  # in episodes of its own; else those in progress go on
    epsilon: float
    env_steps: int  # of the learner, for messages
    version: int | None  # of the policy: the gradient steps behind it; None: at random
    seeds: Sequence[int]  # to reset episodes with, behind those that it has


class Answer(NamedTuple):
    """What it sends."""

    chunk: Chunk
    version: int | None  # of the policy that acted
    resets: int  # seeds that were used


class Collector:
    """Plays the environments of one actor; the agent of `interaction.interact`, as far as that asks.

    Nothing is done in the constructor: an error there would be the actor's death.
    """

    def __init__(
        self, spec: EnvironmentSpec, *, num_envs: int, duration: int, rng: np.random.Generator, path: Sequence[str] = ()
    ):
        """Takes how the environments are made and how many are played side by side; `duration` and `rng` as of
        `EpsilonGreedyExploration`; `path`: where modules are looked for behind those of this process."""
        self.env_steps = 0
        self._number = 0  # of the next request
        self._spec, self._num_envs = spec, num_envs
        self._path = path
        self._epsilon = 1.0
        self._exploration = EpsilonGreedyExploration(
            lambda step: self._epsilon, n_actions=spec.n_actions, rng=rng, duration=duration, masked=spec.masked
        )
        self._version: int | None = None
        self._policy: FilePolicy | NumpyNetwork | None = None
        self._seeds: deque[int] = deque()
        self._resets = 0
        self._play: Callable[[Acting, Iterator[int]], Iterator[Step]] | None = None
        self._steps: Iterator[Step] = iter(())

    def collect(self, request: Request, published: Published | None = None) -> Answer:
        """Takes so many steps, with another policy from now on where one is given.

        Raises:
          InputError: the environment cannot be made, or gave what cannot be learned from.
        """
        assert request.number == self._number, "requests come in their order"
        self._number += 1
        if published is not None:
            self._policy, self._version = read_published(published, self._spec), request.version
        self._epsilon = request.epsilon if self._policy is not None else 1.0
        self.env_steps, self._resets = request.env_steps, 0
        self._seeds.extend(request.seeds)
        if request.begins:
            self._exploration.forget()
            self._steps = self._playing()(self, self._next_seeds())
        return Answer(pack([*islice(self._steps, request.steps)]), self._version, self._resets)

    def act(self, observation: NDArray[Any], legal: NDArray[np.bool_] | None = None, /) -> int:
        """Epsilon-greedy."""
        return self._exploration.act(observation, self.env_steps, lambda: self._known()(observation))

    def act_in_all(self, observations: NDArray[Any], /) -> NDArray[np.int64]:
        """Epsilon-greedy, each environment by itself."""
        return self._exploration.act_in_all(observations, self.env_steps, lambda: self._known().actions(observations))

    def _known(self) -> FilePolicy | NumpyNetwork:
        assert self._policy is not None  # or epsilon is 1
        return self._policy

    def _playing(self) -> Callable[[Acting, Iterator[int]], Iterator[Step]]:
        if self._play is None:
            sys.path.extend(place for place in self._path if place not in sys.path)
            spec, name = self._spec, self._spec.id
            if self._num_envs > 1:
                self._play = partial(interact_with_all, envs=make_vector(spec, num_envs=self._num_envs), env_id=name)
            else:
                self._play = partial(interact, env=agent_view(make_environment(spec.source), spec), env_id=name)
        return self._play

    def _next_seeds(self) -> Iterator[int]:
        while True:
            self._resets += 1
            yield self._seeds.popleft()
