"""What a side trains with, and what counts as its steady state, on synthetic clocks."""

import json
from dataclasses import replace

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.peers.training_sides import ZOO, Mark, Settings, steady_state


def test_settings_are_the_zoos_and_round_trip_through_json() -> None:
    settings = Settings("CartPole-v1", replace(ZOO["CartPole-v1"], hidden=(64, 64)), threads=2, seed=3)
    text = json.dumps(settings.to_json())
    assert Settings.from_json(json.loads(text)) == settings
    assert "evaluation_interval" not in text
    config = Settings().config
    assert (config.learning_rate, config.batch_size, config.buffer_size, config.learning_starts) == (2.3e-3, 64, 100_000, 1_000)
    assert (config.discount, config.target_update_interval, config.train_freq, config.gradient_steps) == (0.99, 10, 256, 128)
    assert (config.exploration_fraction, config.exploration_final, config.max_gradient_norm) == (0.16, 0.04, 10.0)
    assert config.hidden == (256, 256)
    assert not config.double


def test_the_steady_state_begins_after_exploration_or_after_learning_starts() -> None:
    assert Settings(config=replace(ZOO["CartPole-v1"], steps=20_000)).settled_at == 3_200
    assert Settings(config=replace(ZOO["CartPole-v1"], steps=5_000)).settled_at == 1_001
    with pytest.raises(InputError, match=r"begins after 1001 steps.*Got steps=1500"):
        Settings(config=replace(ZOO["CartPole-v1"], steps=1_500))


def test_steady_state_counts_whole_windows_and_no_compilation() -> None:
    """Windows of 100 steps: 0.5 s to collect, then 2 s to learn; the first time of learning takes 7 s more."""
    config = replace(
        ZOO["CartPole-v1"], steps=1_000, train_freq=100, gradient_steps=10, learning_starts=300, exploration_fraction=0.62
    )
    marks, now = [], 50.0
    for env_steps in range(100, 1_001, 100):
        collected = now + 0.5
        # The slow spell at 600 lies before the first steady window, which begins at 700, the first mark after 620.
        learning = {400: 9.0, 600: 30.0, 900: 2.4}.get(env_steps, 2.0) if env_steps > 300 else 0.0
        now = collected + learning
        marks.append(Mark(env_steps, collected, now, cpu_s=now / 4))
    found = steady_state(marks, Settings(config=config))
    assert found.windows == 3  # 700-800, 800-900, 900-1000
    assert found.steps_per_s == pytest.approx(300 / (3 * 0.5 + 2.0 + 2.4 + 2.0))
    assert found.gradient_step_us == pytest.approx(2.0 / 10 * 1e6)  # the median, which the 2.4 s do not move
    assert found.compile_s == pytest.approx(7.0)
    assert found.cpu_share == pytest.approx(0.25)


def test_the_window_of_the_first_learning_is_not_counted_when_exploration_ended_before_it() -> None:
    config = replace(
        ZOO["CartPole-v1"], steps=500, train_freq=100, gradient_steps=10, learning_starts=200, exploration_fraction=0.1
    )
    marks = [Mark(100, 1, 1, 0), Mark(200, 2, 2, 0), Mark(300, 3, 13, 0), Mark(400, 14, 15, 0), Mark(500, 16, 17, 0)]
    found = steady_state(marks, Settings(config=config))
    assert (found.windows, found.steps_per_s, found.compile_s) == (2, 200 / 4, 9)
