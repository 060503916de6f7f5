"""Keras models as Keras 2 and Keras 3 save them compute the same here; nothing in their files runs or leads elsewhere."""

import importlib
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tf_keras

from edgedqn.agents.architecture import describe
from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ModelOptions, read_model
from edgedqn.agents.teaching.graph import NumpyGraph

# Keras 3 comes with TensorFlow. Keras 2 is tf_keras.
LIBRARIES = {"keras-2": "tf_keras", "keras-3": "keras"}
FORMATS = ("keras", "h5")

# Keras 3 on NumPy 2, when it saves.
keras_3 = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning")


def mlp_layers(layers: Any) -> list[Any]:
    return [
        layers.Dense(16, name="first"),
        layers.ReLU(),
        layers.Dropout(0.2),
        layers.Dense(8, "relu", use_bias=False),
        layers.Dense(8),
        layers.Activation("relu"),
        layers.Dense(3, "linear", name="q"),
    ]


def cnn_layers(layers: Any) -> list[Any]:
    return [
        layers.Rescaling(1 / 255),
        layers.Conv2D(4, 3, 2, activation="relu"),
        layers.Conv2D(6, (3, 2), padding="same", use_bias=False),
        layers.Activation("relu"),
        layers.Flatten(),
        layers.Dense(8, "relu"),
        layers.Reshape((-1,)),
        layers.Dense(3),
    ]


NETWORKS = {"mlp": ((4,), mlp_layers), "cnn": ((11, 9, 2), cnn_layers)}


def make_model(keras: Any, network: Any, functional: Any) -> Any:
    """With weights that are all different, biases included."""
    shape, make_layers = NETWORKS[network]
    layers = make_layers(keras.layers)
    if functional:
        x = observation = keras.Input(shape)
        for layer in layers:
            x = layer(x)
        model = keras.Model(observation, x)
    else:
        model = keras.Sequential(layers)
        model.build((None, *shape))
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@keras_3
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("functional", [False, True], ids=["sequential", "functional"])
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_an_imported_network_computes_what_it_computed(
    tmp_path: Path, library: Any, suffix: Any, network: Any, functional: bool
) -> None:
    keras = importlib.import_module(LIBRARIES[library])
    model = make_model(keras, network, functional)
    model.compile("adam", "mse")  # its optimizer is saved along
    path = tmp_path / f"model.{suffix}"
    model.save(path)
    imported = read_model(path)
    observations = np.random.default_rng(1).uniform(-1, 255, (40, *NETWORKS[network][0])).astype(np.float32)
    expected = np.asarray(model(observations))
    np.testing.assert_allclose(imported.network(observations).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert (imported.kind, imported.source, imported.observation_dtype) == ("keras", path.name, None)


@keras_3
@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
@pytest.mark.parametrize("network", ["image", "vector", "dueling"])
@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("library", LIBRARIES)
def test_so_does_one_that_is_no_plain_chain(
    tmp_path: Path, library: Any, suffix: Any, network: Any, make: Any, observe: Any, assert_same: Any
) -> None:
    model = make(importlib.import_module(LIBRARIES[library]), network)
    model.save(tmp_path / f"model.{suffix}")
    imported = read_model(tmp_path / f"model.{suffix}")
    observations = observe(network)
    assert_same(imported.network, model, observations)
    assert (imported.not_a_chain is None) == (network == "dueling")
    graph = NumpyGraph(describe(imported.network), imported.network.get_weights())
    assert_same(graph.q_values, model, observations)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file:UserWarning")
def test_theanos_kernels_are_turned(tmp_path: Path) -> None:
    """Its convolution is the sum of K[-i] x[i], and not of K[i] x[i]."""
    x = tf_keras.Input((5, 4, 1))
    convolution = tf_keras.layers.Conv2D(2, (3, 2), activation="relu")
    model = tf_keras.Model(x, tf_keras.layers.Dense(2)(tf_keras.layers.Flatten()(convolution(x))))
    model.save(tmp_path / "whole.h5")
    model.save_weights(tmp_path / "weights.h5")
    (tmp_path / "model.json").write_text(model.to_json())
    for name in ("whole.h5", "weights.h5"):
        with h5py.File(tmp_path / name, "a") as file:
            file["model_weights" if name == "whole.h5" else "/"].attrs["backend"] = b"theano"
    kernel, bias = convolution.get_weights()
    convolution.set_weights([kernel[::-1, ::-1], bias])
    observations = np.random.default_rng(0).normal(size=(9, 5, 4, 1)).astype(np.float32)
    beside = ModelOptions(model_json=tmp_path / "model.json")
    for found in (read_model(tmp_path / "whole.h5"), read_model(tmp_path / "weights.h5", beside)):
        np.testing.assert_allclose(found.network(observations), model(observations), rtol=1e-5, atol=1e-6)


@pytest.fixture
def model() -> Any:
    return make_model(tf_keras, "mlp", functional=True)


@pytest.fixture(params=FORMATS)
def path(request: pytest.FixtureRequest, model: tf_keras.Model, tmp_path: Path) -> Path:
    return save(model, tmp_path / f"model.{request.param}")


@pytest.fixture
def archive(model: tf_keras.Model, tmp_path: Path) -> Path:
    return save(model, tmp_path / "model.keras")


@pytest.fixture
def hdf5(model: tf_keras.Model, tmp_path: Path) -> Path:
    return save(model, tmp_path / "model.h5")


def save(model: tf_keras.Model, path: Path) -> Path:
    if path.suffix == ".h5":
        tf_keras.src.saving.legacy.hdf5_format.save_model_to_hdf5(model, path)
    else:
        model.save(path)
    return path


def edit_config(path: Path, change: Callable[..., Any]) -> None:
    """Changes the JSON configuration in a model file."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            config = json.loads(file.attrs["model_config"])
            change(config)
            file.attrs["model_config"] = json.dumps(config)
        return
    edit_members(path, {"config.json": lambda text: json.dumps(changed(json.loads(text), change)).encode()})


def changed(config: Any, change: Callable[..., Any]) -> Any:
    change(config)
    return config


def edit_members(path: Path, edits: Any) -> None:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, edits[name](content) if name in edits else content)


def edit_weights(path: Path, change: Callable[..., Any], tmp_path: Path) -> None:
    """Changes the group that holds a layer's weights; `change` gets it with the name of its kernel."""
    if path.suffix == ".h5":
        with h5py.File(path, "r+") as file:
            change(file["model_weights/first/first"], "kernel:0")
        return
    weights = tmp_path / "weights.h5"
    with zipfile.ZipFile(path) as file:
        weights.write_bytes(file.read("model.weights.h5"))
    with h5py.File(weights, "r+") as file:
        change(file["layers/dense/vars"], "0")
    edit_members(path, {"model.weights.h5": lambda _: weights.read_bytes()})


def test_a_lambda_is_refused_and_not_run(tmp_path: Path) -> None:
    for suffix in FORMATS:
        mark = tmp_path / f"ran-{suffix}"
        trap = tf_keras.layers.Lambda(lambda x, mark=str(mark): (__import__("pathlib").Path(mark).touch(), x)[1], name="odd")
        network = tf_keras.Sequential([tf_keras.Input((4,)), trap, tf_keras.layers.Dense(2)])
        path = save(network, tmp_path / f"model.{suffix}")
        mark.unlink()
        with pytest.raises(InputError, match=r"layer 'odd' is a Lambda, which is code and is not run\.") as caught:
            read_model(path)
        assert "\n" not in str(caught.value) and not mark.exists()
        tf_keras.models.load_model(path, safe_mode=False)(np.zeros((1, 4)))
        assert mark.exists(), "the trap would not have gone off anyway"


def first_dense(config: Any) -> Any:
    return next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")


def test_a_custom_object_is_refused_and_not_looked_up(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither its module is imported, nor a function it names."""
    (tmp_path / "planted.py").write_text(f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\n")
    monkeypatch.syspath_prepend(tmp_path)
    custom = {"module": "planted", "class_name": "Dense", "registered_name": "planted>Dense"}
    function = {"module": "planted", "class_name": "function", "config": "relu", "registered_name": "relu"}
    whole = path.read_bytes()
    for plant in (
        lambda config: first_dense(config).update(custom),
        lambda config: first_dense(config).update(class_name="planted>Dense"),
        lambda config: first_dense(config).update(class_name="TFSMLayer"),
        lambda config: first_dense(config)["config"].update(activation=function),
        lambda config: first_dense(config)["config"].update(activation="planted.relu"),
        lambda config: config.update(custom, class_name="Functional"),
    ):
        path.write_bytes(whole)
        edit_config(path, plant)
        with pytest.raises(InputError, match="cannot be imported: "):
            read_model(path)
    path.write_bytes(whole)
    edit_config(path, lambda config: first_dense(config)["config"].update(kernel_initializer=custom))
    read_model(path)  # which initializer there was says nothing about the weights
    assert not (tmp_path / "ran").exists()


def put(data: Any) -> Any:
    def change(group: Any, kernel: Any) -> None:
        del group[kernel]
        group[kernel] = data

    return change


def chunked(group: Any, kernel: Any) -> None:
    values = group[kernel][...]
    del group[kernel]
    # A chunk is unpacked whole, however little of it is asked for.
    group.create_dataset(kernel, data=values, chunks=(2**9, 2**9), maxshape=(None, None), compression="gzip")


def never_written(group: Any, kernel: Any) -> None:
    del group[kernel]
    group.create_dataset(kernel, (2**20, 2**20), np.float32)


def soft_link(group: Any, kernel: Any) -> None:
    group.move(kernel, "elsewhere")
    group[kernel] = h5py.SoftLink(f"{group.name}/elsewhere")


def external_link(group: Any, kernel: Any) -> None:
    with h5py.File(other_file(group), "w") as other:
        other["secret"] = group[kernel][...]
    del group[kernel]
    group[kernel] = h5py.ExternalLink(other_file(group), "secret")


def virtual(group: Any, kernel: Any) -> None:
    values = group[kernel][...]
    with h5py.File(other_file(group), "w") as other:
        other["secret"] = values
    del group[kernel]
    layout = h5py.VirtualLayout(values.shape, np.float32)
    layout[...] = h5py.VirtualSource(other_file(group), "secret", values.shape)
    group.create_virtual_dataset(kernel, layout)


def stored_externally(group: Any, kernel: Any) -> None:
    shape = group[kernel].shape
    del group[kernel]
    other_file(group).write_bytes(bytes(1024))
    group.create_dataset(kernel, shape, np.float32, external=[(str(other_file(group)), 0, 1024)])


def other_file(group: Any) -> Any:
    return Path(group.file.filename).with_name("other")


ELSEWHERE = r"expected weights at '.*': float32, in one piece, in this file\. Got something else"
UNFIT = {
    "a soft link": (soft_link, ELSEWHERE),
    "an external link": (external_link, ELSEWHERE),
    "a virtual dataset": (virtual, ELSEWHERE),
    "data in another file": (stored_externally, ELSEWHERE),
    "a compressed dataset": (chunked, ELSEWHERE),
    "a dataset larger than the file": (never_written, ELSEWHERE),
    "another shape": (
        put(np.zeros((4, 15), np.float32)),
        r"layer 'first' has weights \[\(4, 15\), \(16,\)\]: expected \[\(4, 16",
    ),
    "the transpose": (put(np.zeros((16, 4), np.float32)), r"layer 'first' has weights \[\(16, 4\)"),
    "doubles": (put(np.zeros((4, 16))), ELSEWHERE),
    "integers": (put(np.zeros((4, 16), np.int32)), ELSEWHERE),
    "texts": (put("text"), ELSEWHERE),
    "a NaN": (put(np.full((4, 16), np.nan, np.float32)), "layer 'first' has a weight that is no finite number"),
    "a group": (lambda group, kernel: (group.pop(kernel), group.create_group(kernel)), ELSEWHERE),
    "nothing": (lambda group, kernel: group.pop(kernel), ELSEWHERE),
}


@pytest.mark.parametrize(("change", "reason"), UNFIT.values(), ids=UNFIT)
def test_weights_that_do_not_fit_or_lie_elsewhere_are_refused(
    path: Path, tmp_path: Path, change: Callable[..., Any], reason: str
) -> None:
    edit_weights(path, change, tmp_path)
    with pytest.raises(InputError, match=reason):
        read_model(path)


def test_sizes_are_compared_before_anything_is_allocated(path: Path) -> None:
    edit_config(path, lambda config: first_dense(config)["config"].update(units=2**24))
    with pytest.raises(InputError, match=r"expected \[\(4, 16777216\), \(16777216,\)\]"):
        read_model(path)
    edit_config(path, lambda config: first_dense(config)["config"].update(units=2**40))
    with pytest.raises(InputError, match="cannot have units="):
        read_model(path)


@keras_3
def test_weights_of_other_layers_are_refused(tmp_path: Path) -> None:
    keras = importlib.import_module("keras")
    path = tmp_path / "model.keras"
    make_model(keras, "mlp", functional=True).save(path)
    # Keras 3 writes the layers' names beside their weights.
    edit_config(path, lambda config: config["config"]["layers"].reverse())
    with pytest.raises(InputError, match=r"the weights of layer '.*' are those of '.*'"):
        read_model(path)


def test_weights_without_their_layers_are_refused(model: tf_keras.Model, tmp_path: Path) -> None:
    model.save_weights(tmp_path / "only.h5")
    with pytest.raises(InputError, match=r"expected a whole model, as model\.save writes it"):
        read_model(tmp_path / "only.h5")


def test_links_in_attributes_lead_nowhere(hdf5: Any) -> None:
    with h5py.File(hdf5, "r+") as file:
        file["model_weights/first"].attrs["weight_names"] = ["../../q/q/kernel:0", "/model_weights/q/q/bias:0"]
    with pytest.raises(InputError, match=ELSEWHERE):
        read_model(hdf5)


@pytest.mark.parametrize("value", [3, np.zeros(4), "{", "[]", b"\xff", h5py.Empty("f")])
def test_a_description_that_is_none_is_refused(hdf5: Any, value: Any) -> None:
    with h5py.File(hdf5, "r+") as file:
        file.attrs["model_config"] = value
    with pytest.raises(InputError, match="cannot be imported"):
        read_model(hdf5)


def test_a_bomb_in_the_archive_is_not_unpacked(archive: Any) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("model.weights.h5", b"")
        file.writestr("config.json", b" " * 2**27)
    with pytest.raises(InputError, match=r"expected at most 67,108,864 bytes, got 134,217,728"):
        read_model(archive)


def test_names_that_leave_the_archive_are_refused(archive: Any, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("../escaped", b"")
    with pytest.raises(InputError, match="expected names of files inside the archive"):
        read_model(archive)
    assert not (tmp_path.parent / "escaped").exists()


def test_a_damaged_file_is_bad_input(path: Path) -> None:
    whole = path.read_bytes()
    for part in (0.0, 0.001, 0.1, 0.5, 0.9, 0.999):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(InputError, match="cannot be imported: "):
            read_model(path)
