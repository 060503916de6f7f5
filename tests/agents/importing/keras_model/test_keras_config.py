"""A model's description is translated, or refused with the layer's name; nothing it names is looked up."""

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from edgedqn.agents.architecture import describe, rebuild
from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.keras_model.keras_config import LARGEST_DEPTH, translate

layers = tf_keras.layers


def functional() -> tf_keras.Model:
    x = image = tf_keras.Input((10, 9, 2), name="image")
    x = layers.Rescaling(1 / 255, offset=-0.5, name="scaled")(x)
    x = layers.Conv2D(3, (3, 2), (2, 1), name="conv")(x)
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(4, 3, padding="same", use_bias=False, activation="relu", name="conv_same")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(5, name="hidden")(x)
    x = layers.Activation("relu", name="active")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    return tf_keras.Model(image, layers.Dense(2, name="q")(x))


def sequential() -> tf_keras.Model:
    return tf_keras.Sequential([layers.Dense(3, "relu", input_shape=(4,), name="hidden"), layers.Dense(2, name="q")])


def written(model: tf_keras.Model) -> Any:
    return json.loads(model.to_json())


def entry(model: tf_keras.Model, name: str) -> Any:
    return next(e for e in model["config"]["layers"] if e["config"]["name"] == name)


def descriptions(model: tf_keras.Model) -> list[Any]:
    return [layer.description for layer in translate(model)]


def test_a_functional_model_is_translated_whole() -> None:
    model = functional()
    assert descriptions(written(model)) == describe(model)
    stored = [(layer.description["name"], layer.stored_as) for layer in translate(written(model)) if layer.stored_as]
    assert stored == [("conv", "conv2d"), ("conv_same", "conv2d_1"), ("hidden", "dense"), ("q", "dense_1")]


def test_so_is_a_sequential_one() -> None:
    model = sequential()
    rebuilt = rebuild(descriptions(written(model)))
    assert [w.shape for w in rebuilt.weights] == [w.shape for w in model.weights]
    assert [layer["layer"] for layer in descriptions(written(model))] == ["InputLayer", "Dense", "Dense"]


def test_old_keras_writes_the_input_in_the_first_layer() -> None:
    model = written(sequential())
    with_input = descriptions(model)
    del model["config"]["layers"][0]
    assert descriptions(model)[0]["shape"] == with_input[0]["shape"] == [4]


@pytest.mark.parametrize("shape", [(-1,), (90,)])
def test_a_reshape_to_a_vector_is_a_flatten(shape: tuple[int, ...]) -> None:
    model = tf_keras.Sequential([tf_keras.Input((10, 9)), layers.Reshape(shape, name="r"), layers.Dense(2)])
    flatten = descriptions(written(model))[1]
    assert (flatten["layer"], flatten["name"]) == ("Flatten", "r")


def test_the_order_in_the_file_does_not_matter() -> None:
    model = written(functional())
    model["config"]["layers"].reverse()
    assert descriptions(model) == describe(functional())


FOREIGN = [
    tf_keras.layers.PReLU(name="odd"),
    tf_keras.layers.Softmax(name="odd"),
    tf_keras.Sequential([tf_keras.layers.Dense(3)], name="odd"),
]


@pytest.mark.parametrize("layer", FOREIGN, ids=lambda layer: type(layer).__name__)
def test_another_layer_is_refused_by_name(layer: Any) -> None:
    model = written(tf_keras.Sequential([tf_keras.Input((4,)), layer, layers.Dense(2)]))
    with pytest.raises(InputError, match=rf"^layer 'odd' is a '{type(layer).__name__}' .*: expected Keras' own InputLayer, "):
        translate(model)


def branched() -> tf_keras.Model:
    x = observation = tf_keras.Input((4,), name="observation")
    x = layers.Dense(4, "tanh", name="hidden")(layers.GaussianNoise(0.1, name="noise")(x))
    x = layers.Add(name="sum")([x, observation])
    x = layers.LayerNormalization(name="norm", center=False)(x)
    return tf_keras.Model(observation, layers.Dense(2, name="q")(x))


def test_pictures_with_their_channels_first_come_channels_last() -> None:
    """As keras-rl takes them: the environment's are turned already."""
    x = tf_keras.Input((4, 36, 36), name="observation")
    q_values = layers.Dense(2)(layers.Flatten()(layers.Conv2D(3, 8, 4)(layers.Permute((2, 3, 1))(x))))
    model = tf_keras.Model(x, q_values)
    found = translate(written(model))
    assert [layer.description["layer"] for layer in found] == ["InputLayer", "Conv2D", "Flatten", "Dense"]
    weights = {
        name: model.get_layer(name).get_weights() for name in (each.description["name"] for each in found if each.weights)
    }
    observations = np.random.default_rng(0).normal(size=(5, 4, 36, 36)).astype(np.float32)
    network = build([layer.description for layer in found], weights)
    np.testing.assert_allclose(network(np.moveaxis(observations, 1, -1)), model(observations), rtol=1e-4, atol=1e-5)
    odd = tf_keras.Model(
        small := tf_keras.Input((5, 4, 3)), layers.Dense(2)(layers.Flatten()(layers.Permute((2, 3, 1))(small)))
    )
    assert translate(written(odd))[1].description["layer"] == "Permute"


def test_what_is_computed_of_integers_is_refused() -> None:
    """200 * 2 of bytes is 144 in Keras; a division and a Rescaling make them floats first."""
    x = tf_keras.Input((4,), dtype="uint8")
    flat = layers.Flatten(name="flat")(x)
    for refused in (flat * 2, 1 - flat, layers.Add()([flat, flat])):
        model = tf_keras.Model(x, layers.Dense(2)(tf.cast(refused, "float32")))
        with pytest.raises(InputError, match=r"cannot be translated: expected a cast to float32 before it"):
            translate(written(model))
    for fine in (flat / 255 * 2, tf.cast(flat, "float32") * 2, layers.Rescaling(2.0)(flat) * 2, layers.Dense(2)(flat) * 2):
        assert translate(written(tf_keras.Model(x, layers.Dense(2)(fine))))


def test_a_number_beyond_all_is_refused() -> None:
    x = tf_keras.Input((4,))
    text = tf_keras.Model(x, layers.Dense(2)(x) * 3.0).to_json()
    assert text.count("3.0") == 1
    with pytest.raises(InputError, match="its configuration is none that Keras writes: OverflowError"):
        translate(json.loads(text.replace("3.0", f"1{'0' * 400}")))


def test_branches_are_written_in_an_order_that_can_be_computed() -> None:
    model = written(branched())
    model["config"]["layers"].reverse()
    found = translate(model)
    wired = [(layer.description["name"], layer.description.get("inputs")) for layer in found]
    assert wired == [
        ("observation", None),
        ("noise", ["observation"]),
        ("hidden", ["noise"]),
        ("hidden/tanh", ["hidden"]),
        ("sum", ["hidden/tanh", "observation"]),
        ("norm", ["sum"]),
        ("q", ["norm"]),
    ]
    own = {layer.description["name"]: layer for layer in found if layer.weights}
    assert [(each.weights, each.stored_as) for each in own.values()] == [
        (("kernel", "bias"), "dense_1"),
        (("gamma",), "layer_normalization"),
        (("kernel", "bias"), "dense"),
    ]
    assert own["q"].place < own["norm"].place < own["hidden"].place


def test_weights_that_a_normalization_does_not_have_are_ones_and_zeros() -> None:
    norm = next(layer for layer in translate(written(branched())) if layer.description["name"] == "norm")
    gamma, beta = norm.all_weights([np.full(4, 3, np.float32)])
    assert gamma.tolist() == [3, 3, 3, 3] and beta.tolist() == [0, 0, 0, 0]
    with pytest.raises(InputError, match=r"layer 'norm' has weights \[\]: expected gamma"):
        norm.all_weights([])


AXES: list[tuple[Any, Any]] = [((10, 9, 2), 1), ((10, 9, 2), [1, 2, 3]), ((10, 9, 2), 0), ((4,), -2), ((9, 2), -1)]


@pytest.mark.parametrize(("shape", "axis"), AXES)
@pytest.mark.parametrize("kind", ["BatchNormalization", "LayerNormalization"])
def test_a_normalization_over_another_axis_is_refused(kind: str, shape: Any, axis: Any) -> None:
    model = written(tf_keras.Sequential([tf_keras.Input(shape), getattr(layers, kind)(name="norm"), layers.Flatten()]))
    change(model, "norm", axis=axis)
    with pytest.raises(InputError, match=r"layer 'norm' is over axis .*: expected the last one, of vectors or images"):
        translate(model)


def change(model: tf_keras.Model, layer: Any, **settings: Any) -> None:
    entry(model, layer)["config"].update(settings)


def replace(model: tf_keras.Model, layer: Any, **values: Any) -> None:
    entry(model, layer).update(values)


EVIL = {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"}
REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a custom layer of a known name": (lambda m: replace(m, "hidden", registered_name="mine>Dense"), "'mine>Dense'"),
    "a module": (lambda m: replace(m, "hidden", module="os"), "'Dense' of 'os'"),
    "a module that is no text": (lambda m: replace(m, "hidden", module={"class_name": "os"}), "'Dense' of "),
    "a TFSMLayer": (lambda m: replace(m, "hidden", class_name="TFSMLayer"), "is a 'TFSMLayer'"),
    "a layer of ours": (lambda m: replace(m, "hidden", class_name="DuelingMerge"), "is a 'DuelingMerge'"),
    "a class that is no text": (lambda m: replace(m, "hidden", class_name=["Dense"]), r"is a \['Dense'\]"),
    "an unknown activation": (lambda m: change(m, "hidden", activation="mish"), "an activation of linear, .* Got 'mish'"),
    "a named activation": (
        lambda m: change(m, "hidden", activation="os.system"),
        "an activation of linear, .* Got 'os.system'",
    ),
    "an activation that is an object": (
        lambda m: change(m, "hidden", activation=EVIL),
        r"an activation of linear, .* Got \{.*'os",
    ),
    "an activation that is none": (lambda m: change(m, "active", activation=None), "an activation of linear, .* Got None"),
    "a capped ReLU": (lambda m: change(m, "relu", max_value=7.0), "expected max_value=None. Got max_value=7.0"),
    "a falling ReLU": (lambda m: change(m, "relu", negative_slope=-0.1), "cannot have alpha='-0.1'"),
    "a ReLU from elsewhere": (lambda m: change(m, "relu", threshold=1), "expected threshold=0.0"),
    "groups": (lambda m: change(m, "conv", groups=2), "expected groups=1. Got groups=2"),
    "dilation": (lambda m: change(m, "conv", dilation_rate=[2, 2]), r"expected dilation_rate=\[1, 1\]"),
    "channels first": (lambda m: change(m, "conv", data_format="channels_first"), "expected data_format=channels_last"),
    "flattened channels first": (lambda m: change(m, "flat", data_format="channels_first"), "expected data_format"),
    "half precision": (lambda m: change(m, "hidden", dtype="float16"), "computes in 'float16': expected float32"),
    "mixed precision": (
        lambda m: change(m, "hidden", dtype={"class_name": "Policy", "config": {"name": "mixed_float16"}}),
        "computes in 'mixed_float16'",
    ),
    "a dtype that is an object": (lambda m: change(m, "hidden", dtype=EVIL), r"computes in \{.*'os"),
    "low-rank adaptation": (lambda m: change(m, "hidden", lora_rank=4), "not understood: 'lora_rank'=4"),
    "a new setting": (lambda m: change(m, "hidden", surprise={"module": "os"}), "not understood: 'surprise'="),
    "a text input": (lambda m: change(m, "image", dtype="string"), "computes in 'string'"),
    "a sparse input": (lambda m: change(m, "image", sparse=True), "expected sparse=False"),
    "no units": (lambda m: entry(m, "hidden")["config"].pop("units"), "expected units"),
    "no name": (lambda m: change(m, "hidden", name=3), "a layer has no name, or two"),
    "two names": (lambda m: replace(m, "hidden", name="other"), "a layer has no name, or two"),
    "the same name twice": (
        lambda m: [edit(m, layer, name="q") for edit, layer in ((change, "hidden"), (replace, "q"))],
        "none that Keras writes",
    ),
    "a loop": (lambda m: replace(m, "conv", inbound_nodes=[[["hidden", 0, 0, {}]]]), "lead to the output"),
    "a shared layer": (lambda m: entry(m, "hidden")["inbound_nodes"].append([["flat", 0, 0, {}]]), "used 2 times"),
    "two sources": (lambda m: entry(m, "hidden")["inbound_nodes"][0].append(["flat", 0, 0, {}]), "takes 2 tensors"),
    "a second call": (lambda m: replace(m, "hidden", inbound_nodes=[[["flat", 1, 0, {}]]]), "expected the one output"),
    "dropout that drops": (
        lambda m: replace(m, "drop", inbound_nodes=[[["active", 0, 0, {"training": True}]]]),
        "'drop' is called with {'training': True}",
    ),
    "a constant as an option": (lambda m: replace(m, "q", inbound_nodes=[[["drop", 0, 0, {"mask": [1]}]]]), "is called with"),
    "a source that is not there": (lambda m: replace(m, "conv", inbound_nodes=[[["gone", 0, 0, {}]]]), "KeyError"),
    "two outputs": (lambda m: m["config"].update(output_layers=[["q", 0, 0], ["hidden", 0, 0]]), "expected one output"),
    "an output in the middle": (
        lambda m: m["config"].update(output_layers=[["hidden", 0, 0]]),
        "Got 10, of which 7 do",
    ),
    "two inputs": (lambda m: m["config"].update(input_layers=[["image", 0, 0], ["image", 0, 0]]), "expected one input"),
    "an input that is none": (lambda m: m["config"].update(input_layers=[["conv", 0, 0]]), "its input is no InputLayer"),
    "a model of the user's own": (lambda m: m.update(class_name="MyModel"), "Got a 'MyModel'"),
    "one that only claims to be Functional": (lambda m: m.update(registered_name="mine>Functional"), "plain layers"),
    "one from another module": (lambda m: m.update(module="__main__"), "plain layers"),
    "too many layers": (lambda m: m["config"]["layers"].extend(m["config"]["layers"] * LARGEST_DEPTH), "at most 200 layers"),
}


@pytest.mark.parametrize(("plant", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_is_planted_is_refused_in_a_line(plant: Any, reason: str) -> None:
    model = written(functional())
    plant(model)
    with pytest.raises(InputError, match=reason) as caught:
        translate(model)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


def test_what_matters_in_training_only_is_not_looked_at() -> None:
    model = written(functional())
    change(model, "hidden", kernel_initializer=EVIL, bias_regularizer=EVIL, kernel_constraint=EVIL, trainable=False)
    change(model, "drop", seed=3)
    change(model, "conv", added_by_a_later_keras=None)
    assert descriptions(model) == describe(functional())


def parts(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a JSON value."""
    yield path
    for key, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from parts(part, (*path, key))


DAMAGES: tuple[Any, ...] = (None, [], {}, "os.system", -1, 1e400, [[]], {"class_name": "Lambda"})


@pytest.mark.parametrize(("make_model", "damages"), [(functional, DAMAGES), (branched, DAMAGES)])
def test_damage_anywhere_is_refused_or_harmless(make_model: Any, damages: Any) -> None:
    whole = written(make_model())
    for path in list(parts(whole))[1:]:
        for damage in damages:
            model = copy.deepcopy(whole)
            at = model
            for key in path[:-1]:
                at = at[key]
            at[path[-1]] = damage
            try:
                translate(model)
            except InputError as error:
                assert "\n" not in str(error)
