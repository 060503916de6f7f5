"""Of the tensors in a file of PyTorch those of the one network that plays; and what becomes of the others."""

import re
from collections.abc import Iterator

import numpy as np

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.importing.foreign_files import TARGET, Array, short
from edgedqn.agents.importing.torch_tensors import Nested, Tensors

_PLACE = "(stream|head|net|layer|branch|fc)?"
VALUE = re.compile(rf"v|vals?|(state)?values?{_PLACE}")  # a word of a name
ADVANTAGE = re.compile(rf"a|adv{_PLACE}|advs|advantages?{_PLACE}")
_STATISTICS = re.compile("mean|var|std|rms", re.IGNORECASE)  # by which observations are normalized
_OTHER_JOBS = {
    "mlp_extractor.": "PPO or A2C, which has no Q-values",
    "actor.": "an actor and its critics, which have no Q-values",
    "quantile_net.": "a QR-DQN, whose actions are in the archive around it: import the whole .zip",
}


def one_network(found: Nested, part: str | None) -> tuple[Tensors, list[str]]:
    """The tensors of the one network that is meant, without its prefix."""
    states = dict(_state_dicts(found, ""))
    flat = {f"{place}.{name}".lstrip("."): tensor for place, state in states.items() for name, tensor in state.items()}
    if not flat and set(found) == {"state"}:
        raise InputError("expected tensors of a network. Got the state of its optimizer, which is saved beside the agent.")
    require(bool(flat), f"expected tensors of a network. Got {short(list(found)) if found else 'none'}.")
    for prefix, job in _OTHER_JOBS.items():
        if part is None and any(name.startswith(prefix) for name in flat):
            raise InputError(f"expected the tensors of a Q-network. Got those of {job}.")
    if part is not None:
        own = {name.removeprefix(f"{part}."): each for name, each in flat.items() if name.startswith(f"{part}.")}
        require(bool(own), f"expected a part of {', '.join(_prefixes(flat, states))}. Got part={short(part)}.")
        return own, []
    assumed = []
    if len(states) > 1:
        online = {place: state for place, state in states.items() if not TARGET.search(place)}
        if len(online) != 1:
            raise InputError(f"expected one network. Got several: choose with part={' or part='.join(map(short, states))}.")
        assumed += [f"{next(iter(online))!r} is the network that plays"]
        states = online
    (state,) = states.values()
    groups: dict[str, Tensors] = {}
    for name, tensor in state.items():
        groups.setdefault(name.partition(".")[0], {})[name] = tensor
    kept = {prefix: group for prefix, group in groups.items() if not TARGET.search(prefix)}
    if kept and len(kept) < len(groups):
        assumed += [f"of {', '.join(groups)} those without 'target' in their name play"]
        groups = kept
    _check_one(groups)
    return {name: tensor for group in groups.values() for name, tensor in group.items()}, assumed


def passed_over(found: Nested, chosen: Tensors, *, inputs: int) -> list[str]:
    """Names the tensors that are not of the network. Refuses some by which its observations may be scaled."""
    flat = dict(_named(found, ""))
    ours = {id(tensor) for tensor in chosen.values()}
    passed = {name: tensor for name, tensor in flat.items() if id(tensor) not in ours}
    of_layers = {name.rpartition(".")[0] for name, tensor in flat.items() if tensor.ndim >= 2}
    for name, tensor in passed.items():
        is_alone = tensor.ndim == 1 and name.rpartition(".")[0] not in of_layers
        if is_alone and (tensor.size == inputs or _STATISTICS.search(name)):
            raise InputError(
                f"expected a network alone. Got {short(name)} of {tensor.size} numbers beside it, by which observations may "
                "be scaled. Save the network alone, torch.save(model.state_dict(), 'policy.pth'), and these as an .npz "
                "with mean, var, clip_obs and epsilon, for --normalize."
            )
    names = dict.fromkeys(name.rpartition(".")[0] or name for name in passed)
    return [f"passed over: {', '.join(names)[:400]}"] if names else []


def is_called(pattern: re.Pattern[str], name: str) -> bool:
    return any(pattern.fullmatch(word) for word in re.split(r"[._\d]+", name.lower()))


def _state_dicts(found: Nested, place: str) -> list[tuple[str, Tensors]]:
    """Every dict that holds kernels, with its place."""
    own = {name: each for name, each in found.items() if isinstance(each, np.ndarray)}
    states = [(place, own)] if any(each.ndim >= 2 for each in own.values()) else []
    for name, each in found.items():
        if isinstance(each, dict):
            states += _state_dicts(each, f"{place}.{name}".lstrip("."))
    return states


def _named(found: Nested, place: str) -> Iterator[tuple[str, Array]]:
    for name, each in found.items():
        if isinstance(each, dict):
            yield from _named(each, f"{place}{name}.")
        else:
            yield f"{place}{name}", each


def _prefixes(flat: Tensors, states: dict[str, Tensors]) -> list[str]:
    return [short(place) for place in dict.fromkeys([*filter(None, states), *(name.partition(".")[0] for name in flat)])][:20]


def _check_one(groups: dict[str, Tensors]) -> None:
    """Refuses groups of tensors that look like several networks: each has layers of its own, and they begin alike."""
    starts: dict[tuple[int, ...], list[str]] = {}
    is_dueling = all(any(is_called(pattern, prefix) for prefix in groups) for pattern in (VALUE, ADVANTAGE))
    for prefix, group in groups.items():
        kernels = [each for each in group.values() if each.ndim >= 2]
        stream = is_dueling and (is_called(VALUE, prefix) or is_called(ADVANTAGE, prefix))
        if len(kernels) > 1 and not stream and "adv" not in prefix.lower():
            starts.setdefault(kernels[0].shape[1:], []).append(prefix)
    for prefixes in starts.values():
        if len(prefixes) > 1:
            raise InputError(f"expected one network. Got several: choose with part={' or part='.join(map(short, prefixes))}.")
