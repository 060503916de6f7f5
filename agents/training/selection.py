"""Which of the networks that a training went through is kept."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.files import Json
from edgedqn.agents.playing.evaluation import EpsilonGreedy, Policy, evaluate
from edgedqn.agents.training.bars import tqdm
from edgedqn.agents.training.checkpoints import State, Weights

ALIKE = 0.002  # of a return: as good as equal


class Scorable(Protocol):
    """What the choice asks of an agent."""

    env_steps: int

    def averaged_weights(self) -> Weights:
        """What is scored and kept."""

    def policy(self, weights: Weights) -> Policy:
        """The greedy policy of such weights."""


class Candidate(NamedTuple):
    """Weights, and the mean greedy return they were seen to score."""

    env_steps: int
    mean_return: float
    weights: Weights


@dataclass(kw_only=True)
class CheckpointSelection:
    """Scores the greedy policy from time to time and keeps the best weights.

    A DQN's last weights are rarely its best. One short evaluation is noisy, and the best of many noisy scores flatters; so
    the finalists are played again, ten times as long. Of those that then score alike, within 0.2 %, the one is taken that
    loses least when a tenth of its actions are random: rounding errors change some actions, and a policy that depends on
    each of them would fail after quantization.
    """

    env: gymnasium.Env[Any, Any]  # not that of the training, whose episodes go on; it gives what the policies take
    seeds: Callable[[int], list[int]]  # n -> the first n reset seeds of `select`
    episodes: int  # per evaluation
    finalists: int  # how many candidates are kept
    n_actions: int
    seed: int  # of the random actions, the same for each finalist
    keep_from: int = 0  # environment steps before which weights are scored, but no candidates
    on_best: Callable[[Candidate], None] = lambda candidate: None  # called with each candidate that is the best so far, at once
    scores: list[tuple[int, float]] = field(default_factory=list)
    kept: list[Candidate] = field(default_factory=list)

    def consider(self, agent: Scorable) -> None:
        """Plays the greedy policy and keeps its weights if they are among the best."""
        weights = agent.averaged_weights()
        mean = self._score(agent.policy(weights), self.seeds(self.episodes))
        self.scores.append((agent.env_steps, mean))
        if agent.env_steps < self.keep_from:
            return
        candidate = Candidate(agent.env_steps, mean, weights)
        if all(mean > other.mean_return for other in self.kept):
            self.on_best(candidate)
        # Among equals the later one is kept: it has seen more.
        self.kept = sorted([*self.kept, candidate], key=lambda c: (c.mean_return, c.env_steps))[-self.finalists :]

    def best(self, agent: Scorable) -> Candidate:
        """Plays the finalists again, ten times as long, and returns the best of them."""
        scores = self._score_all("choose a checkpoint", [agent.policy(c.weights) for c in self.kept])
        final = [c._replace(mean_return=score) for c, score in zip(self.kept, scores, strict=True)]
        top = max(scores)
        alike = [c for c in final if c.mean_return >= top - ALIKE * abs(top)]
        if len(alike) == 1:
            return alike[0]
        robust = self._score_all("choose the most robust", [self._distracted(agent.policy(c.weights)) for c in alike])
        return max(zip(robust, alike, strict=True), key=lambda pair: (pair[0], pair[1].env_steps))[1]

    def state(self) -> State:
        """Scores and candidates, as arrays and JSON."""
        arrays = {f"kept_{i}_{j}": w for i, c in enumerate(self.kept) for j, w in enumerate(c.weights)}
        kept = [[c.env_steps, c.mean_return, len(c.weights)] for c in self.kept]
        return arrays, {"scores": [list(score) for score in self.scores], "kept": kept}

    def restore(self, arrays: Mapping[str, NDArray[Any]], values: Json) -> None:
        """Goes on where `state` was taken."""
        self.scores = [(env_steps, mean) for env_steps, mean in values["scores"]]
        self.kept = [
            Candidate(env_steps, mean, [np.array(arrays[f"kept_{i}_{j}"]) for j in range(count)])
            for i, (env_steps, mean, count) in enumerate(values["kept"])
        ]

    def _distracted(self, policy: Policy) -> Policy:
        return EpsilonGreedy(policy, 0.1, n_actions=self.n_actions, rng=np.random.default_rng(self.seed))

    def _score(self, policy: Policy, seeds: Iterable[int]) -> float:
        return float(np.mean(evaluate(policy, self.env, seeds=seeds).returns))

    def _score_all(self, label: str, policies: Sequence[Policy]) -> list[float]:
        """Each policy's mean return in ten times the episodes of an evaluation, under one progress bar."""
        seeds = self.seeds(10 * self.episodes)
        bar = tqdm(total=len(policies) * len(seeds), desc=label, unit=" episodes", disable=None, leave=False)

        def played() -> Iterator[int]:
            for seed in seeds:
                yield seed
                bar.update()

        with bar:
            return [self._score(policy, played()) for policy in policies]
