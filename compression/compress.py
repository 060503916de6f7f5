"""Runs a recipe: from a float agent to a policy that the exporter can convert."""

import itertools
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np

from edgedqn.agents.errors import require
from edgedqn.agents.playing.evaluation import Policy, RandomPolicy, evaluate
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import InputScaling, plain_network
from edgedqn.compression.policy import FLOAT_OUTPUT, CompressedPolicy, Excess, Judge
from edgedqn.compression.preferences import median_action_gap
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.report import UNPLAYABLE, StageReport
from edgedqn.compression.stage import CompressionContext, Stage, Student, choices_of, q_values_of

AGREEMENT_STATES = 2_000
EPISODES = 20  # whose mean return a stage's report shows: to see where it broke, not to prove anything


def compress(
    agent: TrainedAgent,
    recipe: Recipe,
    *,
    env: gymnasium.Env[Any, Any],
    reset_seeds: Iterator[int],
    rng: np.random.Generator,
    judge: Judge | None = None,
    excess: Excess | None = None,
    tolerates: Callable[[float], bool] = lambda disagreement: False,
) -> CompressedPolicy:
    """Runs a recipe's stages on a float agent.

    Args:
      agent: the teacher; it is left as it is.
      recipe: what to do.
      env: where states are gathered, as the agent's network sees it (`environments.agent_view`); left open.
      reset_seeds: of those episodes (the `calibrate` stream), endless.
      rng: for exploration and minibatches.
      judge: exports candidates and plays the files. `shrink` and `search` need it, others do without.
      excess: why a candidate's file does not fit the board that it is for; `search` asks it. None: it fits.
      tolerates: whether the agent may act otherwise in such a share of the states, by gap, at no cost that matters; see
        `CompressionContext`.
    Returns:
      The policy to export, with a report per stage.
    Raises:
      InputError: the agent cannot be compressed this way, or a fine-tuning diverged.
    """
    q_values = q_values_of(agent, agent.observations)
    network, scaling = plain_network(agent.network), InputScaling.identity()
    hidden = [layer for layer in network.layers[:-1] if layer.weights]
    expected = "A float output leaves nothing to round of a network of one layer. Expected a hidden layer."
    require(bool(hidden) or recipe.conversion != FLOAT_OUTPUT, f"{expected} Got none.")
    student = Student(network=network, scaling=scaling, states=agent.observations, preferences=q_values)
    reports: list[StageReport] = []
    if recipe.stages:
        context = CompressionContext(
            teacher=agent,
            env=env,
            reset_seeds=reset_seeds,
            rng=rng,
            gap=median_action_gap(q_values),
            judge=judge,
            excess=excess,
            conversion=recipe.conversion,
            tolerates=tolerates,
        )
        student = replace(student, preferences=context.preferences(agent.observations))
        _warn_of_a_poor_teacher(context)
        teaching = context
        for stage in recipe.stages:
            student, report = _run(stage, student, context=context, teaching=teaching)
            reports.append(report)
            if stage.trains == "q_values" and not stage.rounds_to_int8:
                teaching = _taught_by_itself(student, context)
                agent = teaching.teacher
                states = agent.observations
                student = replace(student, states=states, preferences=teaching.preferences(states, student.targets))
    policy = student.as_compressed(agent, conversion=recipe.conversion, recipe=recipe.name)
    return replace(policy, reports=tuple(reports), settings=recipe.to_json())


def _run(
    stage: Stage, student: Student, *, context: CompressionContext, teaching: CompressionContext
) -> tuple[Student, StageReport]:
    """What a stage makes of a student, as it is taught, and how that compares with the agent of `context`."""
    started = time.monotonic()
    student, findings = stage.apply(student, teaching)
    seconds = round(time.monotonic() - started, 2)
    states = context.teacher.observations[:AGREEMENT_STATES]  # [N, ...]
    policy = student.as_policy(context.teacher.spec)
    agreement = float((policy.actions(states) == choices_of(context.teacher, states)).mean())
    # A network with fake quantization takes half a millisecond a step: seconds for what the judge has told already.
    was_played = findings.judged is not None and findings.judged.loss != UNPLAYABLE
    mean_return = findings.judged.mean_return if findings.judged and was_played else _mean_return(policy, context)
    return student, StageReport(
        stage=stage.name, agreement=agreement, mean_return=mean_return, seconds=seconds, findings=findings
    )


def _taught_by_itself(student: Student, context: CompressionContext) -> CompressionContext:
    """The context in which a student that has learned in the environment is its own teacher: its policy is another one than
    its first teacher's, and as good, so that is what must not be lost from now on."""
    teacher = student.as_agent(context.teacher)
    observations = context.gather_states(teacher.policy, len(teacher.observations), epsilon=0.0)
    gap = median_action_gap(q_values_of(teacher, observations))
    return replace(context, teacher=replace(teacher, observations=observations), gap=gap)


def _warn_of_a_poor_teacher(context: CompressionContext) -> None:
    """A student of it would be as poor."""
    teacher = context.teacher
    float_return = _mean_return(teacher.policy, context)
    random_return = _mean_return(RandomPolicy(teacher.spec.n_actions, context.rng), context)
    if float_return <= random_return:
        warnings.warn(
            f"The agent for {teacher.spec.id} is no better than a random policy: expected more than {random_return:.4g} over "
            f"{EPISODES} episodes. Got {float_return:.4g}. Its gate will hardly pass.",
            stacklevel=3,
        )


def _mean_return(policy: Policy, context: CompressionContext) -> float:
    """In reward units, over 20 episodes."""
    episodes = itertools.islice(context.reset_seeds, EPISODES)
    return float(np.mean(evaluate(policy, context.env, seeds=episodes).returns))
