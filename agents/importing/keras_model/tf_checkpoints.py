"""A checkpoint of TensorFlow: weights by their places in the objects that were saved, put into layers that are told.

`model.save_weights("ckpt")` and `tf.train.Checkpoint(model=model).save("ckpt")` write a `ckpt.index` and a
`ckpt.data-00000-of-00001`. `tf_reader` reads them in a process of its own.
"""

import io
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from edgedqn.agents.errors import require
from edgedqn.agents.importing.foreign_files import LARGEST_FILE, TARGET, Array, Network, short
from edgedqn.agents.importing.keras_model.keras_weights import put_into_layers
from edgedqn.agents.importing.keras_model.other_process import read_elsewhere
from edgedqn.agents.importing.keras_model.tf_reader import VARIABLE

MAGIC = b"\x57\xfb\x80\x8b\x24\x75\x47\xdb"  # at the end of an index
TIME_LIMIT = 900  # seconds; TensorFlow takes 3 to load, but minutes where other work fills the processor
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_ORDER = ("kernel", "bias", "gamma", "beta", "moving_mean", "moving_variance")
_LISTED = re.compile(r"(layer_with_weights-|_operations/)\d+$")  # by Keras 2 and 3, where a model knows its layers' order


def index_of(path: Path) -> Path:
    """The `.index` file of a checkpoint that is named by it, by its data, or by what both begin with; else the path itself."""
    name = _DATA.sub("", path.name)
    index = path.with_name(f"{name}.index")
    return index if index.is_file() and (name != path.name or not path.exists()) else path


def read_checkpoint(
    index: Path,
    *,
    part: str | None = None,
    hidden: Sequence[int] | None = None,
    activation: str = "relu",
    model_json: str | None = None,
) -> tuple[Network, tuple[str, ...]]:
    """Reads a checkpoint; see `read_keras_weights` for what is told. Returns what was assumed beside the network.

    Args:
      index: the file `.index`.
      part: the first words of the network's places, where several were saved.
      hidden: widths of the hidden layers.
      activation: of these.
      model_json: the text of model.to_json(), in place of them.
    Raises:
      InputError: it is damaged, or its weights are not those of such layers.
    """
    owners: dict[str, dict[str, Array]] = {}
    for key, array in _read(index.with_suffix("")).items():
        owner, _, name = key.removesuffix(VARIABLE).rpartition("/")
        owners.setdefault(owner, {})[name.removeprefix("_")] = array  # Keras 3 has a _kernel
    owners = {owner: own for owner, own in owners.items() if any(name in _ORDER for name in own)}
    owners, assumed = _one_network(owners, part)
    for owner, own in owners.items():
        strange = [name for name in own if name not in _ORDER]
        require(not strange, f"expected weights of {', '.join(_ORDER)}. Got {short(strange)} of {short(owner)}.")
    if model_json is not None and not all(_LISTED.search(owner) for owner in owners):
        assumed += ("layers in the order in which the model's class makes them",)
    groups = {owner: [own[name] for name in _ORDER if name in own] for owner, own in owners.items()}
    network, more = put_into_layers(groups, hidden=hidden, activation=activation, model_json=model_json)
    return network, assumed + more


def _one_network(owners: dict[str, dict[str, Array]], part: str | None) -> tuple[dict[str, dict[str, Array]], tuple[str, ...]]:
    """The layers of the network that is meant."""
    heads = list(dict.fromkeys(owner.partition("/")[0] for owner in owners))
    if part is not None:
        own = {owner: each for owner, each in owners.items() if owner.startswith(f"{part.rstrip('/')}/")}
        require(bool(own), f"expected a part of {', '.join(heads)[:200]}. Got part={short(part)}.")
        return own, ()
    kept = [head for head in heads if not TARGET.search(head)]
    if not kept or len(kept) == len(heads):
        return owners, ()
    told = f"of {', '.join(heads)} those without 'target' in their name play"
    return {owner: each for owner, each in owners.items() if owner.partition("/")[0] in kept}, (told,)


def _read(prefix: Path) -> dict[str, Array]:
    """The float32 variables of the saved objects by their places, in the order in which the objects have them."""
    data = [path for path in prefix.parent.glob(f"{_escaped(prefix.name)}.data-*") if _DATA.search(path.name)]
    require(bool(data), f"expected {prefix.name}.data-00000-of-00001 beside the index. Got none.")
    size = sum(path.stat().st_size for path in data)
    require(size <= LARGEST_FILE, f"expected at most {LARGEST_FILE:,} bytes of data. Got {size:,}.")
    code = "from edgedqn.agents.importing.keras_model.tf_reader import main; main()"
    wanted = json.dumps([str(prefix), size])
    answer = read_elsewhere(code, wanted, what="its checkpoint", time_limit=TIME_LIMIT)
    with np.load(io.BytesIO(answer), allow_pickle=False) as archive:
        names = json.loads(archive["names"].tobytes())
        return {name: archive[str(i)] for i, name in enumerate(names)}


def _escaped(name: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", name)
