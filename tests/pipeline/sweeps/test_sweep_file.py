import datetime
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.compression.recipes import DEFAULT_RECIPES
from edgedqn.pipeline.config import Changes
from edgedqn.pipeline.sweeps.space import Choice, Range
from edgedqn.pipeline.sweeps.sweep_file import Sweep, changes_of, fingerprint, read_sweep

LEAST: dict[str, Any] = {"environments": ["CartPole-v1"], "trials": 4}


def test_a_file_says_all_of_an_experiment(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text(
        """
        environments = ["CartPole-v1"]
        seeds = [0, 1]
        trials = 12
        objectives = ["return", "macs"]

        [teacher]
        trials = 3
        settings = { steps = 2000, learning_rate = { low = 1e-4, high = 1e-2, log = true } }

        [[recipes]]
        recipe = "prune-qat-int8"
        settings = { "prune.sparsity" = { low = 0.5, high = 0.95 } }

        [[recipes]]
        recipe = "qat-int8"
        """
    )
    sweep = Sweep.from_json(read_sweep(tmp_path / "sweep.toml"))
    assert (sweep.environments, sweep.seeds, sweep.objectives) == (
        (EnvironmentSource("CartPole-v1"),),
        (0, 1),
        ("return", "macs"),
    )
    assert sweep.teacher.settings == {"steps": Choice((2000,)), "learning_rate": Range(1e-4, 1e-2, log=True)}
    assert [(each.recipe.name, dict(each.settings)) for each in sweep.recipes] == [
        ("prune-qat-int8", {"prune.sparsity": Range(0.5, 0.95)}),
        ("qat-int8", {}),
    ]


def test_what_it_does_not_say_is_the_default() -> None:
    sweep = Sweep.from_json(LEAST)
    assert [each.recipe.name for each in sweep.recipes] == list(DEFAULT_RECIPES)
    assert (sweep.seeds, sweep.objectives, sweep.sampler, sweep.teacher.trials) == ((0,), ("return", "bytes"), "nsga2", 1)


def test_a_board_is_a_limit_of_each_run() -> None:
    sweep = Sweep.from_json(LEAST | {"fit": "uno", "rate": 50, "tolerance": 0.05})
    changes = changes_of(sweep.changes)
    assert changes.fit == find_budget("uno", 50) and changes.tolerance == 0.05
    assert changes_of(Sweep.from_json(LEAST).changes) == Changes()


def test_a_grid_is_that_of_each_recipe() -> None:
    recipes = [
        {"recipe": "prune-qat-int8", "settings": {"prune.sparsity": {"choice": [0.5, 0.8]}}},
        {"recipe": "qat-int8"},
    ]
    sweep = Sweep.from_json({"environments": ["CartPole-v1"], "sampler": "grid", "recipes": recipes})
    assert sweep.grid() == [
        {"recipe": "prune-qat-int8", "prune-qat-int8/prune.sparsity": "0.5"},
        {"recipe": "prune-qat-int8", "prune-qat-int8/prune.sparsity": "0.8"},
        {"recipe": "qat-int8"},
    ]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"environments": []}, r"Expected environments = \[...\]"),
        ({"environments": ["NoSuch-v1"]}, "NoSuch"),
        ({"environments": [{"arguments": {}}]}, "as a table with an id"),
        ({"environments": [{"id": "CartPole-v1", "speed": 1}]}, "An environment has no such setting: .*Got speed"),
        ({"prove": "some"}, r"Expected prove to be front, all\. Got 'some'"),
        ({"environments": ["CartPole-v1", "CartPole-v1"]}, "each once"),
        ({"seeds": [-1]}, r"Expected seeds of 0 or more\. Got -1"),
        ({"objectives": ["speed"]}, r"Expected objectives of return, bytes, macs, arena, each once\. Got \['speed'\]"),
        ({"sampler": "best"}, r"Expected sampler to be grid, random, tpe, nsga2\. Got 'best'"),
        ({"trials": 0}, "Expected trials = N"),
        ({"trials": 2.5}, r"Expected trials as a whole number\. Got 2\.5"),
        ({"fit": 3}, r"Expected fit as a text\. Got 3"),
        ({"fit": "uno", "rate": "x"}, r"Expected rate as a whole number or a number\. Got 'x'"),
        ({"gate_episodes": 300.5}, r"Expected gate_episodes as a whole number\. Got 300\.5"),
        ({"tolerance": [1]}, "Expected tolerance as a whole number or a number"),
        ({"teacher": {"trials": "a", "sampler": "grid"}}, "Expected trials of the teacher as a whole number"),
        ({"teacher": {"give_up": "x"}}, r"Expected give_up of the teacher as true or false\. Got 'x'"),
        (
            {"teacher": {"settings": {"steps": datetime.date(2026, 1, 1)}}},
            "A sweep is made of numbers, texts, lists and tables",
        ),
        ({"seed": 10**29}, "Expected seeds below 2,147,483,648"),
        ({"export": {"strip": "x"}}, "Expected strip of export to be true or false"),
        ({"fit": "no such board"}, "No such board: expected uno"),
        ({"rate": 100}, "A rate is that of a board"),
        ({"latency": 1}, r"Expected latency as true or false\. Got 1"),
        ({"batch": 0}, "Expected a whole batch of 1 or more"),
        ({"minutes": -1}, "Expected minutes of 0 or more"),
        ({"workers": 2}, r"A sweep has no such setting: expected environments, .*Got workers"),
        ({"recipes": "qat-int8"}, r"Expected recipes as \[\[recipes\]\]"),
        ({"recipes": [{"settings": {}}]}, "Expected recipe = NAME"),
        ({"recipes": [{"recipe": "no-such"}]}, "Unknown recipe 'no-such'"),
        ({"recipes": [{"recipe": "qat-int8"}, {"recipe": "qat-int8"}]}, "Expected recipes, each once"),
        ({"recipes": [{"recipe": "ptq-int8", "settings": {"a.b": 1}}]}, "ptq-int8 has no stages: expected no settings"),
        ({"recipes": [{"recipe": "prune-qat-int8", "settings": {"prune.sparsity": {"low": 0.5, "high": 2}}}]}, "A sparsity"),
        ({"teacher": {"settings": {"speed": 3}}}, "Got speed"),
        ({"export": {"strip": True, "colour": 1}}, "export has no such setting: .*Got colour"),
        ({"export": {"manifest": "inside"}}, "Expected a manifest 'embedded' or 'beside'"),
        ({"tolerance": 2}, "tolerance"),
        ({"gate_episodes": 10}, "100"),
        ({"teacher": {"trials": 0}}, "Expected trials of 1 or more of the teacher"),
        ({"teacher": {"sampler": "x"}}, "Expected sampler of the teacher to be grid"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_done(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Sweep.from_json(LEAST | change)


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "sweep.toml").write_text("environments = [")
    for name in ("sweep.toml", "missing.toml"):
        with pytest.raises(InputError, match=rf"{name} is no sweep: "):
            read_sweep(tmp_path / name)


def test_a_fingerprint_is_of_the_content_whatever_its_order() -> None:
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1}) != fingerprint({"a": 1, "b": [3]})
