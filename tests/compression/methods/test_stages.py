import itertools
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.networks import mlp
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.compression.folding import BATCH, InputScaling, plain_network
from edgedqn.compression.methods.distillation import Distillation, median_action_gap
from edgedqn.compression.methods.pruning import allocate
from edgedqn.compression.methods.stages import Cluster, Distil, Prune, Restart, ScaleInput, Threshold, Visit
from edgedqn.compression.policy import CompressedPolicy
from edgedqn.compression.student import Lesson, Student, q_values_of

SHAPES = [(4, 16), (16, 16), (16, 2)]


@pytest.fixture
def lesson(teacher: TrainedAgent, env: gymnasium.Env[Any, Any]) -> Lesson:
    gap = median_action_gap(teacher.policy.q_values(teacher.observations))
    return Lesson(teacher, env, itertools.count(50), np.random.default_rng(1), gap)


@pytest.fixture
def student(teacher: TrainedAgent, lesson: Lesson) -> Student:
    return Student(
        plain_network(teacher.network), InputScaling.identity(), teacher.observations, lesson.preferences(teacher.observations)
    )


def report(policy: CompressedPolicy, stage: str) -> dict[str, Any]:
    (found,) = [r for r in policy.reports if r["stage"] == stage]
    return found


def kernels(network: tf_keras.Model) -> list[NDArray[np.float32]]:
    return [array for array in network.get_weights() if array.ndim > 1]


# --- the lesson ------------------------------------------------------------------------------------------------------------


def test_visits_what_the_policy_sees_from_the_reset_seeds(lesson: Lesson, teacher: TrainedAgent) -> None:
    visited = lesson.visit(teacher.policy, 700, epsilon=0.0)
    env = gymnasium.make("CartPole-v1")
    expected: list[Any] = []
    for seed in itertools.count(50):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over:
            expected.append(observation)
            observation, _, terminated, truncated, _ = env.step(teacher.policy(observation))
            over = terminated or truncated
        if len(expected) >= 700:
            break
    env.close()
    assert visited.dtype == np.float32
    np.testing.assert_array_equal(visited, expected[:700])


def test_epsilon_mixes_random_actions_in(lesson: Lesson, teacher: TrainedAgent) -> None:
    spread = [np.abs(lesson.visit(teacher.policy, 2_000, epsilon)[:, 2]).mean() for epsilon in (0.0, 0.3, 1.0)]
    assert spread[0] < spread[1] < spread[2]  # the pole leans further the less the policy has to say


def test_preferences_are_1_for_the_teachers_action(lesson: Lesson, teacher: TrainedAgent) -> None:
    preferences = lesson.preferences(teacher.observations)
    q_values = teacher.network(teacher.observations).numpy()
    best = q_values.argmax(axis=1)
    gaps = np.abs(q_values[:, 0] - q_values[:, 1])
    np.testing.assert_array_equal(preferences[np.arange(len(best)), best], 1)
    # Half of the states have a gap below the median, where the other action's preference is above 0.
    assert (preferences[np.arange(len(best)), 1 - best] > 0).mean() == pytest.approx(0.5, abs=0.01)
    np.testing.assert_allclose(preferences.min(axis=1), 1 - np.minimum(gaps / lesson.gap, 2), atol=1e-3)


# --- the stages ------------------------------------------------------------------------------------------------------------


def test_scale_input_folds_what_it_measures(student: Student, lesson: Lesson, teacher: TrainedAgent) -> None:
    scaled, said = ScaleInput().apply(student, lesson)
    assert scaled.scaling == InputScaling.measured(teacher.observations)
    assert (said["scale"], said["offset"]) == (list(scaled.scaling.scale), list(scaled.scaling.offset))
    inputs = scaled.scaling(teacher.observations)
    inside = (np.abs(inputs) < 1).all(axis=1)
    assert inside.mean() > 0.9
    expected = teacher.network(teacher.observations[inside]).numpy()
    got = scaled.network(inputs[inside]).numpy()
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    # What lies at the measured ends is as large as the int8 input can say.
    np.testing.assert_allclose(scaled.scaling(np.array([said["lowest"], said["highest"]])), [[-1] * 4, [1] * 4], atol=1e-5)
    assert said["clipped_fraction"] == (np.abs(inputs) == 1).mean()
    assert scaled.network is not student.network
    assert not scaled.pruned


def test_distil_teaches_on_all_the_states_it_says(lesson: Lesson, teacher: TrainedAgent) -> None:
    fresh = mlp((4,), 2, hidden=(16, 16), rng=np.random.default_rng(8))
    before = fresh.get_weights()
    scaling = InputScaling.measured(teacher.observations)
    start = Student(fresh, scaling, teacher.observations, lesson.preferences(teacher.observations))
    learned, said = Distil(Distillation(100), 1_500, 500, 1, 300).apply(start, lesson)
    first = len(teacher.observations)
    assert said["states"] == first + 1_500 + 500 + 300 == len(learned.states)
    assert 0 < said["final_loss"] < 0.5
    assert learned.states.dtype == np.float32
    # The teacher's own states come first, the more random ones lean further.
    np.testing.assert_array_equal(learned.states[:first], teacher.observations)
    greedy, explored = np.split(np.abs(learned.states[first : first + 2_000, 2]), [1_500])
    assert greedy.mean() < explored.mean()
    # In the same two parts: the sums of other batches round otherwise.
    said_of = [lesson.preferences(part) for part in np.split(learned.states, [first + 2_000])]
    np.testing.assert_array_equal(learned.preferences, np.concatenate(said_of))
    q_values = learned.network(scaling(teacher.observations)).numpy()
    agreement = (q_values.argmax(axis=1) == teacher.policy.q_values(teacher.observations).argmax(axis=1)).mean()
    assert agreement > 0.8
    assert learned.scaling == scaling
    for array, kept in zip(fresh.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_even_the_shortest_pruning_arrives(student: Student, lesson: Lesson) -> None:
    before = student.network.get_weights()
    pruned, said = Prune(0.7, "uniform", Distillation(1)).apply(student, lesson)
    assert pruned.pruned
    assert (said["allocation"], said["sparsity_asked"]) == ("uniform", [0.7] * 3)
    for kernel, reached in zip(kernels(pruned.network), said["sparsity_reached"], strict=True):
        assert reached == pytest.approx((kernel == 0).mean())
        assert abs(reached - 0.7) <= 0.5 / kernel.size + 1e-9
    for array, kept in zip(student.network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("sparsity", [-0.1, 0.0, 1.0, float("nan")])
def test_refuses_a_sparsity_that_prunes_nothing_or_all(sparsity: float) -> None:
    with pytest.raises(InputError, match=r"Expected it in \(0, 1\)\. Got"):
        Prune(sparsity)


# --- the stages in a row, as a recipe runs them -----------------------------------------------------------------------------


def test_each_stage_reports_what_it_did(policies: dict[str, CompressedPolicy]) -> None:
    reports = policies["tiny-pruned"].reports
    assert [r["stage"] for r in reports] == ["scale_input", "distil", "prune", "quantize_aware"]
    assert report(policies["tiny-pruned"], "distil")["states"] == 2_000 + 1_000 + 500  # the agent's own first
    for r in reports:
        assert 0.8 < r["agreement"] <= 1
        assert r["seconds"] >= 0
    assert all(0 < r["final_loss"] < 1 for r in reports[1:])
    assert reports[-1]["keep_zeros"] is True
    for reached, pruned in zip(reports[-1]["sparsity_reached"], reports[-2]["sparsity_reached"], strict=True):
        assert reached >= pruned  # of what will be rounded, the zeros are still there
    assert report(policies["tiny-qat"], "quantize_aware")["keep_zeros"] is False


def test_pruned_zeros_are_in_the_final_network(policies: dict[str, CompressedPolicy]) -> None:
    said = report(policies["tiny-pruned"], "prune")
    assert said["allocation"] == "erk"
    assert said["sparsity_asked"] == list(allocate(SHAPES, 0.8, "erk"))
    final = kernels(policies["tiny-pruned"].network)
    for kernel, asked, reached in zip(final, said["sparsity_asked"], said["sparsity_reached"], strict=True):
        assert reached >= asked - 0.5 / kernel.size - 1e-6  # to the nearest weight
        assert (kernel == 0).mean() >= reached - 1e-6
    assert not any((kernel == 0).any() for kernel in kernels(policies["tiny-qat"].network))


def test_quantization_starts_from_the_pruned_student_with_its_input_range(policies: dict[str, CompressedPolicy]) -> None:
    for name in ("tiny-qat", "tiny-pruned"):
        policy = policies[name]
        entrance = {v.name.rpartition("_")[2]: float(v.numpy()) for v in policy.network.layers[1].weights[:2]}
        assert entrance == {"min:0": -1.0, "max:0": 1.0}
        assert policy.scaling.limits == (-1.0, 1.0)


# --- other networks than an MLP -------------------------------------------------------------------------------------------


def lesson_of(case: Any) -> tuple[Student, Lesson]:
    gap = median_action_gap(q_values_of(case.agent, case.agent.observations))
    lesson = Lesson(case.agent, case.env, itertools.count(70), np.random.default_rng(2), gap)
    states = case.agent.observations
    return Student(plain_network(case.agent.network), InputScaling.identity(), states, lesson.preferences(states)), lesson


def test_q_values_of_many_states_are_those_of_each(frames: Any) -> None:
    states = frames.agent.observations[: BATCH + 3]
    expected = np.stack([frames.agent.policy.q_values(state) for state in states])
    np.testing.assert_allclose(q_values_of(frames.agent, states), expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_the_scaled_input_of_any_network_changes_nothing(case: Any) -> None:
    student, lesson = lesson_of(case)
    scaled, said = ScaleInput().apply(student, lesson)
    assert said["clipped_fraction"] == 0 or case.agent.spec.observation_dtype == "float32"
    expected = q_values_of(case.agent, case.agent.observations)
    got = np.concatenate([scaled.network(batch) for batch in scaled.inputs()])
    clear = np.abs(scaled.scaling(case.agent.observations)).reshape(len(got), -1).max(axis=1) <= 1
    assert clear.mean() > 0.9
    np.testing.assert_allclose(got[clear], expected[clear], rtol=0, atol=2e-5 * np.abs(expected).max())


def test_states_are_kept_in_the_environments_dtype(frames: Any) -> None:
    student, lesson = lesson_of(frames)
    student, _ = ScaleInput().apply(student, lesson)
    learned, said = Distil(Distillation(50), 150, 50, 2, 40).apply(student, lesson)
    first = len(lesson.teacher.observations)
    rounds = sum(agreement < 0.999 for agreement in said["agreement_per_round"])  # none is learned from once that is enough
    assert (learned.states.dtype, learned.states.shape) == (np.uint8, (first + 150 + 50 + rounds * 40, 9, 8, 4))
    assert said["states"] == len(learned.states) == len(learned.preferences)
    np.testing.assert_allclose(learned.preferences, lesson.preferences(learned.states), atol=1e-5)
    assert 0 < said["final_loss"] < 0.5


def test_a_table_is_taught_in_every_state(case: Any) -> None:
    if case.agent.spec.observation_shape:
        assert len(lesson_of(case)[1].all_states()) == 0
        return
    # The teacher sees two states only, and has learned nothing of a third.
    kernel = case.agent.network.get_weights()[0].copy()
    kernel[5] = 0
    network = tf_keras.models.clone_model(case.agent.network)
    network.set_weights([kernel])
    agent = replace(case.agent, network=network, observations=np.eye(16, dtype=np.int64)[[0, 4]])
    student, lesson = lesson_of(replace(case, agent=agent))
    every = np.eye(16, dtype=np.int64)
    np.testing.assert_array_equal(lesson.all_states(), every)
    student, _ = ScaleInput().apply(student, lesson)
    assert student.scaling == InputScaling((1.0,), (0.0,), (0.0, 1.0))
    learned, said = Distil(Distillation(300, learning_rate=1e-2), 40, 20, 0).apply(student, lesson)
    assert said["states"] == 2 + 40 + 20 + 16
    preferences = lesson.preferences(every)
    np.testing.assert_array_equal(preferences[5], 1)
    got = learned.network(every.astype(np.float32)).numpy()
    np.testing.assert_array_equal(np.delete(got.argmax(axis=1), 5), np.delete(preferences.argmax(axis=1), 5))


def test_convolutions_are_pruned_as_dense_layers_are(frames: Any) -> None:
    student, lesson = lesson_of(frames)
    student, _ = ScaleInput().apply(student, lesson)
    pruned, said = Prune(0.6, "erk", Distillation(50)).apply(student, lesson)
    shapes = [(3, 3, 4, 6), (120, 32), (32, 3)]
    assert [kernel.shape for kernel in kernels(pruned.network)] == shapes
    assert said["sparsity_asked"] == list(allocate(shapes, 0.6, "erk"))
    for reached, asked, shape in zip(said["sparsity_reached"], said["sparsity_asked"], shapes, strict=True):
        assert reached == pytest.approx(asked, abs=0.5 / np.prod(shape) + 1e-6)


# --- thresholds, structures, clusters --------------------------------------------------------------------------------------


def test_a_threshold_takes_the_small_weights_and_no_bias(student: Student, lesson: Lesson) -> None:
    thinned, said = Threshold(0.1).apply(student, lesson)
    for before, after in zip(student.network.get_weights(), thinned.network.get_weights(), strict=True):
        expected = np.where(np.abs(before) < 0.1, 0, before) if before.ndim > 1 else before
        np.testing.assert_array_equal(after, expected)
    assert said["sparsity_reached"] == [(kernel == 0).mean() for kernel in kernels(thinned.network)]
    assert (thinned.meaning, thinned.pruned) == ("q_values", True)


def test_two_of_four_neighbours_along_the_inputs_go(student: Student, lesson: Lesson) -> None:
    pruned, said = Prune(0.5, "uniform", Distillation(50), "2:4", "constant").apply(student, lesson)
    assert said["sparsity_reached"] == [0.5] * 3
    for kernel in kernels(pruned.network):  # [in, out]
        assert ((kernel.reshape(-1, 4, kernel.shape[1]) == 0).sum(axis=1) == 2).all()


def test_blocks_along_the_inputs_go_as_a_whole(student: Student, lesson: Lesson) -> None:
    pruned, said = Prune(0.5, "uniform", Distillation(50), (1, 8)).apply(student, lesson)
    assert said["skipped"] == ["kernel 0, 4 x 16: 4 inputs and 16 outputs are no multiples of 8 and 1"]
    assert said["sparsity_asked"] == [0, 0.5, 0.5]
    for kernel in kernels(pruned.network)[1:]:
        zeros = (kernel == 0).reshape(-1, 8, kernel.shape[1]).sum(axis=1)
        assert set(np.unique(zeros)) == {0, 8}
        assert (zeros == 8).mean() == pytest.approx(0.5, abs=0.05)


def test_an_allocation_can_be_given(student: Student, lesson: Lesson) -> None:
    _, said = Prune(0.5, (0.0, 0.75, 0.25), Distillation(50)).apply(student, lesson)
    assert said["sparsity_reached"] == pytest.approx([0.0, 0.75, 0.25], abs=0.02)
    with pytest.raises(InputError, match=r"Expected an allocation of 3 shares, one per kernel\. Got 2"):
        Prune(0.5, (0.5, 0.5), Distillation(50)).apply(student, lesson)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"structure": "2:4", "sparsity": 0.6, "allocation": "uniform"}, "2:4 keeps two of any four"),
        ({"structure": "2:4"}, r"Expected sparsity=0\.5, allocation='uniform'.*Got \(0\.5, 'erk'"),
        ({"structure": (0, 4)}, r"A block is \(outputs, inputs\), each 1 or more"),
        ({"structure": (1, 2, 3)}, r"A block is \(outputs, inputs\)"),
        ({"structure": "4:8"}, r"or a block \(outputs, inputs\)\. Got '4:8'"),
        ({"allocation": "guess"}, "Expected an allocation of 'erk', 'uniform' or shares"),
        ({"allocation": (0.5, 1.0)}, r"shares in \[0, 1\)"),
        ({"schedule": "linear"}, "Expected a schedule of 'polynomial' or 'constant'"),
        ({"begin": 0.7, "end": 0.6}, r"Pruning must begin before it ends.*Got begin=0\.7 and end=0\.6"),
    ],
)
def test_refuses_pruning_that_makes_no_sense(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Prune(**{"sparsity": 0.5, **settings})


def test_a_kernel_of_few_values_is_left_alone(student: Student, lesson: Lesson) -> None:
    clustered, said = Cluster(40, Distillation(50)).apply(student, lesson)
    assert said["skipped"] == ["kernel 2 has 30 values already and stays as it is"]
    np.testing.assert_array_equal(kernels(clustered.network)[2], kernels(student.network)[2])
    assert max(said["clusters_reached"]) <= 40
    # Where that is all of them nothing is learned, and what the output means stays.
    again, said = Cluster(40, Distillation(50)).apply(replace(clustered, meaning="q_values"), lesson)
    assert (len(said["skipped"]), said["final_loss"], again.meaning) == (3, None, "q_values")
    for array, kept in zip(again.network.get_weights(), clustered.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_small_pruned_kernel_keeps_its_zeros_when_it_has_few_values(student: Student, lesson: Lesson) -> None:
    pruned, _ = Prune(0.8, "uniform", Distillation(50)).apply(student, lesson)
    counts = [len(np.unique(kernel)) for kernel in kernels(pruned.network)]
    clusters = counts[2] + 1
    assert clusters < min(counts[:2])  # the last kernel alone has too few
    clustered, said = Cluster(clusters, Distillation(50)).apply(pruned, lesson)
    for kernel, before in zip(kernels(clustered.network), kernels(pruned.network), strict=True):
        assert (kernel[before == 0] == 0).all()
        assert len(np.unique(kernel)) <= clusters
    assert said["sparsity_reached"][2] == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("clusters", [1, 0, -3])
def test_refuses_one_cluster(clusters: int) -> None:
    with pytest.raises(InputError, match="Expected clusters of 2 or more"):
        Cluster(clusters)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_refuses_thresholds_that_are_no_magnitude(value: float) -> None:
    with pytest.raises(InputError, match="A threshold is a magnitude"):
        Threshold(value)


def test_rounds_end_once_the_student_agrees(lesson: Lesson, student: Student) -> None:
    start = Student(student.network, student.scaling, student.states, student.preferences)
    _, said = Distil(Distillation(50), 500, 100, 3, 100, enough_agreement=0.01).apply(start, lesson)
    assert len(said["agreement_per_round"]) == 1
    assert said["states"] == len(lesson.teacher.observations) + 600  # nothing was learned from that round's states


def test_no_explored_states_are_none(lesson: Lesson, student: Student) -> None:
    learned, _ = Distil(Distillation(50), 300, 0, rounds=0).apply(student, lesson)
    assert len(learned.states) == len(lesson.teacher.observations) + 300


def test_a_visit_adds_what_the_student_meets_and_its_targets(student: Student, lesson: Lesson) -> None:
    never = student.with_weights([*student.network.get_weights()[:-1], np.array([1e3, 0], np.float32)])  # always to the left
    visited, said = Visit(400).apply(never, lesson)
    assert said["states"] == len(visited.states) == len(student.states) + 400
    np.testing.assert_array_equal(visited.states[:-400], student.states)
    assert visited.states[-400:, 1].mean() < student.states[:, 1].mean() - 0.1  # the cart's velocity
    np.testing.assert_allclose(visited.preferences[-400:], lesson.preferences(visited.states[-400:]))
    for array, kept in zip(visited.network.get_weights(), never.network.get_weights(), strict=True):
        np.testing.assert_array_equal(array, kept)


@pytest.mark.parametrize("count", [0, -5])
def test_refuses_a_visit_that_meets_nothing(count: int) -> None:
    with pytest.raises(InputError, match="Expected student_states of 1 or more"):
        Visit(count)


@pytest.mark.parametrize(("begin", "end"), [(0.0, 0.6), (0.8, 1.0), (0.98, 1.0), (0.0, 0.001)])
def test_any_schedule_ends_within_the_learning(student: Student, lesson: Lesson, begin: float, end: float) -> None:
    for steps in (50, 100, 150):
        _, said = Prune(0.5, "uniform", Distillation(steps), begin=begin, end=end).apply(student, lesson)
        assert said["sparsity_reached"] == pytest.approx([0.5] * 3, abs=0.02)


def test_a_restart_forgets_everything(student: Student, lesson: Lesson) -> None:
    fresh, _ = Restart().apply(student, lesson)
    assert [a.shape for a in fresh.network.get_weights()] == [a.shape for a in student.network.get_weights()]
    assert not fresh.network.get_weights()[-1].any()
    assert abs(np.corrcoef(fresh.network.get_weights()[2].ravel(), student.network.get_weights()[2].ravel())[0, 1]) < 0.3
