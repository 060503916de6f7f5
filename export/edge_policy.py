"""Play an EdgeDQN policy on a device: this one file, a `.tflite`, NumPy and ai-edge-litert. Python 3.10 or newer.

    policy = EdgePolicy.load("policy.tflite")  # or the folder it lies in
    policy.reset()  # before each episode
    action = policy(observation)

The file is proven whole before the interpreter sees a byte of it: an interpreter runs most damaged files without a word.
"""

import base64
import ctypes
import itertools
import json
import math
import re
import struct
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import ArrayLike, NDArray

try:  # CPython's own, where it has one: hashlib loads OpenSSL, 4 MB of the 45 that a policy would take in all
    from _sha2 import sha256  # 3.12 and newer
except ImportError:
    try:
        from _sha256 import sha256
    except ImportError:
        from hashlib import sha256

SCHEMA = 1  # of a sidecar, and of a manifest that needs no more
TAKEN = (1, 2)  # of a manifest: 2 has the environment's own actions, legal actions, or many scales
MANY = 64  # scales that are written as numbers; more of them in base64, a fourth of the size
MAGIC = b"EDGEDQN1"
DIGEST_SIZE = 32
TAKES = ("bool", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float16", "float32", "float64")
ATARI_SIDE = 84  # pixels of what its agents see
GRAYS = np.array([0.2989, 0.5870, 0.1140])  # of red, green and blue
MEANINGS = ("preferences", "q_values", "action")
TWIN_OF = "twin_of"  # of a twin's manifest: the SHA-256 of the file whose very integers it computes
TWIN = "-float-io"  # behind the stem of that file: the twin's name
_TRIALS = 200  # rows that a native library must give as the interpreter does, before it steps
LARGEST_SCALE = 1e18  # times the largest observation whose square is a finite float32, 1.8e19, this cannot overflow
FLOAT32 = np.dtype(np.float32)
T = TypeVar("T")
Json = Mapping[str, Any]
Given: TypeAlias = "ArrayLike | Mapping[str, Any]"  # an observation: numbers, or a manifest's features by their keys

# BuiltinOperator of the TFLite schema, by its names: those that policies are made of. Any other is refused, also because not
# every kernel of an interpreter checks what it is given.
OPERATORS = {0: "ADD", 3: "CONV_2D", 4: "DEPTHWISE_CONV_2D", 6: "DEQUANTIZE", 9: "FULLY_CONNECTED", 17: "MAX_POOL_2D"}
OPERATORS |= {18: "MUL", 19: "RELU", 22: "RESHAPE", 40: "MEAN", 41: "SUB", 56: "ARG_MAX", 114: "QUANTIZE"}

# TensorType of the TFLite schema, by NumPy's names. Types that no policy has are left out.
DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}


class PolicyFileError(ValueError):
    """A policy file or its sidecar cannot be trusted or used; one line: what was wrong, what was expected, what was got."""


class RuntimeRefusedError(PolicyFileError):
    """The file is what was exported, but this runtime cannot run it."""


class Step(NamedTuple):
    """A step of the preprocessing, as manifests name it.

    `atari` is gymnasium's AtariPreprocessing: of the last two screens of a game the brighter, gray, in 84x84 bytes, see
    `atari_frame`; the caller plays four frames a step. `one_hot` makes a vector of the number of a
    state, `flatten` one of an array, in C order. `action_mask` puts 1 for each legal action and 0 for each other behind a
    vector, as the caller says. `frame_stack` puts the last `frames` observations along the last axis, oldest
    first; the first of an episode `count` times.
    """

    name: str
    frames: int = 1

    def __str__(self) -> str:
        return f"{self.name}:{self.frames}" if self.name == "frame_stack" else self.name


class Actions(NamedTuple):
    """The environment's own actions: every combination of the `levels` of each of their numbers, the last changing fastest.

    `shape` is that of one action, () for a single number; `dtype` is NumPy's name of what the environment takes.
    """

    levels: tuple[tuple[float, ...], ...]
    shape: tuple[int, ...]
    dtype: str

    @classmethod
    def from_json(cls, value: Json, n_actions: int) -> "Actions":
        """Reads the JSON object of a manifest; PolicyFileError where it does not describe so many actions."""
        shape, dtype = tuple(_member(value, "shape", list)), _member(value, "dtype", str)
        levels = tuple(tuple(each) if isinstance(each, list) else () for each in _member(value, "levels", list))
        numbers = [number for each in levels for number in each]
        sound = all(type(size) is int and size > 0 for size in shape) and math.prod(shape) == len(levels)
        sound = sound and all(type(number) in (int, float) for number in numbers) and dtype in TAKES
        if not sound or math.prod(map(len, levels)) != n_actions:
            raise PolicyFileError(f"Impossible actions: expected the levels of {n_actions} actions. Got {value}.")
        return cls(levels, shape, dtype)

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        return {"levels": list(map(list, self.levels)), "shape": list(self.shape), "dtype": self.dtype}

    def table(self) -> NDArray[Any]:
        """[A, *shape]: the action of each index."""
        return np.array(list(itertools.product(*self.levels))).astype(self.dtype).reshape(-1, *self.shape)


class Feature(NamedTuple):
    """Numbers of an observation that is a vector: what the environment gives under one key.

    `key` is a Dict's key, or the number of a Tuple's part; of what lies deeper, all of them with / between; "" where there is
    no such thing. `size` numbers in C order. Where `one_hot` is not empty, these are categories, of so many kinds each: each
    becomes so many numbers, 1 for its own and 0 elsewhere, and is counted from `first`, or from 0 where that is empty.
    """

    key: str
    size: int
    one_hot: tuple[int, ...] = ()
    first: tuple[int, ...] = ()

    def __str__(self) -> str:
        key = self.key if self.key.isprintable() else repr(self.key)[1:-1]
        if not self.one_hot:
            return key if self.size == 1 else f"{key} ({self.size} numbers)"
        ranges = [f"one-hot of {first} .. {first + kinds - 1}" for first, kinds in self._categories]
        ranges = ranges if len(ranges) <= 4 else [f"each of {len(ranges)} one-hot"]
        return f"{key} ({self.size} numbers: {', '.join(ranges)})".strip()

    @classmethod
    def from_json(cls, value: Json) -> "Feature":
        """Reads the JSON object of a manifest; PolicyFileError where it describes no numbers."""
        size, one_hot, first = _member(value, "size", int), value.get("one_hot", []), value.get("first", [])
        one_hot = [size] if one_hot is True else one_hot
        lists = all(
            isinstance(each, list) and all(type(n) is int and abs(n) < 2**63 for n in each) for each in (one_hot, first)
        )
        sound = size > 0 and lists and len(first) in (0, len(one_hot)) and all(kinds > 0 for kinds in one_hot)
        if not sound or (one_hot and sum(one_hot) != size):
            raise PolicyFileError(f"Impossible feature: expected a key, a size, and whether it is one-hot. Got {value}.")
        return cls(_member(value, "key", str), size, tuple(one_hot), tuple(first))

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        one_hot = {"one_hot": True if len(self.one_hot) == 1 else list(self.one_hot)} if self.one_hot else {}
        return {"key": self.key, "size": self.size, **one_hot, **({"first": list(self.first)} if self.first else {})}

    def vector(self, observation: object) -> NDArray[Any]:
        """[size]: these numbers of an observation with keys. KeyError: it has no such; ValueError: it has others there."""
        part = np.ravel(_as_array(_under(observation, self.key)))
        count = len(self.one_hot) or self.size
        if part.size != count or part.dtype.kind not in "biuf":
            raise ValueError(
                f"Bad observation: expected {count} number{'s' * (count > 1)} as {self.key!r}. Got {part.tolist()}."
            )
        rows = [part] if not self.one_hot else []
        for category, (first, kinds) in zip(part, self._categories, strict=False):
            row = np.zeros(kinds, np.uint8)
            is_whole = math.isfinite(category) and category == np.rint(category)
            if not is_whole or not 0 <= int(category) - first < kinds:
                expected = f"expected an integer in {first} .. {first + kinds - 1} as {self.key!r}"
                raise ValueError(f"Bad observation: {expected}. Got {category}.")
            row[int(category) - first] = 1
            rows.append(row)
        return np.concatenate(rows)

    @property
    def _categories(self) -> tuple[tuple[int, int], ...]:
        """From what number on each is counted, and its kinds."""
        return tuple(zip(self.first or [0] * len(self.one_hot), self.one_hot, strict=True))


def _as_array(given: object) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"Bad observation: expected an array of numbers. Got {type(given).__name__}: {error}") from error


def _under(observation: object, key: str) -> object:
    """What lies under a feature's key; KeyError where nothing does."""
    if not key:
        return observation
    parts = observation.items() if isinstance(observation, Mapping) else ()
    for head, part in enumerate(observation) if isinstance(observation, (tuple, list)) else parts:
        if key == str(head):
            return part
        if key.startswith(f"{head}/"):
            with suppress(KeyError):  # a key may have a / of its own
                return _under(part, key[len(f"{head}/") :])
    raise KeyError(key)


ATARI, ONE_HOT, FLATTEN, ACTION_MASK = Step("atari"), Step("one_hot"), Step("flatten"), Step("action_mask")


def parse_step(text: object) -> Step:
    """A step of the preprocessing as manifests write it; PolicyFileError for any other text."""
    match = (
        re.fullmatch(r"(atari|one_hot|flatten|action_mask)|frame_stack:([1-9][0-9]{0,3})", text)
        if isinstance(text, str)
        else None
    )
    if match is None:
        raise PolicyFileError(
            f"Unknown preprocessing: expected atari, frame_stack:K, one_hot, flatten or action_mask. Got {text!r}."
        )
    return Step(match[1]) if match[1] else Step("frame_stack", int(match[2]))


def shape_after(shape: tuple[int, ...], steps: Sequence[Step], *, states: int, actions: int = 0) -> tuple[int, ...]:
    """The shape of an observation after the preprocessing.

    Args:
      shape: of an observation as the device gets it; () for the number of a state.
      steps: in the order they are taken.
      states: how many there are, where observations are their numbers.
      actions: how many there are, where the caller says which are legal.
    Raises:
      PolicyFileError: a step is there twice, or impossible for such observations, because none must be skipped in silence.
    """
    if len({step.name for step in steps}) < len(steps):
        raise PolicyFileError(f"Unknown preprocessing: expected each step once. Got {list(map(str, steps))}.")
    for step in steps:
        if step == ONE_HOT and not shape:
            shape = (states,)
        elif step == FLATTEN and shape:
            shape = (math.prod(shape),)
        elif step == ACTION_MASK and len(shape) == 1:
            shape = (shape[0] + actions,)
        elif step.name == "frame_stack" and shape:
            shape = (*shape[:2], step.frames) if len(shape) == 2 else (*shape[:-1], shape[-1] * step.frames)
        elif step != ATARI:
            raise PolicyFileError(f"Unknown preprocessing: expected steps for the shape {list(shape)}. Got {str(step)!r}.")
    _require(shape != (), "Unknown preprocessing: expected one_hot for the number of a state. Got none.")
    return shape


@dataclass(frozen=True, kw_only=True)
class DeviceManifest:
    """What a device must know of a policy: the part of the manifest that is inside the file.

    Attributes:
      env_id: of the environment it was trained in.
      observation_shape: as the environment gives it: [F], [H, W] or [H, W, C]; () for the number of a state.
      observation_dtype: NumPy's name of the dtype the environment gives.
      n_actions: actions are 0 .. n_actions - 1.
      preprocessing: the steps from an observation to what the network takes, before scaling.
      scale: a device feeds x * scale + offset, both steps in float32; for an int8 input then clamped and rounded half to even.
        One for each feature or channel, or one for all. It includes the int8 input tensor's own quantization, divided by its
        step, and so multiplies where TFLite's scales divide.
      offset: likewise, the zero point included.
      meaning: of the output, one of `MEANINGS`.
      recipe: that made the policy.
      actions: the environment's own; None where they are the numbers 0 .. n_actions - 1.
      features: what an observation [F] is made of, in order, where the environment gives it under keys; else empty.
      source: the JSON object it was read from; what else that holds is kept.
    Raises:
      PolicyFileError: a value that no device could use, with what was expected.
    """

    env_id: str
    observation_shape: tuple[int, ...]
    observation_dtype: str
    n_actions: int
    preprocessing: tuple[Step, ...]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    meaning: str
    recipe: str
    actions: Actions | None = None
    features: tuple[Feature, ...] = ()
    source: Json = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not all(type(size) is int and size > 0 for size in [*self.observation_shape, self.n_actions]):
            got = f"shape {list(self.observation_shape)}, n_actions {self.n_actions}"
            raise PolicyFileError(f"Impossible sizes: expected positive integers. Got {got}.")
        channels = self.input_shape(1)[-1]
        for name, values in (("scale", self.scale), ("offset", self.offset)):
            if len(values) not in (1, channels):
                raise PolicyFileError(f"Wrong number of input {name}s: expected 1 or {channels}. Got {len(values)}.")
            if not all(type(v) in (int, float) and abs(v) <= LARGEST_SCALE for v in values):
                raise PolicyFileError(f"Impossible input {name}: expected numbers up to {LARGEST_SCALE:g}. Got {list(values)}.")
        sizes = sum(feature.size for feature in self.features)
        if self.features and self.observation_shape != (sizes,):
            raise PolicyFileError(f"Impossible features: expected {list(self.observation_shape)} numbers. Got {sizes}.")
        _require(self.meaning in MEANINGS, f"Unknown output meaning: expected one of {MEANINGS}. Got {self.meaning!r}.")
        _require(not (self.masked and self.meaning == "action"), "Legal actions need an output to choose from. Got the action.")

    @property
    def masked(self) -> bool:
        """Whether whoever asks says which actions are legal."""
        return ACTION_MASK in self.preprocessing

    @property
    def frame_stack(self) -> int:
        """How many observations the network sees at once."""
        return max((step.frames for step in self.preprocessing), default=1)

    def input_shape(self, size: int) -> tuple[int, ...]:
        """The shape of what the network takes, without the batch, where it takes so many numbers."""
        states = size - self.n_actions * self.masked
        return shape_after(self.observation_shape, self.preprocessing, states=states, actions=self.n_actions)

    @classmethod
    def from_json(cls, value: Json) -> "DeviceManifest":
        """Reads the JSON object of a manifest's device part; PolicyFileError names what is missing or impossible."""
        _check_schema(value, "manifest", TAKEN)
        environment, given, output = (_member(value, key, dict) for key in ("environment", "input", "output"))
        _expect(output.get("tie_break"), "lowest", "Unknown tie-break")
        n_actions = _member(environment, "n_actions", int)
        actions = Actions.from_json(environment["actions"], n_actions) if "actions" in environment else None
        return cls(
            env_id=_member(environment, "id", str),
            observation_shape=tuple(_member(environment, "observation_shape", list)),
            observation_dtype=_member(environment, "observation_dtype", str),
            n_actions=n_actions,
            actions=actions,
            features=tuple(map(Feature.from_json, _member(environment, "features", list) if "features" in environment else [])),
            preprocessing=tuple(map(parse_step, _member(environment, "preprocessing", list))),
            scale=_read_numbers(given, "scale"),
            offset=_read_numbers(given, "offset"),
            meaning=_member(output, "meaning", str),
            recipe=_member(value, "recipe", str),
            source=value,
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object `from_json` reads."""
        old = self.source or {"schema": SCHEMA, "environment": {}, "input": {}, "output": {}}
        environment = {
            "id": self.env_id,
            "observation_shape": list(self.observation_shape),
            "observation_dtype": self.observation_dtype,
            "n_actions": self.n_actions,
            "preprocessing": list(map(str, self.preprocessing)),
        }
        environment |= {"actions": self.actions.to_json()} if self.actions else {}
        environment |= {"features": [feature.to_json() for feature in self.features]} if self.features else {}
        packed = isinstance(old["input"]["scale"], str) if self.source else max(len(self.scale), len(self.offset)) > MANY
        return {
            **old,
            "schema": TAKEN[bool(self.actions or self.masked or packed)],
            "environment": {**old["environment"], **environment},
            "input": {**old["input"], "scale": _written(self.scale, packed), "offset": _written(self.offset, packed)},
            "output": {**old["output"], "meaning": self.meaning, "tie_break": "lowest"},
            "recipe": self.recipe,
        }


class EdgePolicy:
    """A policy behind a TFLite interpreter: observation in, action out. One instance serves one thread.

    Attributes:
      device: the manifest's device part.
      n_actions: actions are 0 .. n_actions - 1.
      output_meaning: "preferences" or "q_values", of which the largest wins, the lowest index among equals; or "action", where
        the file has done that itself.
      input_shape: of what the network takes, without the batch; an observation has been through the preprocessing then.
    """

    def __init__(
        self,
        interpreter: Interpreter,
        device: DeviceManifest,
        model: "TfliteModel | None" = None,
        *,
        twin_of: "TfliteModel | None" = None,
    ) -> None:
        """Wraps an interpreter whose tensors are allocated; `load` makes the arguments from a file.

        Args:
          interpreter: one input [1, ...] and one output [1, A], each float32 or of integers up to 16 bits, which are int8 in
            files with a manifest; or int32 [1], the action.
          device: of the network behind it.
          model: what the interpreter was built from, if `saturated` is to know what a float input meets inside.
          twin_of: the file with integer ends whose twin that is. `device` is its manifest then, and what is scaled, rounded
            and turned back inside the twin is seen by nobody: `preferences` are its integers.
        """
        (source,), (sink,) = interpreter.get_input_details(), interpreter.get_output_details()
        self.device, self._model = device, model
        self.n_actions, self.output_meaning = device.n_actions, device.meaning
        self._feed = np.zeros(source["shape"], source["dtype"])
        self._observation_shape = device.observation_shape
        self._features = device.features
        self._masked, self._mask = device.masked, np.zeros(device.n_actions, np.float32)
        self._own_actions = None if device.actions is None else device.actions.table()  # [A, *shape]
        self.input_shape = device.input_shape(self._feed.size)
        self._frames: deque[NDArray[Any]] = deque(maxlen=device.frame_stack)
        known: dict[str, Callable[[NDArray[Any]], NDArray[Any]]]
        known = {"one_hot": self._one_hot, "frame_stack": self._stack, "flatten": np.ravel, "action_mask": self._with_mask}
        self._steps = [known[step.name] for step in device.preprocessing if step != ATARI]
        scale, offset = (
            np.array(values, np.float32) for values in ([device.scale, device.offset] if twin_of is None else [1, 0])
        )
        self._scaled = bool((scale != 1).any() or (offset != 0).any())
        # Full-size operands: NumPy converts no scalar on each call.
        self._quantized = self._feed.dtype.kind != "f"
        limits = np.iinfo(self._feed.dtype if self._quantized else np.int8)
        self._scale, self._offset, self._lowest, self._highest = (
            np.full(self.input_shape, values, np.float32) for values in (scale, offset, limits.min, limits.max)
        )
        self._feed_view = self._feed.reshape(self.input_shape)  # the same memory, shaped like an observation
        self._real = np.zeros(self.input_shape, np.float32) if self._quantized else self._feed_view
        self._clamped = np.zeros(self.input_shape, np.float32)
        integers = twin_of is not None and twin_of.output.dtype == "int8"
        self._levels = _levels(twin_of.output) if twin_of is not None and integers else None
        self._may_be_nan = sink["dtype"] == np.float32 and not integers
        self._chosen = self.output_meaning == "action"
        # set_tensor and get_tensor each copy once. Per step (8-64-64-4, one thread) writing through tensor() costs as much,
        # since every step must make a new view; only views held for good would save about 1 µs, and the interpreter's
        # public invoke() refuses to run while one exists.
        self._input_index, self._output_index = source["index"], sink["index"]
        self._set, self._invoke, self._get = interpreter.set_tensor, interpreter.invoke, interpreter.get_tensor
        self._native: _NativeStep | None = None

    @classmethod
    def load(cls, path: str | Path, threads: int = 1, *, library: str | Path | None = None) -> "EdgePolicy":
        """Reads a policy file, proves it whole, and builds its interpreter (XNNPACK on).

        Args:
          path: the `.tflite`, or a folder with a `policy.tflite`. Its manifest is the embedded part, else `<stem>.json` beside
            it; both must agree. Where its twin lies there, too, see `find_twin`, the interpreter runs that: the same
            integers in fewer calls through Python. Rows, actions and `device` are those of the file.
          threads: for the interpreter, at least 1.
          library: what a compiler has made of the bundle's `board/policy_native.c`: it steps in place of the interpreter, in
            one call. It is code, and runs. That it is of this file, and gives the rows of the interpreter, is tried first.
        Raises:
          PolicyFileError: the file, its twin or a sidecar is damaged, empty, of a newer schema, or no policy; the file is
            missing; or the library is, or is of another file, or gives other rows.
          RuntimeRefusedError: it is whole, but the runtime does not take it.
        """
        path = Path(path)
        file = read_verified(path / "policy.tflite" if path.is_dir() else path)
        policy = cls.from_file(file, threads, twin=find_twin(file))
        if library is not None:
            policy._step_by(_NativeStep(Path(library), file), Path(library))
        return policy

    @classmethod
    def from_file(cls, file: "VerifiedFile", threads: int = 1, *, twin: "VerifiedFile | None" = None) -> "EdgePolicy":
        """The same of a file that has been read and proven, and its twin. RuntimeRefusedError: the runtime does not take it."""
        runs = twin or file
        try:
            interpreter = Interpreter(model_content=runs.content, num_threads=int(threads))
            interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise RuntimeRefusedError(f"{runs.path} is whole, but this runtime cannot run it: {reason}") from error
        return cls(interpreter, file.device, runs.model, twin_of=file.model if twin else None)

    def __call__(self, observation: Given, mask: ArrayLike | None = None) -> int:
        """The action for one observation: the index of the largest output, the lowest among equals.

        Args:
          observation: one, as the environment gives it: an array shaped as the manifest says, [F] for a vector, or the number
            of a state. Where the manifest names features: those by their keys, as a Dict or a Tuple environment gives them and
            whatever else is there, or one array or list of them in the manifest's order. Where it has `atari`, also the last
            screens of a game, bytes [N, H, W, 3], of which `atari_frame` makes the array. What has been through all of the
            preprocessing, an array of `input_shape`, is taken as it is.
          mask: [A], which actions are legal, of which one is; a policy whose manifest says so needs it.
        Raises:
          ValueError: the shape is wrong, a key is missing, the observation holds a NaN or an infinity, there is no such state,
            or the network computed a NaN, which a file whose output is the action cannot tell.
        """
        if mask is None and not self._masked:
            if self._native is not None:
                return self._native_action(observation, self._native)
            legal = None
        else:
            legal = self._legal(observation, mask)
        row = self._run(observation)
        if self._chosen:
            return row.item()
        action = int(row.argmax()) if legal is None else int(legal[row[0, legal].argmax()])
        if self._may_be_nan and (best := row.item(action)) != best:  # argmax stops at a NaN, so one look finds any
            raise ValueError(f"The policy computed a NaN: expected numbers as {self.output_meaning}. Got {row[0].tolist()}.")
        return action

    def action(self, observation: Given, mask: ArrayLike | None = None) -> NDArray[Any] | float:
        """The environment's own action for one observation: of shape `device.actions.shape`, a torque or a vector for example.
        Where the manifest names none, the index that a call returns. Arguments as in a call.
        """
        index = self(observation, mask)
        if self._own_actions is None:
            return index
        own: NDArray[Any] = self._own_actions[index]
        return own.copy() if own.ndim else own.item()

    def preferences(self, observation: Given, mask: ArrayLike | None = None) -> NDArray[Any]:
        """The output row [A] as the file computes it: int8 steps or float32, NaN included. Arguments as in a call.

        Of a file whose output is the action: int8, 1 there and 0 elsewhere.

        To a frame stack this is one step of the episode, as a call is: ask one or the other.
        """
        if self._masked:
            self._legal(observation, mask)
        row: NDArray[Any] = self._run(observation)[0]  # [A], or the action
        if self._levels is not None:
            return (np.searchsorted(self._levels, row) - 128).astype(np.int8)
        return (np.arange(self.n_actions) == row).astype(np.int8) if self._chosen else row

    def reset(self) -> None:
        """Starts a new episode: forgets the observations of the last one. To be called before each first observation."""
        self._frames.clear()

    @property
    def saturated(self) -> int:
        """How many features of the last observation the integers of the network could not hold, and were clamped.

        Much of that means sensors, or a world, outside what the policy was trained on. Counted are those that round to less
        than the least integer or to more than the greatest; of a file with float input, those that its own QUANTIZE clamps,
        and 0 where it has none in front. An observation that was refused changes nothing. On a microcontroller this is
        `policy_saturated()`.
        """
        if self._native is not None:
            return int(self._native.saturated[0])
        if self._quantized:
            return int(np.count_nonzero(self._real != self._clamped))
        return 0 if self._model is None else clamped_inside(self._model, self._feed)

    def _legal(self, observation: Given, mask: ArrayLike | None) -> NDArray[np.intp]:
        """The indices of the legal actions, ascending, which are remembered for the preprocessing; as `mask` says, or else an
        observation that has been through it."""
        if mask is None and self._masked and not isinstance(observation, (Mapping, tuple)):
            x = _as_array(observation)
            mask = x[-self.n_actions :] if x.shape == self.input_shape else None
        if self._chosen:
            raise ValueError(
                "This file gives the action, so that it cannot be told which are legal: expected no mask. Got one."
            )
        given = np.zeros(0) if mask is None else np.asarray(mask)
        legal = np.flatnonzero(given) if given.shape == (self.n_actions,) else np.zeros(0, np.intp)
        if not legal.size:
            got = "none" if mask is None else f"one of shape {list(given.shape)} with {np.count_nonzero(given)} of them"
            raise ValueError(f"Expected a mask [{self.n_actions}] with a legal action or more. Got {got}.")
        self._mask[:] = 0
        self._mask[legal] = 1
        return legal

    def _step_by(self, native: "_NativeStep", path: Path) -> None:
        """Lets a library step from here on, once it has given the interpreter's rows: on halves, outside, and in between."""
        rng, shape = np.random.default_rng(0), self.input_shape
        scale, offset = (np.array(values, np.float32) for values in (self.device.scale, self.device.offset))
        for i in range(_TRIALS):
            steps = rng.integers(-280, 280, shape) / 2 if i % 2 else rng.uniform(-140, 140, shape)
            x = ((steps - offset) / np.where(scale == 0, 1, scale)).astype(np.float32)
            row = self._run(x)[0] if self._levels is None else np.searchsorted(self._levels, self._run(x)[0]) - 128
            native.step(x)
            _expect(native.row.tolist(), row.tolist(), f"{path} gives another row than the interpreter")
        native.saturated[0] = 0
        self._native, self._levels = native, None

    def _native_action(self, x: Given, native: "_NativeStep") -> int:
        if type(x) is not np.ndarray or x.dtype is not FLOAT32 or x.shape != self.input_shape:
            x = self._preprocess(x)
        action = native.step(x)
        if action < 0:
            _refuse_nan(x)
        return action

    def _run(self, x: Given) -> NDArray[Any]:
        if self._native is not None:
            self._native_action(x, self._native)
            return self._native.row[np.newaxis].copy()
        if type(x) is not np.ndarray or x.dtype is not FLOAT32 or x.shape != self.input_shape:
            x = self._preprocess(x)
        # One dot product is several times cheaper than isfinite().all(). It can overflow on huge but finite numbers, so a
        # second look decides. (vdot, unlike dot, does so without a warning.)
        if math.isfinite(np.vdot(x, x)):
            self._fill(x)
        else:
            _refuse_nan(x)
            with np.errstate(over="ignore"):  # an infinity is what the clamp below is for
                self._fill(x)
        self._set(self._input_index, self._feed)
        self._invoke()
        row: NDArray[Any] = self._get(self._output_index)  # [1, A], a fresh copy
        return row

    def _fill(self, x: NDArray[Any]) -> None:
        # The contract of every target, all in float32: multiply, then add (never fused), round half to even, clamp, cast.
        real = self._real
        if self._scaled:
            np.multiply(x, self._scale, real)
            np.add(real, self._offset, real)
        else:
            real[...] = x
        if self._quantized:
            clamped = self._clamped  # where it differs from `real`, a feature was saturated
            np.rint(real, real)
            np.minimum(real, self._highest, out=clamped)
            np.maximum(clamped, self._lowest, out=clamped)
            self._feed_view[...] = clamped

    def _preprocess(self, observation: Given) -> NDArray[np.float32]:
        """The manifest's steps, as gymnasium's wrappers do them where an agent is trained, and float32 at last."""
        x = _as_array(self._joined(observation) if self._has_keys(observation) else observation)
        if x.dtype.kind not in "biuf":
            raise ValueError(f"Bad observation: expected numbers. Got {x.dtype}.")
        if x.ndim == 4 and ATARI in self.device.preprocessing:
            x = atari_frame(x)
        if x.shape == self._observation_shape:
            for step in self._steps:
                x = step(x)
        elif x.shape != self.input_shape:
            raise ValueError(f"Wrong observation shape: expected {list(self._observation_shape)}. Got {list(x.shape)}.")
        if x.dtype.kind != "f":
            return x.astype(FLOAT32)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes an infinity, which is refused
            return x.astype(FLOAT32, copy=False)

    def _has_keys(self, observation: Given) -> bool:
        """Whether these are the manifest's features by their keys, and no vector yet."""
        if not self._features or isinstance(observation, Mapping):
            return bool(self._features)
        if not self._features[0].key:  # categories alone, without keys
            return _as_array(observation).size == len(self._features[0].one_hot) != self._observation_shape[0]
        # What a Tuple environment gives may well be as long as the vector of it: a tuple is never that vector.
        return isinstance(observation, tuple) and self._features[0].key.partition("/")[0].isdecimal()

    def _joined(self, observation: Given) -> NDArray[Any]:
        found, missing = [], []
        for feature in self._features:
            try:
                found.append(feature.vector(observation))
            except KeyError:
                missing.append(feature.key)
        if missing:
            got = ", ".join(map(str, observation)) if isinstance(observation, Mapping) else "a tuple"
            expected = ", ".join(feature.key for feature in self._features)
            raise ValueError(f"Bad observation: expected {expected}. Got {got or 'none'}; missing: {', '.join(missing)}.")
        return np.concatenate(found)

    def _one_hot(self, state: NDArray[Any]) -> NDArray[np.float32]:
        states = self._feed.size - self.n_actions * self._masked
        if state.dtype.kind not in "iu" or not 0 <= state < states:
            raise ValueError(f"No such state: expected an integer in 0 .. {states - 1}. Got {state}.")
        row = np.zeros(states, np.float32)
        row[state] = 1
        return row

    def _with_mask(self, vector: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([vector, self._mask])

    def _stack(self, frame: NDArray[Any]) -> NDArray[Any]:
        if frame.dtype.kind == "f":
            _refuse_nan(frame)  # here already: it would be remembered
        # A copy, because an environment may write its next observation over this one.
        frame = (frame[:, :, np.newaxis] if frame.ndim == 2 else frame).copy()
        self._frames.extend([frame] * (1 if self._frames else self._frames.maxlen or 1))
        return np.concatenate(self._frames, axis=-1)


def atari_frame(screens: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """What an agent of an Atari game sees, [84, 84]: of the last screens [N, H, W, 3], red, green and blue, gray and made
    smaller, the brighter of each pixel; to the byte what gymnasium's AtariPreprocessing gives of the last two.

    Source: the grays of the Arcade Learning Environment (`ColourPalette.cpp`); OpenCV's `resize` with INTER_AREA, in the order
      in which it sums.
    Raises:
      ValueError: the shape or the dtype is another.
    """
    is_rgb = screens.ndim == 4 and len(screens) > 0 and screens.shape[-1] == 3
    if not is_rgb or min(screens.shape[1:3]) < ATARI_SIDE or screens.dtype != np.uint8:
        expected = f"expected bytes [N, H, W, 3] from {ATARI_SIDE}x{ATARI_SIDE}"
        raise ValueError(f"Wrong screens: {expected}. Got {screens.dtype} {list(screens.shape)}.")
    gray = np.rint(screens @ GRAYS).max(axis=0).astype(np.float32)  # [H, W]
    rows, columns = (_areas(side) for side in gray.shape)
    narrow, small = (np.zeros(shape, np.float32) for shape in ((len(gray), ATARI_SIDE), (ATARI_SIDE, ATARI_SIDE)))
    for where, share in columns:
        narrow += gray[:, where] * share
    for where, share in rows:
        small += narrow[where] * share[:, np.newaxis]
    return np.rint(small).astype(np.uint8)


@lru_cache(maxsize=4)
def _areas(side: int) -> list[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Which pixels of a side lie in each of 84 equal parts, and with what share of the part: the first of each part, the
    second, and so on, each [84]; what is not in a part has no share."""
    size = side / ATARI_SIDE
    starts = np.arange(ATARI_SIDE) * size
    first = np.floor(starts + 1e-3).astype(np.intp)
    parts = []
    for k in range(math.ceil(size) + 1):
        where = first + k
        inside = np.minimum(where + 1, starts + size) - np.maximum(where, starts)
        share = np.where(inside > 1e-3, inside / size, 0).astype(np.float32)
        parts.append((np.minimum(where, side - 1), share))
    return parts


class _NativeStep:
    """A step in a shared library that was made of a policy's own C source.

    Attributes:
      row: int8 [A], of the last step.
      saturated: int32 [1], likewise.
      step: float32 [*input_shape] -> the action; -1 where a number is not finite, with nothing changed.
    """

    def __init__(self, path: Path, file: "VerifiedFile") -> None:
        try:
            library = ctypes.PyDLL(str(path.resolve()))  # it is over before another thread could be let in
            told = ctypes.c_char.in_dll(library, "edgedqn_sha256")
            function = library.edgedqn_step
        except (OSError, ValueError, AttributeError) as error:
            raise PolicyFileError(
                f"{path} cannot be loaded: expected what cc made of policy_native.c. Got: {error}."
            ) from error
        _expect(
            ctypes.string_at(ctypes.addressof(told)).decode("ascii", "replace"), file.file_sha256, f"{path} is of another file"
        )
        feed = np.zeros(file.device.input_shape(math.prod(file.model.input.shape)), np.float32)
        found = np.zeros(4 + file.device.n_actions, np.int8)
        self.saturated, self.row = found[:4].view(np.int32), found[4:]
        function.argtypes, function.restype = [ctypes.c_void_p, ctypes.c_void_p], ctypes.c_int
        given, taken = ctypes.c_void_p(feed.ctypes.data), ctypes.c_void_p(found.ctypes.data)

        def step(x: NDArray[Any]) -> int:
            feed[...] = x
            action: int = function(given, taken)
            return action

        self.step = step


@dataclass(frozen=True, kw_only=True, eq=False)
class VerifiedFile:
    """A policy file whose bytes are what its manifest says, and whose network fits it.

    Attributes:
      path: where it was read.
      model: what it holds.
      device: the manifest's device part, without the digest.
      evidence: the sidecar's evidence; empty without a sidecar.
    """

    path: Path
    model: "TfliteModel"
    device: DeviceManifest
    evidence: Json

    @property
    def content(self) -> bytes:
        """The whole file."""
        return self.model.content

    @cached_property
    def digest(self) -> str | None:
        """`file_digest` in hexadecimal; None where the manifest is in the sidecar alone."""
        return None if find_block(self.content) is None else file_digest(self.content).hex()

    @cached_property
    def file_sha256(self) -> str:
        """SHA-256 of the whole file, in hexadecimal."""
        return sha256(self.content).hexdigest()


def read_verified(path: str | Path) -> VerifiedFile:
    """Reads a `.tflite` and the sidecar beside it, and checks each against the other. Raises as `EdgePolicy.load`."""
    path = Path(path)
    beside = path.with_suffix(".json")
    try:
        content = read_file(path)
        device = read_device_manifest(content)
        evidence: Json = {}
        if beside.exists():
            sidecar = _parse(read_file(beside), beside.name)
            _check_schema(sidecar, beside.name)
            file_sha256 = sha256(content).hexdigest()
            _expect(sidecar.get("file_sha256"), file_sha256, f"{beside.name} is of another file: file_sha256")
            evidence = _member(sidecar, "evidence", dict)
            named = dict(_member(sidecar, "device", dict))
            digest = None if device is None else file_digest(content).hex()
            _expect(named.pop("digest", None), digest, f"{beside.name} and the file disagree: digest")
            device = device or DeviceManifest.from_json(named)
            inside = device.to_json()
            other = sorted(key for key in inside.keys() | named.keys() if inside.get(key) != named.get(key))
            _require(not other, f"{beside.name} and the file disagree: expected one device part. Got two of {other}.")
        if device is None:
            raise PolicyFileError(f"No manifest: expected one inside the file, or {beside.name} beside it. Got neither.")
        model = TfliteModel(content)
        check_structure(model, device)
    except PolicyFileError as error:
        raise PolicyFileError(f"{path}: {error}") from error
    return VerifiedFile(path=path, model=model, device=device, evidence=evidence)


def find_twin(file: VerifiedFile) -> VerifiedFile | None:
    """The file with the very integers of another between float ends: `<stem>-float-io.tflite` in `board/`, or beside it.

    None where there is none, or it was made of another file, as its manifest tells, which has the SHA-256 of the right one.

    Raises:
      PolicyFileError: it is damaged, or of another environment.
    """
    for folder in (file.path.parent / "board", file.path.parent):
        path = folder / f"{file.path.stem}{TWIN}.tflite"
        if path.exists():
            twin = read_verified(path)
            if twin.device.source.get(TWIN_OF) == file.file_sha256:
                _expect(twin.device, replace(file.device, scale=(1.0,), offset=(0.0,)), f"{path}: not of {file.path.name}")
                return twin
    return None


def read_file(path: Path) -> bytes:
    """The bytes of a file that is there and not empty, else PolicyFileError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PolicyFileError(f"Cannot be read: expected a file. Got {type(error).__name__} ({error.strerror}).") from error
    _require(len(content) > 0, f"{path.name} is empty: expected a file of some kilobytes. Got 0 bytes.")
    return content


def read_device_manifest(content: bytes) -> DeviceManifest | None:
    """The manifest's device part inside a whole file, which it proves unchanged; None where the file carries none.

    Raises:
      PolicyFileError: the file was changed, carries several, or one of a newer schema.
    """
    at = find_block(content)
    if at is None:
        return None
    header, most = len(MAGIC) + DIGEST_SIZE, len(content) - at
    stored = content[at + len(MAGIC) : at + header]
    _expect(stored.hex(), file_digest(content).hex(), "The file was changed after its export: SHA-256")
    (size,) = unpack(content, "I", at - 4)  # a flatbuffer writes a vector's length in front of it
    _require(header <= size <= most, f"Bad manifest length: expected {header} .. {most}. Got {size}.")
    return DeviceManifest.from_json(_parse(content[at + header : at + size], "manifest"))


def find_block(content: bytes) -> int | None:
    """The position of the magic, None where there is none; PolicyFileError: there are several, or no digest fits behind it."""
    found = content.count(MAGIC)
    if found == 0:
        return None
    _require(found == 1, f"Ambiguous manifest: expected one {MAGIC.decode()} in the file. Got {found}.")
    at = content.find(MAGIC)
    rest = len(content) - at - len(MAGIC)
    _require(rest >= DIGEST_SIZE, f"The file is cut off: expected {DIGEST_SIZE} bytes of digest. Got {rest}.")
    return at


def file_digest(content: bytes) -> bytes:
    """SHA-256 of the file, its digest's bytes zero: it detects damage, not forgery. PolicyFileError: no block, or several."""
    at = find_block(content)
    if at is None:
        raise PolicyFileError(f"No manifest in the file: expected one {MAGIC.decode()}. Got 0.")
    start = at + len(MAGIC)
    digest = sha256(memoryview(content)[:start])
    digest.update(bytes(DIGEST_SIZE))
    digest.update(memoryview(content)[start + DIGEST_SIZE :])
    return digest.digest()


def check_structure(model: "TfliteModel", device: DeviceManifest) -> None:
    """Stops at a network that does not fit its manifest.

    Raises:
      PolicyFileError: as `check_tensors`, or an operator that is not among `OPERATORS`.
    """
    for code in model.operator_codes:
        if code not in OPERATORS:
            raise PolicyFileError(f"Unknown operator: expected one of {', '.join(OPERATORS.values())}. Got builtin {code}.")
    check_tensors(model, device)


def check_tensors(model: "TfliteModel", device: DeviceManifest) -> None:
    """Stops at tensors that do not fit a manifest.

    Raises:
      PolicyFileError: several inputs or outputs, a batch other than a static 1, wrong sizes or types, or a sparse kernel.
    """
    dense = not any(tensor.is_sparse for tensor in model.tensors)
    _require(dense, "A kernel is sparsely encoded: expected dense ones, because XNNPACK reads past others.")
    for side, tensor in (("input", model.input), ("output", model.output)):
        static = tensor.shape[:1] == (1,) and min(tensor.shape) > 0
        _require(static, f"Bad {side} batch: expected a static batch of 1. Got shape {list(tensor.shape)}.")
        if side == "output" and device.meaning == "action":
            _expect((tensor.dtype, tensor.shape), ("int32", (1,)), "Wrong output, an action")
            continue
        size = math.prod(tensor.shape)
        expected = math.prod(device.input_shape(size)) if side == "input" else device.n_actions
        _expect(size, expected, f"Wrong {side} size")
        known = tensor.dtype in ("int8", "float32")
        _require(known, f"Wrong {side} type: expected int8 or float32. Got {tensor.dtype}.")


class Tensor:
    """What a device must know of a tensor.

    Attributes:
      table: all that the file says of it.
      shape: -1 where a dimension is dynamic.
      dtype: NumPy's name of it; `type N` of one that no policy has.
      is_sparse: only blocks of values are stored, those that are not all zero.
    """

    def __init__(self, table: "Table") -> None:
        kind = table.scalar(1, "b")
        self.table = table
        self.shape: tuple[int, ...] = table.numbers(7, "i") or table.numbers(0, "i")  # field 0 has a 1 in place of a -1
        self.dtype = DTYPES.get(kind, f"type {kind}")
        self.is_sparse = table.table(6) is not None


class TfliteModel:
    """A `.tflite` of one subgraph, as far as a device checks it. A host reads the rest of `root` and `graph`.

    Attributes:
      content: the whole file.
      root: the table of the model.
      graph: that of its subgraph.
      operator_codes: of the kinds of operators, whether or not one of them is in the graph.
      tensors: all of the graph.
      inputs: of the graph, tensors by their index.
      outputs: likewise.
    Raises:
      PolicyFileError: no TFLite file, a damaged one, or not exactly one subgraph.
    Source: tensorflow/lite/schema/schema.fbs; field numbers are its declaration order.
    """

    def __init__(self, content: bytes) -> None:
        _require(content[4:8] == b"TFL3", f"Not a TFLite file: expected the identifier TFL3. Got {content[4:8]!r}.")
        self.content = content
        self.root = Table(content, unpack(content, "I", 0)[0])
        graphs = self.root.tables(2)
        _expect(len(graphs), 1, "Wrong number of subgraphs")
        self.graph = graphs[0]
        # Codes above 127 stand in the newer field; all others may stand in the old int8 one alone.
        self.operator_codes = tuple(max(code.scalar(0, "b"), code.scalar(3, "i")) for code in self.root.tables(1))
        self.tensors = tuple(map(Tensor, self.graph.tables(0)))
        self.inputs: tuple[int, ...] = self.graph.numbers(1, "i")
        self.outputs: tuple[int, ...] = self.graph.numbers(2, "i")

    @property
    def input(self) -> Tensor:
        """The only input; PolicyFileError where there is not exactly one."""
        _expect(len(self.inputs), 1, "Wrong number of inputs")
        return element(self.tensors, self.inputs[0])

    @property
    def output(self) -> Tensor:
        """The only output; PolicyFileError where there is not exactly one."""
        _expect(len(self.outputs), 1, "Wrong number of outputs")
        return element(self.tensors, self.outputs[0])


def element(items: Sequence[T], index: int) -> T:
    """`items[index]`, or PolicyFileError where the file's index leads outside."""
    _require(0 <= index < len(items), f"The file is damaged: expected an index below {len(items)}. Got {index}.")
    return items[index]


def _levels(output: Tensor) -> NDArray[np.float32]:
    """[256], ascending: the real numbers of an int8 output, as DEQUANTIZE computes them."""
    table = output.table.table(4)
    (scale,), (zero_point,) = (table.numbers(2, "f"), table.numbers(3, "q")) if table else ((), ())
    return (np.arange(-128, 128) - zero_point).astype(np.float32) * np.float32(scale)


def clamped_inside(model: TfliteModel, x: NDArray[Any]) -> int:
    """How many numbers of a float input [1, ...] the QUANTIZE in front of a network clamps, behind MUL and ADD or at once.

    0 where anything else comes first; PolicyFileError where the file is damaged.
    """
    at = model.inputs[0]
    for operator in model.graph.tables(3):
        name = OPERATORS.get(element(model.operator_codes, operator.scalar(0, "I")))
        inputs, outputs = operator.numbers(1, "i"), operator.numbers(2, "i")
        if element(inputs, 0) != at or name not in ("MUL", "ADD", "QUANTIZE"):
            return 0
        at = element(outputs, 0)
        with np.errstate(over="ignore"):  # what is infinite is clamped, too
            if name == "QUANTIZE":
                result = element(model.tensors, at)
                limits, quantization = np.iinfo(result.dtype), result.table.table(4)
                if quantization is None:
                    return 0
                steps = np.rint(x / quantization.numbers(2, "f")) + quantization.numbers(3, "q")
                return int(np.count_nonzero((steps < limits.min) | (steps > limits.max)))
            other = _constant(model, element(model.tensors, element(inputs, 1)))
            x = x * other if name == "MUL" else x + other
    return 0


def _constant(model: TfliteModel, tensor: Tensor) -> NDArray[np.float32]:
    """The float32 numbers that a tensor holds, in its shape; PolicyFileError where it holds others, or none."""
    buffers = model.root.numbers(4, "I")
    index = tensor.table.scalar(2, "I")
    data = bytes(Table(model.content, model.root.target(4) + 4 + 4 * index + element(buffers, index)).numbers(0, "B"))
    _expect((tensor.dtype, len(data)), ("float32", 4 * math.prod(tensor.shape)), "Wrong constant")
    return np.frombuffer(data, "<f4").reshape(tensor.shape)


class Table:
    """A flatbuffer table: its vtable says where, or whether, each field stands. Every read is checked against the bounds.

    In all methods `form` is a letter of `struct`, and what is left out reads as 0, None or empty.
    """

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self._at = content, at
        (back,) = unpack(content, "i", at)
        vtable_size, self._size = unpack(content, "HH", at - back)
        if vtable_size < 4 or vtable_size % 2 or at + self._size > len(content):
            raise PolicyFileError(f"The file is damaged: expected a table at {at}. Got sizes {vtable_size} and {self._size}.")
        self._fields = unpack(content, f"{vtable_size // 2 - 2}H", at - back + 4)

    def scalar(self, field: int, form: str) -> int:
        """An integer."""
        offset, size = self._fields[field] if field < len(self._fields) else 0, struct.calcsize(form)
        if offset + size > self._size:
            raise PolicyFileError(f"The file is damaged: expected field {field} within {self._size} bytes. Got it at {offset}.")
        return int(unpack(self.content, form, self._at + offset)[0]) if offset else 0

    def target(self, field: int) -> int:
        """Where what the field refers to begins in the file; 0 where it is left out."""
        distance = self.scalar(field, "I")
        return distance and self._at + self._fields[field] + distance

    def table(self, field: int) -> "Table | None":
        """A table."""
        at = self.target(field)
        return Table(self.content, at) if at else None

    def tables(self, field: int) -> "list[Table]":
        """A vector of tables."""
        first = self.target(field) + 4
        return [Table(self.content, first + 4 * i + offset) for i, offset in enumerate(self.numbers(field, "I"))]

    def numbers(self, field: int, form: str) -> tuple[Any, ...]:
        """A vector of numbers."""
        at = self.target(field)
        return unpack(self.content, f"{unpack(self.content, 'I', at)[0]}{form}", at + 4) if at else ()


def unpack(content: bytes, form: str, at: int) -> tuple[Any, ...]:
    """`struct.unpack_from`, little-endian; PolicyFileError where that leads outside."""
    try:
        if at >= 0:  # Python would count a negative one from the end
            return struct.unpack_from(f"<{form}", content, at)
    except struct.error:
        pass
    raise PolicyFileError(f"The file is damaged: expected <{form} at {at}. Got a file of {len(content)} bytes.")


def _parse(text: bytes, what: str) -> Json:
    try:
        value: Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PolicyFileError(f"Bad {what}: expected JSON. Got {error}.") from error
    return value


def _read_numbers(value: Json, key: str) -> tuple[float, ...]:
    """A list of numbers, or float32 in base64, little-endian."""
    if not isinstance(value.get(key), str):
        return tuple(_member(value, key, list))
    try:
        return tuple(np.frombuffer(base64.b64decode(value[key], validate=True), "<f4").tolist())
    except ValueError as error:
        raise PolicyFileError(f"Bad JSON: expected float32 numbers in base64 as {key!r}. Got: {error}.") from error


def _written(values: tuple[float, ...], packed: bool) -> list[float] | str:
    """What `_read_numbers` reads."""
    return base64.b64encode(np.array(values, "<f4").tobytes()).decode() if packed else list(values)


def _check_schema(value: object, what: str, taken: tuple[int, ...] = (SCHEMA,)) -> None:
    schema = _member(value, "schema", int)
    expected = " or ".join(map(str, taken))
    _require(schema in taken, f"The {what} is of another schema: expected {expected}. Got {schema}.")


def _member(value: object, key: str, kind: type[T]) -> T:
    member = value.get(key) if isinstance(value, dict) else None
    if type(member) is not kind:
        raise PolicyFileError(f"Bad JSON: expected a field {key!r} of type {kind.__name__}. Got {member!r}.")
    return member


def _expect(got: object, expected: object, what: str) -> None:
    _require(got == expected, f"{what}: expected {expected}. Got {got}.")


def _require(holds: bool, text: str) -> None:
    if not holds:
        raise PolicyFileError(text)


def _refuse_nan(observation: NDArray[Any]) -> None:
    bad = np.flatnonzero(~np.isfinite(observation))
    if bad.size:
        raise ValueError(f"Bad observation: expected finite numbers. Got {observation.flat[bad[0]]} at index {bad[0]}.")
