import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgedqn.agents.errors import InputError
from edgedqn.compression.methods.clustering import Cluster
from edgedqn.compression.methods.distillation import Distil, Distillation, Visit
from edgedqn.compression.methods.initialization import NewStudent, Restart, ScaleInput
from edgedqn.compression.methods.ladder import Quantize
from edgedqn.compression.methods.pruning import Prune, Threshold
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.methods.search import Search
from edgedqn.compression.methods.shrinking import Shrink
from edgedqn.compression.preferences import Targets
from edgedqn.compression.recipe import STAGES, Recipe
from edgedqn.compression.recipes import FLOAT32, RECIPES
from edgedqn.compression.stage import Stage


@pytest.mark.parametrize(
    ("stages", "conversion", "words"),
    [
        ((), "qat-int8", r"need each other: the converter reads.*Got stages=\[\] and conversion='qat-int8'"),
        ((ScaleInput(), Distil()), "qat-int8", r"Got stages=\['scale_input', 'distil'\]"),
        ((QuantizeAware(),), "float32", r"need each other.*conversion='float32'"),
        ((QuantizeAware(),), "ptq-int8", r"need each other.*conversion='ptq-int8'"),
        ((QuantizeAware(), Prune(0.5)), "qat-int8", r"must come last: what follows it would move the rounded weights"),
        ((Search(), QuantizeAware()), "qat-int8", r"must come last"),
        ((), "int4", r"Expected a conversion of float32, .*int16x8\. Got 'int4'"),
        ((Distil(), Prune(0.5, learning=TdLearning())), "float32", r"goes on from Q-values, which distillation replaces"),
        ((Prune(0.5), NewStudent(), Distil()), "float32", r"new_student makes a new network: expected no prune before"),
        ((Cluster(), Prune(0.5)), "float32", r"Pruning moves weights out of their clusters"),
        ((Threshold(), Distil()), "float32", r"Distillation moves all weights, zeros too"),
        ((Distil(), ScaleInput()), "float32", r"Expected it first"),
        ((Restart(),), "float32", r"Expected a stage that learns after restart"),
        ((Distil(), Restart()), "float32", r"forgets what was learned before it"),
        ((NewStudent(), Distil(), Restart(), Prune(0.5)), "float32", r"forgets what was learned before it"),
        ((Prune(0.5), Prune(0.6)), "float32", r"A second pruning lets weights of the first come back"),
        ((Threshold(), Prune(0.6)), "float32", r"A second pruning"),
        ((ScaleInput(), Shrink()), "qat-int8", r"Expected distil or stream before it"),
        ((NewStudent(),), "float32", r"Expected distil or stream after new_student"),
        ((Visit(), Distil()), "float32", r"distil gathers all states anew\. Expected no visit before it"),
        ((ScaleInput(), Visit(), Search()), "qat-int8", r"search gathers all states anew"),
        ((Distil(), Visit()), "float32", r"Expected a distillation after it"),
        ((Visit(), Prune(0.5, learning=TdLearning())), "float32", r"Expected a distillation after it"),
        ((Distil(), Prune(0.5), Cluster(2)), "float32", r"one cluster of three or more\. Got clusters=2"),
    ],
)
def test_refuses_stages_that_do_not_go_together(stages: Any, conversion: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe("bad", "", stages, conversion)


@pytest.mark.parametrize(
    "stage",
    [
        Distil(learning=Distillation(steps=2.5)),  # type: ignore[arg-type]
        Distil(learning=Distillation(steps=100, learning_rate=float("inf"))),
        Distil(learning=Distillation(steps=100, temperature=float("inf"))),
        Distil(targets=Targets(width=float("inf"))),
        Search(minutes=float("nan")),
        Prune(0.5, structure=(1, 2.5)),  # type: ignore[arg-type]
        Shrink(precision=float("inf")),
    ],
)
def test_a_script_can_say_no_more_than_a_file(stage: Any) -> None:
    rounded = stage.rounds_to_int8
    stages = (Distil(), stage) if isinstance(stage, Shrink) else (stage,)
    with pytest.raises(InputError, match=r"Expected (a whole number|a number|.*list of 2 whole numbers).* Got"):
        Recipe("bad", "", stages, "qat-int8" if rounded else "float32")


@pytest.mark.parametrize("name", ["", "../up", "a/b", "Upper", ".hidden", "x" * 65, "white space"])
def test_a_name_is_one_of_a_file(name: str) -> None:
    with pytest.raises(InputError, match="becomes a file's"):
        Recipe(name, "", (), "float32")


@pytest.mark.parametrize("recipe", [FLOAT32, *RECIPES.values()], ids=lambda recipe: recipe.name)
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


@given(
    sparsity=st.floats(0.01, 0.99),
    allocation=st.one_of(st.sampled_from(["erk", "uniform"]), st.tuples(st.floats(0, 0.9), st.floats(0, 0.9))),
    structure=st.one_of(st.just("unstructured"), st.tuples(st.integers(1, 4), st.integers(1, 16))),
    learning=st.one_of(
        st.builds(Distillation, steps=st.integers(1, 9_999), loss=st.sampled_from(["kl", "square", "cross_entropy"])),
        st.builds(TdLearning, steps=st.integers(1, 9_999), discount=st.floats(0, 1)),
    ),
    begin=st.floats(0, 0.4),
)
def test_any_pruning_survives_json(sparsity: float, allocation: Any, structure: Any, learning: Any, begin: float) -> None:
    recipe = Recipe(
        "x",
        "of my own",
        (Prune(sparsity, allocation=allocation, learning=learning, structure=structure, schedule="constant", begin=begin),),
        "float32",
    )
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_reads_toml_and_keeps_what_it_does_not_name(tmp_path: Path) -> None:
    path = tmp_path / "my-recipe.toml"
    path.write_text(
        """
        summary = "of my own"
        conversion = "qat-int8"

        [[stages]]
        stage = "scale_input"

        [[stages]]
        stage = "distil"
        rounds = 1
        learning = { steps = 700, loss = "kl" }
        targets = { kind = "advantages" }

        [[stages]]
        stage = "prune"
        sparsity = 0.9
        allocation = [0.5, 0.9, 0.0]
        structure = [1, 16]

        [[stages]]
        stage = "quantize_aware"
        """
    )
    distil = Distil(
        learning=Distillation(steps=700, final_learning_rate=1e-4, loss="kl"), rounds=1, targets=Targets("advantages")
    )
    stages = (ScaleInput(), distil, Prune(0.9, allocation=(0.5, 0.9, 0.0), structure=(1, 16)), QuantizeAware())
    assert Recipe.read(path) == Recipe("my-recipe", "of my own", stages, "qat-int8")


def test_a_float_output_cannot_learn_by_playing() -> None:
    with pytest.raises(InputError, match=r"rounds the output too\. Expected the conversion qat-int8"):
        Recipe("mine", "", (ScaleInput(), QuantizeAware(TdLearning())), "qat-int8-float-output")


def test_reads_how_often_the_gate_is_asked_and_what_a_visit_gathers() -> None:
    value = {
        "name": "mine",
        "conversion": "qat-int8",
        "stages": [
            "scale_input",
            "distil",
            {"stage": "visit", "student_states": 300},
            {"stage": "quantize", "rungs": ["distil"], "attempts": 2},
        ],
    }
    judged = Quantize(("distil",), attempts=2)
    recipe = Recipe("mine", "", (ScaleInput(), Distil(), Visit(300), judged), "qat-int8")
    assert Recipe.from_json(value) == recipe
    assert Recipe.from_json(json.loads(json.dumps(recipe.to_json()))) == recipe


def test_fine_tuning_by_temporal_differences_is_a_word() -> None:
    value = {
        "name": "td",
        "conversion": "qat-int8",
        "stages": [
            "scale_input",
            {"stage": "restart"},
            {"stage": "prune", "sparsity": 0.8, "learning": {"fine_tune": "td", "steps": 30_000}},
            {"stage": "quantize_aware", "learning": {"fine_tune": "td"}},
        ],
    }
    prune = Prune(0.8, learning=TdLearning(steps=30_000))
    expected = Recipe("td", "", (ScaleInput(), Restart(), prune, QuantizeAware(TdLearning())), "qat-int8")
    assert Recipe.from_json(value) == expected


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ([], r"A recipe is a table of settings\. Got \[\]"),
        ({"conversion": "float32"}, r"A recipe lacks a setting: expected name, conversion, .*Got no name"),
        ({"name": "x", "conversion": "float32", "colour": 3}, r"A recipe: unknown setting 'colour'\. Expected one of "),
        ({"name": "x", "conversion": "float32", "stages": "distil"}, r"in a list\. Got 'distil'"),
        (
            {"name": "x", "conversion": "float32", "stages": ["melt"]},
            r"stage 1: expected a stage of .*scale_input, .*Got 'melt'",
        ),
        ({"name": "x", "conversion": "float32", "stages": [7]}, r"expected a stage of .*Got 7"),
        ({"name": "x", "conversion": "float32", "stages": [{"stage": "prune"}]}, r"prune lacks a setting.*Got no sparsity"),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "cluster", "k": 3}]},
            r"^stage 1 \(cluster\): unknown setting 'k'",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "cluster", "clusters": 2.5}]},
            r"Expected a whole number for clusters of cluster\. Got 2\.5",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "threshold", "value": "big"}]},
            r"Expected a number for value of threshold\. Got 'big'",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "prune", "sparsity": "half"}]},
            r"Expected a number for sparsity of prune\. Got 'half'",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "distil", "learning": {"steps": 5, "speed": 2}}]},
            r"^stage 1 \(distil\): Distillation: unknown setting 'speed'\. Expected one of ",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "distil", "targets": {"fine_tune": "td"}}]},
            r"Expected a fine_tune of none.* for targets of distil\. Got 'td'",
        ),
        (
            {"name": "x", "conversion": "qat-int8", "stages": [{"stage": "quantize", "quantizing": {"fine_tune": "td"}}]},
            r"fine_tune of none: only prune, cluster, quantize_aware .* for quantizing of quantize\. Got 'td'",
        ),
        (
            {"name": "x", "conversion": "float32", "stages": [{"stage": "prune", "sparsity": 1.0}]},
            r"Expected it in \(0, 1\)\. Got 1\.0",
        ),
    ],
)
def test_refuses_what_makes_no_recipe(value: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe.from_json(value)


@pytest.mark.parametrize(
    ("stage", "words"),
    [
        ({"stage": "distil", "learning": {"fine_tune": "td"}}, r"Expected a fine_tune of none.* learning of distil"),
        ({"stage": "cluster", "learning": {"fine_tune": "TD"}}, r"Expected a fine_tune of 'td' for .*Got 'TD'"),
        ({"stage": "cluster", "learning": "td"}, r"Expected a table of settings for learning of cluster\. Got 'td'"),
        ({"stage": "distil", "targets": "one_hot"}, r"Expected a table of settings for targets of distil"),
        ({"stage": "cluster", "clusters": True}, r"Expected a whole number for clusters of cluster\. Got True"),
        ({"stage": "cluster", "clusters": float("inf")}, r"Expected a whole number for clusters of cluster\. Got inf"),
        ({"stage": "distil", "learning": {"steps": 1.5}}, r"Expected a whole number for steps of Distillation\. Got 1\.5"),
        ({"stage": "search", "minutes": float("nan")}, r"Expected a number for minutes of search\. Got nan"),
        ({"stage": "shrink", "remove_layers": "no"}, r"Expected true or false for remove_layers of shrink\. Got 'no'"),
        ({"stage": "prune", "sparsity": 0.5, "structure": [1, 2.5]}, r"'2:4' or a list of 2 whole numbers for structure"),
        ({"stage": "prune", "sparsity": 0.5, "structure": [1, 2, 3]}, r"a list of 2 whole numbers for structure"),
        ({"stage": "prune", "sparsity": 0.5, "allocation": ["a"]}, r"'uniform' or a list of numbers for allocation"),
        ({"stage": "new_student", "hidden": 16}, r"Expected a list of whole numbers for hidden of new_student\. Got 16"),
    ],
)
def test_refuses_settings_of_another_type(stage: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe.from_json({"name": "x", "conversion": "float32", "stages": [stage]})
    with pytest.raises(InputError, match="Expected true or false for the control of a recipe"):
        Recipe.from_json({"name": "x", "conversion": "float32", "control": "false"})


def test_whole_numbers_may_be_written_as_floats_and_become_whole() -> None:
    stage = {"stage": "cluster", "clusters": 16.0, "learning": {"steps": 1e4}}
    (_, cluster) = Recipe.from_json({"name": "x", "conversion": "float32", "stages": ["distil", stage]}).stages
    assert isinstance(cluster, Cluster)
    assert [type(number) for number in (cluster.clusters, cluster.learning.steps)] == [int, int]


def test_a_table_within_a_table_changes_what_it_names_alone() -> None:
    value = {
        "name": "x",
        "conversion": "qat-int8",
        "stages": ["scale_input", "distil", {"stage": "shrink", "teaching": {"learning": {"steps": 100}}}],
    }
    shrink = Recipe.from_json(value).stages[-1]
    default = Shrink()
    teaching = replace(default.teaching, learning=replace(default.teaching.learning, steps=100))
    assert shrink == replace(default, teaching=teaching)


def test_those_that_ask_the_gate_say_so() -> None:
    assert [name for name, recipe in RECIPES.items() if recipe.asks_gate] == [
        *("qat-int8", "prune-td-int8", "prune-qat-int8", "prune98-qat-int8", "shrink-qat-int8", "auto-int8", "qat-float-output")
    ]


def test_refuses_files_that_are_no_toml(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("conversion = ")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("bad.toml", "bytes.toml", "missing.toml"):
        with pytest.raises(InputError, match=f"{name} is no recipe"):
            Recipe.read(tmp_path / name)


def test_a_typo_in_a_file_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    for stages, said in (
        (
            '["scale_input", {stage = "prune", sparsty = 0.5}]',
            "stage 2 (prune): unknown setting 'sparsty'. Expected one of sparsity, ",
        ),
        ('["scale_inptu"]', "stage 1: expected a stage of scale_input, "),
    ):
        path.write_text(f'conversion = "float32"\nstages = {stages}\n')
        with pytest.raises(InputError, match=f"^{re.escape(f'{path}, {said}')}"):
            Recipe.read(path)


def test_every_stage_has_a_name_of_its_own_and_says_whether_it_rounds() -> None:
    rounding = {name for name, stage in STAGES.items() if stage.rounds_to_int8}
    assert rounding == {"quantize", "quantize_aware", "shrink", "search"}
    assert all(stage.name == name for name, stage in STAGES.items())


@pytest.mark.parametrize(
    ("stages", "words"),
    [
        ((Quantize(),), "quantize rounds a scaled input. Expected scale_input before"),
        ((Search(),), "search rounds a scaled input. Expected scale_input before"),
        ((ScaleInput(), Cluster(8), Quantize()), "moves each weight by itself. Expected quantize_aware"),
        ((QuantizeAware(TdLearning()),), "Reinforcement learning rounds a scaled input. Expected scale_input before"),
        (
            (ScaleInput(), Cluster(8, learning=TdLearning()), QuantizeAware(TdLearning())),
            "rounds each weight by itself. Expected no cluster before",
        ),
    ],
)
def test_rounding_itself_stands_on_a_scaled_input_and_keeps_no_clusters(stages: tuple[Stage, ...], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Recipe("mine", "", stages, "qat-int8")


@pytest.mark.parametrize(
    ("stages", "conversion", "said"),
    [
        (("scale_input", {"stage": "threshold"}, "quantize"), "qat-int8", "distil moves all weights, zeros too"),
        (("scale_input", "round_weights", {"stage": "prune", "sparsity": 0.5}), "int16x8", "Expected it last"),
        (("cluster", "round_weights"), "int16x8", "moves weights out of clusters"),
    ],
)
def test_refuses_what_would_undo_an_earlier_stage(stages: tuple[Any, ...], conversion: str, said: str) -> None:
    named = [{"stage": "cluster", "clusters": 16} if each == "cluster" else each for each in stages]
    with pytest.raises(InputError, match=said):
        Recipe.from_json({"name": "mine", "conversion": conversion, "stages": named})


def test_a_setting_that_came_later_stands_in_json_where_it_is_not_the_default() -> None:
    usual, longer = (
        Recipe("mine", "", (Restart(), Prune(0.5, learning=TdLearning(from_scratch=True, trainings=many))), "float32")
        for many in (1.0, 2.0)
    )
    assert "trainings" not in usual.to_json()["stages"][1]["learning"]
    assert longer.to_json()["stages"][1]["learning"]["trainings"] == 2.0
    assert [Recipe.from_json(each.to_json()) for each in (usual, longer)] == [usual, longer]
