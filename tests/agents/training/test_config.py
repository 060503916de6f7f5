"""Settings that make sense, and the sentence for those that do not."""

import json
from dataclasses import FrozenInstanceError, asdict, fields
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig, config_from_json, with_settings
from edgedqn.agents.training.presets import PRESETS, find_preset

COUNT, NATURAL = (1, None), (0, None)  # whole numbers: the least, the most
FRACTION, SHARE = (0.0, 1.0), (1e-300, 1.0)  # with and without 0
POSITIVE = (1e-300, 1e300)
YES_OR_NO, TEXT = "a bool", "a text"

RANGES: dict[Any, dict[str, Any]] = {
    TrainingConfig: {
        **dict.fromkeys(("steps", "frame_stack", "n_step", "batch_size", "buffer_size", "train_freq", "gradient_steps"), COUNT),
        **dict.fromkeys(
            ("target_update_interval", "num_envs", "evaluation_interval", "evaluation_episodes", "finalists"), COUNT
        ),
        **dict.fromkeys(("keep_checkpoints", "exploration_duration"), COUNT),
        **dict.fromkeys(("quantiles", "learning_starts", "averaging_steps", "checkpoint_interval"), NATURAL),
        **dict.fromkeys(("priority_exponent", "importance_exponent", "learning_rate_decay"), FRACTION),
        **dict.fromkeys(("discount", "exploration_final"), FRACTION),
        **dict.fromkeys(("adam_epsilon", "target_update_rate", "exploration_fraction"), SHARE),
        "learning_rate": (1e-300, 10.0),
        "max_gradient_norm": POSITIVE,
        **dict.fromkeys(("dueling", "double", "prioritized", "overlap"), YES_OR_NO),
        **dict.fromkeys(("network", "loss"), TEXT),
        "hidden": "widths",
    },
    QLearningConfig: {
        **dict.fromkeys(("steps", "evaluation_interval", "evaluation_episodes", "finalists", "keep_checkpoints"), COUNT),
        "checkpoint_interval": NATURAL,
        **dict.fromkeys(("discount", "exploration_final"), FRACTION),
        **dict.fromkeys(("learning_rate", "learning_rate_final", "exploration_fraction"), SHARE),
        "initial_value": (-1e30, 1e30),
    },
}
# So that a value is judged by its own range, not by how it goes with the others.
LENIENT: dict[Any, dict[str, Any]] = {
    TrainingConfig: {"learning_starts": 0, "train_freq": 1},
    QLearningConfig: {"learning_rate_final": 1e-300},
}


def outside(limits: Any) -> list[Any]:
    if limits == YES_OR_NO:
        return [0, 1, "yes", None]
    if limits == TEXT:
        return [0, None, ("mlp",), "nonsense"]
    if limits == "widths":
        return [0, 64, [64, 64], (64, 0), (64, -1), (64.0,), (True,), ("64",), None]
    least, most = limits
    wrong = ["1", None, True, (1,), [1], np.nan, np.inf, -np.inf]
    if isinstance(least, int):
        return [*wrong, least - 1, -(10**9), 1.0, 1.5]
    return [*wrong, 2 * most if most < 1e300 else np.inf, 0.0 if least > 0 else 2 * least if least else -1e-9]


def cases(of_range: Any) -> list[Any]:
    return [
        pytest.param(kind, name, value, id=f"{kind.__name__}-{name}-{value!r}")
        for kind, ranges in RANGES.items()
        for name, limits in ranges.items()
        for value in of_range(limits)
    ]


@pytest.mark.parametrize(("kind", "name", "value"), cases(outside))
def test_a_value_out_of_its_range_or_of_another_type_is_named_in_one_line(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"^Expected {name} .*Got ") as caught:
        kind(**{**LENIENT[kind], name: value})
    assert repr(value) in str(caught.value)
    assert "\n" not in str(caught.value)


def inside(limits: Any) -> Any:
    if limits == YES_OR_NO:
        return [True, False]
    if limits in (TEXT, "widths"):
        return []
    least, most = limits
    return [least, most] if most is not None else [max(least, 4), 10**9]


@pytest.mark.parametrize(("kind", "name", "value"), cases(inside))
def test_the_ends_of_a_range_belong_to_it(kind: Any, name: str, value: Any) -> None:
    settings = {**LENIENT[kind], name: value}
    if name in ("frame_stack", "n_step", "num_envs"):
        settings["buffer_size"] = 10**10
    if name == "learning_starts":
        settings["steps"] = 10**10
    if name == "train_freq":
        settings["steps"] = value
    if name == "learning_rate_final":
        settings["learning_rate"] = 1.0
    assert getattr(kind(**settings), name) == value


@pytest.mark.parametrize("kind", RANGES)
def test_every_setting_is_in_the_table_above_and_says_what_it_is(kind: Any) -> None:
    assert {setting.name for setting in fields(kind)} == set(RANGES[kind])
    assert all(setting.metadata["help"] for setting in fields(kind))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"learning_starts": 100_000}, r"^Nothing would be learned: .*learning_starts=100000 and steps=100000\.$"),
        ({"steps": 200, "train_freq": 256, "learning_starts": 0}, r"^Nothing would be learned: .*Got train_freq=256"),
        ({"steps": 111, "train_freq": 10, "learning_starts": 110}, r"^Nothing would be learned: "),
        ({"dueling": True, "hidden": ()}, r"splits the last hidden layer\. Expected at least one width\. Got hidden=\(\)\.$"),
        ({"quantiles": 5, "loss": "mse"}, r"expected loss='huber'\. Got loss='mse'\.$"),
        ({"buffer_size": 31, "num_envs": 8, "n_step": 3}, r"num_envs x \(n_step \+ frame_stack\) = 32 or more\. Got 31\.$"),
        ({"loss": "log"}, r"^Expected loss to be one of huber, mse\. Got loss='log'\.$"),
        (
            {"network": "cnn"},
            r"^Expected network to be one of auto, mlp, minatar, nips, nature, or module:function\. Got 'cnn'\.$",
        ),
    ],
)
def test_settings_that_do_not_go_together(settings: dict[str, Any], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        TrainingConfig(**settings)


def test_those_next_to_them_do() -> None:
    TrainingConfig(steps=120, train_freq=10, learning_starts=110)
    TrainingConfig(buffer_size=32, num_envs=8, n_step=3)
    TrainingConfig(hidden=())
    TrainingConfig(network="my_module:my_torso")
    with pytest.raises(InputError, match=r"Expected learning_rate_final of at most learning_rate\. Got 0\.5 and 0\.4\.$"):
        QLearningConfig(learning_rate=0.4, learning_rate_final=0.5)


def test_a_configuration_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        TrainingConfig().steps = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "config", [*PRESETS.values(), TrainingConfig(hidden=(), quantiles=3), QLearningConfig(initial_value=1)]
)
def test_a_configuration_round_trips_through_json(config: Any) -> None:
    again = config_from_json(json.loads(json.dumps(asdict(config), allow_nan=False)))
    assert again == config
    assert hash(again) == hash(config)  # tuples again, no lists


@pytest.mark.parametrize(
    ("network", "shape", "expected"),
    [
        ("auto", (4,), "mlp"),
        ("auto", (10, 10, 4), "minatar"),
        ("auto", (36, 35, 4), "minatar"),
        ("auto", (36, 36, 4), "nature"),
        ("minatar", (84, 84, 4), "minatar"),
        ("mlp", (4,), "mlp"),
        ("my_module:my_torso", (2, 2, 2), "my_module:my_torso"),
    ],
)
def test_the_network_for_an_observation(network: str, shape: tuple[int, ...], expected: str) -> None:
    assert TrainingConfig(network=network).network_for(shape) == expected


@pytest.mark.parametrize(
    ("network", "shape", "reason"),
    [
        ("auto", (2, 10, 1), r"The minatar network looks at images from 3x3\. Got observations of \(2, 10, 1\)\."),
        ("nature", (35, 84, 4), r"The nature network looks at images from 36x36\. Got observations of \(35, 84, 4\)\."),
        ("nature", (84, 84), r"The nature network looks at images from 36x36\. Got observations of \(84, 84\)\."),
        ("minatar", (10,), r"The minatar network looks at images from 3x3\. Got observations of \(10,\)\."),
    ],
)
def test_a_network_that_cannot_look_at_it(network: str, shape: tuple[int, ...], reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        TrainingConfig(network=network).network_for(shape)


def test_any_value_is_changed_by_its_name() -> None:
    config = with_settings(find_preset("CartPole-v1"), {"steps": 5_000, "hidden": (8,)}, env_id="CartPole-v1")
    assert isinstance(config, TrainingConfig)
    assert (config.steps, config.hidden, config.learning_rate) == (5_000, (8,), 2.3e-3)
    with pytest.raises(InputError, match=r"^Taxi-v4 is learned by q-learning\. Expected one of .*steps\. Got hidden\.$"):
        with_settings(find_preset("Taxi-v4"), {"hidden": (8,)}, env_id="Taxi-v4")
    with pytest.raises(InputError, match=r"^Expected steps of 1 or more\. Got steps=0\.$"):
        with_settings(config, {"steps": 0}, env_id="CartPole-v1")


@pytest.mark.parametrize(
    ("network", "shape", "flattens"),
    [
        ("auto", (4,), False),
        ("auto", (), False),
        ("auto", (3, 3), False),
        ("auto", (2, 9), True),
        ("auto", (9, 2, 3), True),
        ("auto", (5, 5, 5, 5), True),
        ("mlp", (10, 10, 4), True),
        ("minatar", (1, 4), False),
        ("module:function", (5, 5, 5, 5), False),
    ],
)
def test_what_no_cnn_can_look_at_is_made_a_vector(network: str, shape: tuple[int, ...], flattens: bool) -> None:
    assert TrainingConfig(network=network).flattens(shape) == flattens
