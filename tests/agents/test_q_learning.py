"""The Q-table against the update written by hand, and on a corridor whose values are known."""

import itertools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.errors import DivergedError, InputError
from edgedqn.agents.networks import table_network
from edgedqn.agents.playing.spec import spec_of
from edgedqn.agents.q_learning import QLearning
from edgedqn.agents.training.build import build_q_learning
from edgedqn.agents.training.checkpoints import Checkpoints
from edgedqn.agents.training.config import QLearningConfig
from edgedqn.agents.training.interaction import Step, interact, interact_with_all
from edgedqn.agents.training.loop import TrainingLog, TrainingSchedule, train
from edgedqn.agents.training.selection import CheckpointSelection

STATES, ACTIONS = 4, 3
CORRIDOR_VALUES = 0.9 ** np.array([[5, 4], [5, 3], [4, 2], [3, 1], [2, 0]])  # [S, A]: a step to the left, a step to the right
CONFIG = QLearningConfig(
    steps=6_000,
    learning_rate=0.5,
    learning_rate_final=0.1,
    discount=0.9,
    exploration_fraction=0.5,
    exploration_final=0.3,
    evaluation_interval=1_000,
    evaluation_episodes=1,
)


def agent_of(epsilon: float = 0.0, rate: float = 0.25, seed: int = 0, **settings: Any) -> QLearning:
    rng = np.random.default_rng(seed)
    return QLearning(
        STATES,
        ACTIONS,
        exploration=lambda _: epsilon,
        learning_rate=lambda step: rate / (1 + step / 100),
        rng=rng,
        discount=0.9,
        **{"initial_value": 0.0, **settings},
    )


def with_table(agent: Any, table: Any) -> Any:
    agent.restore({"table": np.array(table, np.float64)}, agent.state()[1])
    return agent


def table_of(agent: Any) -> Any:
    return agent.state()[0]["table"]


def experience(count: int) -> Iterator[tuple[NDArray[Any], int, float, bool, bool, NDArray[Any]]]:
    """Arguments of `observe`: disjoint steps, some of which end the episode, one way, the other or both."""
    rng = np.random.default_rng(3)
    for _ in range(count):
        s_tm1, s_t = rng.integers(STATES, size=2)
        ends = bool(rng.random() < 0.3), bool(rng.random() < 0.3)
        yield np.array(s_tm1), int(rng.integers(ACTIONS)), float(rng.normal()), *ends, np.array(s_t)


@pytest.fixture
def make_cells(make_corridor: Callable[..., gymnasium.Env[Any, Any]]) -> Callable[..., Any]:
    """Makes the corridor whose observation is the number of the cell."""
    number = gymnasium.spaces.Discrete(5)
    return lambda limit=6: gymnasium.wrappers.TransformObservation(make_corridor(limit), lambda o: int(o.argmax()), number)


@pytest.mark.parametrize(
    ("terminated", "truncated", "target"),
    [(False, False, 9.3), (False, True, 9.3), (True, False, 3.0), (True, True, 3.0)],  # 3 + 0.9 max(1, 7, 4), or 3 alone
)
def test_one_update_written_out(terminated: bool, truncated: bool, target: float) -> None:
    table = np.array([[2.0, 5, 0], [1, 7, 4], [0, 0, 0], [9, 9, 9]])
    agent = with_table(agent_of(), table)
    agent.observe(Step(np.array(0), 0, 3.0, terminated, truncated, np.array(1), 0))
    table[0, 0] = 2 + 0.25 * (target - 2)
    np.testing.assert_allclose(table_of(agent), table, rtol=1e-15)
    assert (agent.env_steps, agent.gradient_steps) == (1, 1)
    assert agent.last_loss == pytest.approx(target - 2)


def test_it_is_q_learning_written_by_hand() -> None:
    agent, table, loss = agent_of(initial_value=0.5), np.full((STATES, ACTIONS), 0.5), None
    assert np.isnan(agent.last_loss)
    for t, (s_tm1, a_tm1, r_t, terminated, truncated, s_t) in enumerate(experience(500)):
        assert agent.learning_rate == 0.25 / (1 + t / 100)
        agent.observe(Step(s_tm1, a_tm1, r_t, terminated, truncated, s_t))
        error = r_t + 0.9 * (1 - terminated) * table[s_t].max() - table[s_tm1, a_tm1]
        table[s_tm1, a_tm1] += 0.25 / (1 + t / 100) * error
        loss = abs(error) if loss is None else 0.99 * loss + 0.01 * abs(error)
    np.testing.assert_allclose(table_of(agent), table, rtol=1e-12)
    assert agent.last_loss == pytest.approx(loss)


def test_it_learns_the_values_of_the_corridor(make_cells: Any) -> None:
    # Episodes are cut off after 6 steps: were that an end without a future, the values would be far smaller.
    env = make_cells(limit=6)
    agent = build_q_learning(spec_of(env, "Cells"), CONFIG, rng=np.random.default_rng(0))
    cut = 0
    for step in itertools.islice(interact(env=env, env_id="Cells", agent=agent, reset_seeds=itertools.count()), CONFIG.steps):
        agent.observe(step)
        cut += step.truncated
    assert cut > 50
    np.testing.assert_allclose(table_of(agent), CORRIDOR_VALUES, rtol=1e-6)


def test_a_training_from_end_to_end(make_cells: Any) -> None:
    env = make_cells(limit=20)
    agent = build_q_learning(spec_of(env, "Cells"), CONFIG, rng=np.random.default_rng(0))
    selection = CheckpointSelection(
        env=make_cells(), seeds=lambda n: list(range(n)), episodes=CONFIG.evaluation_episodes, finalists=2, n_actions=2, seed=0
    )
    play = partial(interact, env=env, env_id="Cells")
    report = train(
        agent,
        play,
        label="Cells",
        schedule=TrainingSchedule(CONFIG.steps, CONFIG.evaluation_interval),
        reset_seeds=itertools.count(),
        selection=selection,
        checkpoints=Checkpoints(Path("nowhere"), {}),
        log=TrainingLog(),
    )
    assert report.best.mean_return == 1.0
    assert report.gradient_steps == CONFIG.steps
    assert [agent.policy(report.best.weights)(cell) for cell in range(5)] == [1] * 5
    assert report.episodes[0].epsilon > report.episodes[-1].epsilon == pytest.approx(0.3)


def test_several_environments_share_the_table(make_cells: Any) -> None:
    envs = gymnasium.vector.SyncVectorEnv([make_cells] * 3, autoreset_mode=gymnasium.vector.AutoresetMode.DISABLED)
    agent = build_q_learning(spec_of(make_cells(), "Cells"), CONFIG, rng=np.random.default_rng(0))
    for step in itertools.islice(
        interact_with_all(envs=envs, env_id="Cells", agent=agent, reset_seeds=itertools.count()), CONFIG.steps
    ):
        agent.observe(step)
    assert agent.env_steps == agent.gradient_steps == CONFIG.steps
    np.testing.assert_allclose(table_of(agent), CORRIDOR_VALUES, rtol=1e-6)


def test_great_expectations_make_it_try_everything(make_cells: Any) -> None:
    env = make_cells()
    agent = QLearning(
        5,
        2,
        exploration=lambda _: 0.0,
        learning_rate=lambda _: 0.5,
        rng=np.random.default_rng(0),
        discount=0.9,
        initial_value=2.0,
    )
    for step in itertools.islice(interact(env=env, env_id="Cells", agent=agent, reset_seeds=itertools.count()), 2_000):
        agent.observe(step)
    assert (table_of(agent) < 2.0).all()
    assert agent.policy(agent.averaged_weights())(np.array(0)) == 1


def test_epsilon_and_the_learning_rate_fall_as_configured(make_cells: Any) -> None:
    agent = build_q_learning(spec_of(make_cells(), "Cells"), CONFIG, rng=np.random.default_rng(0))
    for step, epsilon, rate in ((0, 1.0, 0.5), (1_500, 0.65, 0.4), (3_000, 0.3, 0.3), (6_000, 0.3, 0.1), (9_000, 0.3, 0.1)):
        agent.env_steps = step
        assert agent.epsilon == pytest.approx(epsilon)
        assert agent.learning_rate == pytest.approx(rate)


@pytest.mark.parametrize("epsilon", [0.0, 0.6, 1.0])
def test_as_many_actions_are_random_as_epsilon_says(epsilon: float) -> None:
    agent = with_table(agent_of(epsilon), np.eye(STATES, ACTIONS))
    single = [agent.act(np.array(1)) for _ in range(3_000)]
    together = agent.act_in_all(np.ones(3_000, np.int64))
    assert (together.shape, together.dtype) == ((3_000,), np.int64)
    for actions in (single, together):
        expected = np.full(ACTIONS, epsilon / ACTIONS) + (1 - epsilon) * np.eye(ACTIONS)[1]
        np.testing.assert_allclose(np.bincount(actions, minlength=ACTIONS) / 3_000, expected, atol=0.04)


def test_the_lowest_index_wins_among_equals() -> None:
    table = np.array([[1, 1, 1], [0, 2, 2], [3, 0, 3], [-1, -2, -1]], np.float32)
    policy, agent = agent_of().policy([table]), with_table(agent_of(), table)
    assert [policy(state) for state in range(STATES)] == [0, 1, 0, 0]
    assert agent.act_in_all(np.arange(STATES)).tolist() == [0, 1, 0, 0]


def test_what_float32_cannot_tell_apart_is_equal() -> None:
    agent = with_table(agent_of(), [[1, 1 + 1e-12, 0]] * STATES)
    assert agent.policy(agent.averaged_weights())(np.array(0)) == 0


def test_the_table_as_a_network_takes_the_same_actions() -> None:
    rng = np.random.default_rng(0)
    agent = with_table(agent_of(), rng.integers(-3, 3, (STATES, ACTIONS)) + rng.integers(0, 2, (STATES, 1)) * 0.1)
    weights = agent.averaged_weights()
    network = table_network(STATES, ACTIONS)
    network.set_weights(weights)
    q_values = network(np.eye(STATES, dtype=np.float32)).numpy()
    np.testing.assert_array_equal(q_values, weights[0])
    policy = agent.policy(weights)
    assert q_values.argmax(axis=1).tolist() == [policy(np.array(state)) for state in range(STATES)]


def test_the_weights_are_a_copy_and_the_policy_is_theirs() -> None:
    agent = agent_of(rate=1.0)
    before = agent.averaged_weights()
    assert [(w.shape, w.dtype) for w in before] == [((STATES, ACTIONS), np.dtype(np.float32))]
    agent.observe(Step(np.array(0), 2, 1.0, True, False, np.array(1)))
    assert not before[0].any()
    assert agent.policy(before)(np.array(0)) == 0
    assert agent.policy(agent.averaged_weights())(np.array(0)) == 2


def play(agent: Any, make_cells: Any, first_seed: int) -> Any:
    """What 700 steps bring, from a reset on."""
    steps = []
    for step in itertools.islice(
        interact(env=make_cells(), env_id="Cells", agent=agent, reset_seeds=itertools.count(first_seed)), 700
    ):
        agent.observe(step)
        steps.append((int(step.s_tm1), step.a_tm1, step.r_t, agent.last_loss))
    agent.cut_episodes()
    return steps


@pytest.mark.parametrize("before", [0, 1])
def test_resumed_equals_uninterrupted_bit_for_bit(make_cells: Any, before: int) -> None:
    build = partial(build_q_learning, spec_of(make_cells(), "Cells"), replace(CONFIG, steps=1_400))
    agent, resumed = build(rng=np.random.default_rng(0)), build(rng=np.random.default_rng(1))
    for i in range(before):
        play(agent, make_cells, 100 * i)
    arrays, values = agent.state()
    expected = play(agent, make_cells, 500)  # what was taken is a copy
    resumed.restore(arrays, json.loads(json.dumps(values)))
    assert play(resumed, make_cells, 500) == expected
    assert table_of(resumed).tobytes() == table_of(agent).tobytes()
    assert resumed.state()[1] == agent.state()[1]


def test_a_state_of_another_environment_is_not_restored() -> None:
    arrays, values = agent_of().state()
    with pytest.raises(ValueError, match=r"expected the shape \(5, 3\)\. Got \(4, 3\)\."):
        QLearning(
            5, 3, exploration=float, learning_rate=float, rng=np.random.default_rng(0), discount=0.99, initial_value=0.0
        ).restore(arrays, values)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf, 1e40, -1e40])
def test_a_value_that_is_no_float32_stops_the_training_at_its_step(reward: float) -> None:
    agent = agent_of()
    for transition in experience(6):
        agent.observe(Step(*transition))
    before = table_of(agent)
    with pytest.raises(DivergedError, match=r"at environment step 7: .* Got \S+ for action 1 in state 2\."):
        agent.observe(Step(np.array(2), 1, reward, False, False, np.array(0)))
    np.testing.assert_array_equal(table_of(agent), before)


@pytest.mark.parametrize("number", [-1, STATES])
def test_a_state_that_there_is_not_is_named(number: Any) -> None:
    agent = agent_of()
    for use in (
        lambda: agent.act(np.array(number)),
        lambda: agent.observe(Step(np.array(0), 0, 0.0, False, False, np.array(number))),
        lambda: agent.observe(Step(np.array(number), 0, 0.0, True, False, np.array(0))),
    ):
        with pytest.raises(InputError, match=rf"expected 0 to 3\. Got {number}\.$"):
            use()


def test_it_needs_no_tensorflow() -> None:
    code = "import sys, edgedqn.agents.q_learning, edgedqn.agents.training.loop; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_only_legal_actions_are_taken_and_valued() -> None:
    table = np.array([[1.0, 9.0, 3.0, 2.0][:ACTIONS] for _ in range(STATES)])
    legal = np.arange(ACTIONS) != 1
    agent = with_table(agent_of(masked=True), table)
    assert agent.act(0, legal) == agent.policy(agent.averaged_weights())(0, legal) == 2
    explorer = with_table(agent_of(epsilon=1.0), table)
    assert {explorer.act(0, legal) for _ in range(200)} == set(np.flatnonzero(legal))
    agent.observe(Step(np.array(0), 0, 0.0, terminated=False, truncated=False, s_t=np.array(1), legal_t=legal))
    assert table_of(agent)[0, 0] == pytest.approx(1 + 0.25 * (0.9 * 3 - 1))
    # Its network is told what is legal, too, and makes nothing of it.
    assert agent.averaged_weights()[0].shape == (STATES + ACTIONS, ACTIONS)
    assert not agent.averaged_weights()[0][STATES:].any()
