"""Runs a recipe: from a float agent to a policy that the exporter can convert."""

import itertools
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from edgedqn.agents.playing.evaluation import Policy, RandomPolicy, evaluate
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.judge import Judge
from edgedqn.compression.methods.distillation import median_action_gap
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.student import Lesson, Student, q_values_of

AGREEMENT_STATES = 2_000
EPISODES = 20  # whose mean return a stage's report shows: to see where it broke, not to prove anything


def compress(
    agent: TrainedAgent,
    recipe: Recipe,
    env: gymnasium.Env[Any, Any],
    reset_seeds: Iterator[int],
    rng: np.random.Generator,
    judge: Judge | None = None,
) -> CompressedPolicy:
    """Runs a recipe's stages on a float agent.

    Args:
      agent: the teacher; it is left as it is.
      recipe: what to do.
      env: where states are gathered, as the agent's network sees it (`environments.agent_view`); left open.
      reset_seeds: of those episodes (the `calibrate` stream), endless.
      rng: for exploration and minibatches.
      judge: says how candidates play as files; stages that search need it, `quantize_judged` does without.
    Returns:
      The policy to export, with a report per stage: what it did, its agreement with the teacher and its mean return over 20
      episodes as it is in Keras, rounding included, and the seconds it took.
    Raises:
      InputError: the agent cannot be compressed this way, or a fine-tuning diverged.
    """
    plain = plain_network(agent.network)
    student = Student(plain, InputScaling.identity(), agent.observations, q_values_of(agent, agent.observations))
    reports: list[dict[str, Any]] = []
    if recipe.stages:
        gap = median_action_gap(student.preferences)
        lesson = Lesson(agent, env, reset_seeds, rng, gap, judge, recipe.conversion)
        student = replace(student, preferences=lesson.preferences(agent.observations))
        _warn_of_a_poor_teacher(lesson)
        for stage in recipe.stages:
            started = time.monotonic()
            student, report = stage.apply(student, lesson)
            seconds = round(time.monotonic() - started, 2)
            reports.append({"stage": stage.name, **_found(student, lesson), "seconds": seconds, **report})
    return replace(
        student.as_compressed(agent.spec, agent.observations, recipe.conversion, recipe.name),
        reports=tuple(reports),
        settings=recipe.to_json(),
    )


def _warn_of_a_poor_teacher(lesson: Lesson) -> None:
    """What is learned from it would be kept faithfully, and be worth nothing."""
    teacher, n_actions = lesson.teacher, lesson.teacher.spec.n_actions
    taught = _mean_return(teacher.policy, lesson)
    random = _mean_return(RandomPolicy(n_actions, lesson.rng), lesson)
    if taught <= random:
        warnings.warn(
            f"The agent for {teacher.spec.id} is no better than a random policy: expected more than {random:.4g} over "
            f"{EPISODES} episodes. Got {taught:.4g}. Its gate will hardly pass.",
            stacklevel=3,
        )


def _mean_return(policy: Policy, lesson: Lesson) -> float:
    episodes = itertools.islice(lesson.reset_seeds, EPISODES)
    return float(np.mean(evaluate(policy, lesson.env, seeds=episodes).returns))


def _found(student: Student, lesson: Lesson) -> dict[str, Any]:
    """The share of on-policy states in which the student, as it is in Keras, acts as its teacher does, and what it scores."""
    states = lesson.teacher.observations[:AGREEMENT_STATES]  # [N, ...]
    policy = student.as_policy(lesson.teacher.spec)
    agreement = float((policy.actions(states) == q_values_of(lesson.teacher, states).argmax(axis=1)).mean())
    return {"agreement": agreement, "return": _mean_return(policy, lesson)}
