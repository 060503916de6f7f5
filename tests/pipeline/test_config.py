"""What a run is told."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.agents.training.presets import find_preset
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.compression.methods.pruning import Threshold
from edgedqn.compression.recipe import Recipe
from edgedqn.compression.recipes import RECIPES
from edgedqn.export.config import ExportConfig
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.config import Changes, ImportedAgent, RunSettings, resolved

MINE = Recipe("mine", "of my own", (Threshold(0.03),), "float32")


def test_round_trips_through_json() -> None:
    config = RunSettings(
        training=find_preset("CartPole-v1"),
        recipes=resolved(["prune-qat-int8", MINE]),
        export=ExportConfig(strip=True, manifest="beside"),
        fit=find_budget("uno", 100.0),
    )
    assert RunSettings.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.to_json()["recipes"][0] == "prune-qat-int8"


def test_who_collects_is_written_where_it_is_not_this_process() -> None:
    alone = RunSettings(training=TrainingConfig())
    assert "collection" not in alone.to_json()
    asked = CollectionConfig(actors=3, policy="float", address="127.0.0.1:1")
    by_actors = Changes(collection=asked).apply(alone)
    assert by_actors.collection == asked  # with the address, which is not written
    assert RunSettings.from_json(json.loads(json.dumps(by_actors.to_json()))) == replace(alone, collection=asked.written)
    assert Changes().apply(by_actors) == by_actors


@pytest.mark.parametrize("export", [{"float_io": True}, {"output": "action"}])
def test_no_file_that_has_no_firmware_is_put_to_a_limit(export: dict[str, Any]) -> None:
    settings, uno = RunSettings(training=TrainingConfig()), find_budget("uno", 100.0)
    with pytest.raises(InputError, match=r"expected int8 ends, and .* Got .* beside a limit, --fit uno --rate 100\."):
        Changes(export=export, fit=uno).apply(settings)
    with pytest.raises(InputError, match="beside a limit"):
        Changes(export=export).apply(replace(settings, fit=uno))
    assert Changes(export={"strip": True}, fit=uno).apply(settings).fit == uno
    old = replace(settings, fit=uno, export=replace(settings.export, **export))
    assert Changes().apply(old) == old  # an earlier version made it


def test_an_earlier_version_wrote_files_with_names_and_manifests() -> None:
    older = {key: value for key, value in RunSettings(training=TrainingConfig()).to_json().items() if key != "export"}
    assert RunSettings.updated(older)["export"] == asdict(ExportConfig())


@pytest.mark.parametrize("training", [TrainingConfig(), QLearningConfig(), ImportedAgent("mine.keras", "0" * 64, "keras")])
def test_an_earlier_version_wrote_no_algorithm(training: TrainingConfig | QLearningConfig | ImportedAgent) -> None:
    settings = RunSettings(training=training)
    value = json.loads(json.dumps(settings.to_json()))
    assert value["training"].pop("algorithm") in ("dqn", "q-learning", "imported")
    assert RunSettings.from_json(value) == settings


def test_the_naive_conversion_is_always_shown_and_only_once() -> None:
    for asked in (["qat-int8"], ["qat-int8", "ptq-int8"]):
        shown = RunSettings(training=TrainingConfig(), recipes=resolved(asked)).all_recipes
        assert [recipe.name for recipe in shown] == ["ptq-int8", "qat-int8"]


def test_unknown_and_repeated_recipes_are_refused() -> None:
    with pytest.raises(InputError, match=r"Unknown recipe 'int4'\..* Expected a file NAME\.toml, or one"):
        resolved(["int4"])
    with pytest.raises(InputError, match="each recipe once"):
        RunSettings(training=TrainingConfig(), recipes=resolved(["qat-int8", RECIPES["qat-int8"]]))
    with pytest.raises(InputError, match="comes with EdgeDQN"):
        resolved([Recipe("qat-int8", "", (), "float32")])


def test_a_run_of_another_version_is_refused_in_one_line() -> None:
    whole = RunSettings(training=TrainingConfig()).to_json()
    for damaged in (
        {**whole, "training": {**whole["training"], "novelty": 1}},
        {k: v for k, v in whole.items() if k != "gate"},
    ):
        with pytest.raises(InputError, match="Another version of EdgeDQN made this run"):
            RunSettings.from_json(damaged)
