"""A network is compared with NumPy and with its file's own library, and a file that gives other values is refused."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tf_keras
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.agents import ForeignModel
from edgedqn.agents.importing.comparison import compare, random_observations

layers = tf_keras.layers


def model_of(*parts: Any, **options: Any) -> ForeignModel:
    x = observation = tf_keras.Input((4,))
    for part in (*parts, layers.Dense(3)):
        x = part(x)
    network = tf_keras.Model(observation, x)
    return ForeignModel(network=network, kind="onnx", source="mine.onnx", source_sha256="0" * 64, **options)


def computed(model: ForeignModel, add: float = 0.0) -> Any:
    """What another library may compute of it."""

    def compute(observations: NDArray[np.float32]) -> tuple[str, NDArray[np.generic]]:
        return "Other", model.network(observations).numpy() + np.float32(add)

    return compute


def test_differences_are_told_or_refused() -> None:
    model = model_of(layers.Dense(8), layers.Activation("tanh"), not_a_chain="it has a tanh")
    states = random_observations(model)
    assert states.shape == (64, 4) and states.max() > 200 and (np.abs(states) < 3).mean() > 0.4
    found, said = compare(replace(model, compute=computed(model)), states)
    assert found.not_a_chain == model.not_a_chain and "NumPy by at most" in said and "Other by at most 0" in said
    with pytest.raises(InputError, match=r"mine\.onnx gives other Q-values in Other than here: .*Got 0\.1") as caught:
        compare(replace(model, compute=computed(model, add=0.1)), states)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"Got nan"):
        compare(replace(model, compute=computed(model, add=np.nan)), states)


def test_chosen_actions_are_compared_by_what_they_are_worth() -> None:
    model = model_of()

    def choose(observations: NDArray[np.float32], shift: int) -> tuple[str, NDArray[np.generic]]:
        return "Other", (model.network(observations).numpy().argmax(axis=1)[:, None] + shift) % 3

    states = random_observations(model)
    compare(replace(model, compute=lambda x: choose(x, 0)), states)
    with pytest.raises(InputError, match="other Q-values in Other"):
        compare(replace(model, compute=lambda x: choose(x, 1)), states)


def test_what_cannot_be_run_is_told() -> None:
    def fails(observations: NDArray[np.float32]) -> tuple[str, NDArray[np.generic]]:
        raise InputError("no such operator")

    model = model_of()
    states = random_observations(model)
    assert compare(replace(model, compute=fails), states)[1].endswith("; the file itself cannot be run: no such operator")
    assert compare(replace(model, kind="pytorch"), states)[1].endswith("; the file holds no code to compare with")


def test_scalings_that_cannot_be_folded_exactly_make_a_teacher() -> None:
    """Folded, 1e6 is subtracted of products with float32's precision of 0.06."""
    model = model_of(layers.Rescaling(1.0, offset=-1e6), layers.Dense(8, "relu"))
    states = np.float32(1e6) + random_observations(model)
    found, _ = compare(model, states)
    assert found.not_a_chain and "folded" in found.not_a_chain
    assert compare(model, random_observations(model))[0].not_a_chain is None


@pytest.mark.parametrize(("dtype", "most"), [("uint8", 127), ("bool", 1)])
def test_integers_are_of_their_type(dtype: str, most: int) -> None:
    states = random_observations(model_of(input_dtype=dtype))
    assert states.max() == most and (states.astype(dtype) == states).all()
