import dataclasses
import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from edgedqn.export import edge_policy
from edgedqn.export.edge_policy import (
    MAGIC,
    DeviceManifest,
    EdgePolicy,
    PolicyFileError,
    TfliteModel,
    check_structure,
    file_digest,
    read_device_manifest,
    read_verified,
)
from edgedqn.export.tflite_file.manifest import write_policy
from edgedqn.export.tflite_file.reader import rewrite
from edgedqn.export.tflite_file.rewriting import float_twin


@pytest.fixture
def no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever builds an interpreter fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("an interpreter was built for a file that should have been refused")

    monkeypatch.setattr(edge_policy, "Interpreter", refuse)


def load(folder: Path, content: bytes) -> EdgePolicy:
    path = folder / "lone.tflite"
    path.write_bytes(content)
    return EdgePolicy.load(path)


class Recorder:
    """Stands where an interpreter stands: keeps what it is fed, answers a given row."""

    def __init__(self, features: int, dtype: Any, answer: NDArray[Any]) -> None:
        self.fed: NDArray[Any] = np.zeros(0)
        self.set_tensor = lambda index, value: setattr(self, "fed", value.copy())
        self.invoke = lambda: None
        self.get_tensor = lambda index: answer[None].copy()
        self.get_input_details = lambda: [{"index": 0, "shape": np.array([1, features]), "dtype": dtype}]
        self.get_output_details = lambda: [{"index": 1, "dtype": answer.dtype}]


def recorded(
    scale: list[float], offset: list[float], dtype: Any = np.int8, answer: Any = (0, 1)
) -> tuple[EdgePolicy, Recorder]:
    answers = np.asarray(answer)
    device = DeviceManifest(
        env_id="Test-v0",
        observation_shape=(len(scale),),
        observation_dtype="float32",
        n_actions=len(answers),
        preprocessing=(),
        scale=tuple(scale),
        offset=tuple(offset),
        meaning="preferences",
        recipe="test",
    )
    recorder = Recorder(len(scale), dtype, answers)
    return EdgePolicy(recorder, device), recorder


def integer_forward(content: bytes, q: NDArray[np.int8]) -> NDArray[np.int64]:
    """The int8 network written out: int32 sums, one float32 scale per output channel, round half to even. [4] -> [2]."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    by_shape = {tuple(d["shape"]): d for d in interpreter.get_tensor_details() if d["name"]}
    assert [len(shape) for shape in by_shape].count(2) == 5  # two kernels, three activations

    def parameters(shape: tuple[int, ...]) -> tuple[NDArray[np.float32], int]:
        quantization = by_shape[shape]["quantization_parameters"]
        return quantization["scales"], int(quantization["zero_points"][0])

    x: NDArray[Any] = q
    for n_in, n_out, relu in ((4, 16, True), (16, 2, False)):
        kernel = interpreter.get_tensor(by_shape[n_out, n_in]["index"]).astype(np.int64)
        bias = interpreter.get_tensor(by_shape[(n_out,)]["index"]).astype(np.int64)
        (in_scale, in_zero), (out_scale, out_zero) = parameters((1, n_in)), parameters((1, n_out))
        sums = kernel @ (x.astype(np.int64) - in_zero) + bias  # [n_out]
        factor = (in_scale * parameters((n_out, n_in))[0] / out_scale).astype(np.float32)
        y = np.rint(sums.astype(np.float32) * factor).astype(np.int64) + out_zero
        x = np.clip(y, out_zero if relu else -128, 127)
    return x


def test_int8_preferences_equal_the_written_out_integer_network(int8_file: Path, int8_policy: bytes) -> None:
    policy = EdgePolicy.load(int8_file)
    scale, offset = np.array(policy.device.scale, np.float32), np.array(policy.device.offset, np.float32)
    observations = np.random.default_rng(3).normal(0, 1.2, (300, 4)).astype(np.float32)
    differences = []
    for observation in observations:
        q = np.rint(np.clip(observation * scale + offset, -128, 127)).astype(np.int8)
        row = policy.preferences(observation)
        assert row.dtype == np.int8
        assert row.shape == (2,)
        assert policy(observation) == int(np.argmax(row))
        differences.append(np.abs(row - integer_forward(int8_policy, q)).max())
    # A float32 product may fall on the other side of a half; more than that is another network.
    assert max(differences) <= 1
    assert np.mean(np.array(differences) == 0) > 0.98


def test_float_preferences_equal_the_float_network(tmp_path: Path, float_policy: bytes, network: Any) -> None:
    policy = load(tmp_path, float_policy)
    w1, b1, w2, b2 = network.weights
    for observation in np.random.default_rng(4).normal(size=(100, 4)).astype(np.float32):
        expected = np.maximum(observation @ w1 + b1, 0) @ w2 + b2
        np.testing.assert_allclose(policy.preferences(observation), expected, rtol=1e-5, atol=1e-5)
        assert policy(observation) == int(np.argmax(expected))


def test_attributes(int8_file: Path) -> None:
    policy = EdgePolicy.load(str(int8_file), threads=2)
    assert (policy.n_actions, policy.output_meaning, policy.device.recipe) == (2, "preferences", "test")
    policy.reset()


def test_preferences_keep_their_values_over_the_next_step(int8_file: Path) -> None:
    policy = EdgePolicy.load(int8_file)
    first = policy.preferences(np.full(4, 2, np.float32))
    kept = first.copy()
    assert (policy.preferences(np.full(4, -2, np.float32)) != kept).any()
    np.testing.assert_array_equal(first, kept)


# --- the input contract -----------------------------------------------------------------------------------------------------


def test_every_half_rounds_to_even() -> None:
    policy, recorder = recorded([1.0], [0.0])
    for low in range(-128, 127):
        policy(np.array([low + 0.5], np.float32))
        assert recorder.fed.dtype == np.int8
        assert recorder.fed.item() == (low if low % 2 == 0 else low + 1)


def test_clamps_before_rounding() -> None:
    policy, recorder = recorded([1.0] * 5, [0.0] * 5)
    policy(np.array([-1e30, -128.5, 127.49, 127.5, 3e38], np.float32))
    assert recorder.fed.tolist() == [[-128, -128, 127, 127, 127]]


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(max_examples=400, deadline=None)
@given(finite, st.floats(-(2.0**59), 2.0**59, width=32), st.floats(-200, 200, width=32))
def test_quantization_is_multiply_then_add_in_float32(value: float, scale: float, offset: float) -> None:
    policy, recorder = recorded([scale], [offset])
    policy(np.array([value], np.float32))
    # float32 products and sums of float32 numbers, rounded once each from float64: exact for the product.
    with np.errstate(over="ignore"):
        product = np.float64(np.float32(np.float64(value) * np.float64(scale)))
        total = np.float64(np.float32(product + np.float64(np.float32(offset))))
    assert recorder.fed.item() == int(np.rint(min(max(total, -128.0), 127.0)))


def test_float_input_is_scaled_but_neither_clamped_nor_rounded() -> None:
    policy, recorder = recorded([0.1, 3.0], [0.25, -1.0], np.float32)
    policy(np.array([1000.3, 0.5], np.float32))
    expected = np.array([1000.3, 0.5], np.float32) * np.array([0.1, 3.0], np.float32) + np.array([0.25, -1.0], np.float32)
    np.testing.assert_array_equal(recorder.fed[0], expected)
    policy, recorder = recorded([1.0, 1.0], [0.0, 0.0], np.float32)
    policy(np.array([1000.3, -7], np.float32))
    np.testing.assert_array_equal(recorder.fed[0], np.array([1000.3, -7], np.float32))


def test_one_scale_serves_all_features_of_any_shape(int8_policy: bytes) -> None:
    device = read_device_manifest(int8_policy)
    assert device is not None
    device = dataclasses.replace(device, observation_shape=(2, 2), scale=(2.0,), offset=(1.0,))
    recorder = Recorder(4, np.int8, np.array([0, 1]))
    EdgePolicy(recorder, device)(np.array([[1, 2], [3, 4]], np.float32))
    assert recorder.fed.tolist() == [[3, 5, 7, 9]]


@pytest.mark.parametrize("observation", [[1, -2, 3, 0.5], (1.0, -2.0, 3.0, 0.5), np.array([1, -2, 3, 0.5])])
def test_takes_other_numbers_as_float32(int8_file: Path, observation: Any) -> None:
    policy = EdgePolicy.load(int8_file)
    expected = policy.preferences(np.array([1, -2, 3, 0.5], np.float32))
    np.testing.assert_array_equal(policy.preferences(observation), expected)
    strided = np.repeat(np.asarray(observation, np.float32), 2)[::2]
    np.testing.assert_array_equal(policy.preferences(strided), expected)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e39])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_refuses_an_observation_that_is_not_finite(int8_file: Path, bad: float, dtype: Any) -> None:
    policy = EdgePolicy.load(int8_file)
    with np.errstate(over="ignore"):
        observation = np.array([0, 0, bad, 0]).astype(dtype)
    for ask in (policy, policy.preferences):
        with pytest.raises(ValueError, match=r"expected finite numbers\. Got -?(nan|inf) at index 2\.$"):
            ask(observation)


@pytest.mark.parametrize("observation", [np.zeros(3), np.zeros((1, 4)), np.float32(0), np.zeros(0)])
def test_refuses_a_wrong_shape(int8_file: Path, observation: Any) -> None:
    with pytest.raises(ValueError, match=r"shape: expected \[4\]\. Got \["):
        EdgePolicy.load(int8_file)(observation)


@pytest.mark.parametrize("observation", [None, "abcd", [1, 2, [3], 4], np.zeros(4, complex)])
def test_refuses_what_is_no_number(int8_file: Path, observation: Any) -> None:
    with pytest.raises(ValueError):
        EdgePolicy.load(int8_file)(observation)


@pytest.mark.parametrize(("row", "action"), [((3, 7, 7, 1), 1), ((5, 5, 5, 5), 0), ((-128, -128, 127, 127), 2)])
@pytest.mark.parametrize("dtype", [np.int8, np.float32])
def test_the_lowest_index_wins_a_tie(row: tuple[int, ...], action: int, dtype: Any) -> None:
    policy, _ = recorded([1.0], [0.0], answer=np.array(row, dtype))
    assert policy(np.zeros(1, np.float32)) == action
    assert type(policy(np.zeros(1, np.float32))) is int


def test_a_computed_nan_stops_the_run() -> None:
    policy, _ = recorded([1.0], [0.0], np.float32, np.array([1, np.nan, 2], np.float32))
    with pytest.raises(ValueError, match="computed a NaN"):
        policy(np.zeros(1, np.float32))


# --- what is refused before the interpreter sees it ---------------------------------------------------------------------------


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_every_kind_of_truncation(tmp_path: Path, int8_policy: bytes) -> None:
    at = int8_policy.index(MAGIC)
    lengths = {*range(9), *range(at - 5, at + 45), *range(0, len(int8_policy), 37), len(int8_policy) - 1}
    for length in sorted(lengths):
        with pytest.raises(PolicyFileError, match=r"expected .*Got"):
            load(tmp_path, int8_policy[:length])


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize("sidecar", [False, True])
def test_refuses_every_flipped_byte(int8_file: Path, int8_policy: bytes, sidecar: bool) -> None:
    if not sidecar:
        int8_file.with_suffix(".json").unlink()
    rng = np.random.default_rng(5)
    at = int8_policy.index(MAGIC)
    places = [*range(at - 4, at + 44), *rng.integers(0, len(int8_policy), 300).tolist()]
    for place in places:
        damaged = bytearray(int8_policy)
        damaged[place] ^= int(rng.integers(1, 256))
        int8_file.write_bytes(damaged)
        with pytest.raises(PolicyFileError):
            EdgePolicy.load(int8_file)


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize("extra", [b"\0", b"x" * 100, MAGIC])
def test_refuses_a_grown_file(tmp_path: Path, int8_policy: bytes, extra: bytes) -> None:
    with pytest.raises(PolicyFileError):
        load(tmp_path, int8_policy + extra)


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_two_manifests(tmp_path: Path, int8_policy: bytes) -> None:
    with pytest.raises(PolicyFileError, match=r"expected one EDGEDQN1 in the file\. Got 2\."):
        load(tmp_path, int8_policy + int8_policy)


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_what_is_missing_empty_or_a_directory(tmp_path: Path) -> None:
    for path, words in ((tmp_path / "none.tflite", "FileNotFoundError"), (tmp_path, "FileNotFoundError")):
        with pytest.raises(PolicyFileError, match=words) as caught:
            EdgePolicy.load(path)
        assert str(path) in str(caught.value)
    with pytest.raises(PolicyFileError, match="is empty"):
        load(tmp_path, b"")


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_a_file_without_any_manifest(tmp_path: Path, network: Any) -> None:
    with pytest.raises(PolicyFileError, match=r"expected one inside the file, or lone\.json beside it\. Got neither"):
        load(tmp_path, network.int8)


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_a_newer_schema(
    tmp_path: Path, int8_file: Path, network: Any, embed_unchecked: Callable[[bytes, Any], bytes]
) -> None:
    device = read_device_manifest(int8_file.read_bytes())
    assert device is not None
    with pytest.raises(PolicyFileError, match=r"expected 1 or 2\. Got 3\."):
        load(tmp_path, embed_unchecked(network.int8, {**device.to_json(), "schema": 3}))
    sidecar = int8_file.with_suffix(".json")
    sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "schema": 3}))
    with pytest.raises(PolicyFileError, match=r"policy\.json is of another schema: expected 1\. Got 3\."):
        EdgePolicy.load(int8_file)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(device: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for parent in parents:
            device = device[parent]
        device[last] = value

    return change


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize(
    "change",
    [
        _set("environment", None),
        _set("environment.id", 3),
        _set("environment.observation_shape", []),
        _set("environment.observation_shape", [4, 0]),
        _set("environment.observation_shape", [5]),
        _set("environment.observation_shape", [True]),
        _set("environment.n_actions", 3),
        _set("environment.n_actions", "2"),
        _set("environment.preprocessing", ["one_hot"]),
        _set("environment.preprocessing", ["frame_stack:2"]),
        _set("environment.preprocessing", ["sharpen"]),
        _set("environment.preprocessing", None),
        _set("input.scale", [1.0, 2.0]),
        _set("input.scale", ["1", "1", "1", "1"]),
        _set("input.scale", [1e19]),
        _set("input.offset", [float("nan")]),
        _set("output.meaning", "action"),
        _set("output.tie_break", "random"),
        _set("recipe", None),
        _set("schema", "1"),
    ],
)
def test_refuses_a_manifest_it_cannot_play(
    tmp_path: Path,
    network: Any,
    int8_policy: bytes,
    embed_unchecked: Callable[[bytes, Any], bytes],
    change: Callable[[dict[str, Any]], None],
) -> None:
    manifest = read_device_manifest(int8_policy)
    assert manifest is not None
    device = manifest.to_json()
    change(device)
    with pytest.raises(PolicyFileError, match="xpected"):
        load(tmp_path, embed_unchecked(network.int8, device))


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_a_manifest_that_is_no_object(
    tmp_path: Path, network: Any, embed_unchecked: Callable[[bytes, Any], bytes]
) -> None:
    values: tuple[Any, ...] = ([], 1, None, "text")
    for value in values:
        with pytest.raises(PolicyFileError):
            load(tmp_path, embed_unchecked(network.int8, value))


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_set("file_sha256", "0" * 64), "policy.json is of another file"),
        (_set("device.digest", "0" * 64), "disagree: digest"),
        (_set("device.recipe", "another"), r"expected one device part. Got two of \['recipe'\]"),
        (_set("device.extra", 1), r"Got two of \['extra'\]"),
        (_set("device", None), "'device'"),
        (_set("evidence", None), "'evidence'"),
    ],
)
def test_refuses_a_sidecar_that_disagrees(int8_file: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    sidecar = int8_file.with_suffix(".json")
    value = json.loads(sidecar.read_text())
    change(value)
    sidecar.write_text(json.dumps(value))
    with pytest.raises(PolicyFileError, match=words):
        EdgePolicy.load(int8_file)


def test_what_a_newer_version_wrote_beside_is_kept(
    tmp_path: Path, network: Any, device_for: Any, embed_unchecked: Callable[[bytes, Any], bytes]
) -> None:
    device = device_for(network.int8).to_json()
    device["later"], device["environment"]["also"] = [1], {"x": 2}
    path = tmp_path / "policy.tflite"
    path.write_bytes(embed_unchecked(network.int8, device))
    file = read_verified(path)
    assert file.device == device_for(network.int8) and file.device.to_json() == device
    write_policy(path, path.read_bytes(), device=file.device, evidence={})
    assert read_verified(path).device.to_json() == device


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe\xff", b"[" * 100_000])
def test_refuses_a_broken_sidecar(int8_file: Path, text: bytes) -> None:
    int8_file.with_suffix(".json").write_bytes(text)
    with pytest.raises(PolicyFileError):
        EdgePolicy.load(int8_file)


@pytest.mark.usefixtures("no_interpreter")
def test_refuses_the_sidecar_of_another_policy(int8_file: Path, float_policy: bytes) -> None:
    int8_file.write_bytes(float_policy)
    with pytest.raises(PolicyFileError, match="of another file"):
        EdgePolicy.load(int8_file)


def test_takes_the_manifest_from_the_sidecar_of_a_file_without_one(tmp_path: Path, network: Any, int8_file: Path) -> None:
    path = tmp_path / "plain.tflite"
    path.write_bytes(network.int8)
    sidecar = json.loads(int8_file.with_suffix(".json").read_text())
    sidecar["file_sha256"] = hashlib.sha256(network.int8).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    with pytest.raises(PolicyFileError, match="digest"):  # it promises a digest that the file does not have
        EdgePolicy.load(path)
    del sidecar["device"]["digest"]
    path.with_suffix(".json").write_text(json.dumps(sidecar))
    observation = np.array([1, -2, 3, 0.5], np.float32)
    np.testing.assert_array_equal(
        EdgePolicy.load(path).preferences(observation), EdgePolicy.load(int8_file).preferences(observation)
    )


def test_digest_is_over_the_file_with_its_own_bytes_zero(int8_policy: bytes) -> None:
    start = int8_policy.index(MAGIC) + 8
    zeroed = int8_policy[:start] + bytes(32) + int8_policy[start + 32 :]
    assert hashlib.sha256(zeroed).digest() == file_digest(int8_policy) == int8_policy[start : start + 32]


# --- the walk over a file nobody vouches for ---------------------------------------------------------------------------------


def test_the_walk_over_damaged_bytes_ends_in_one_exception_only(int8_policy: bytes) -> None:
    device = read_device_manifest(int8_policy)
    assert device is not None
    rng = np.random.default_rng(6)
    refused = 0
    for _ in range(2000):
        damaged = bytearray(int8_policy)
        for place in rng.integers(0, len(damaged), int(rng.integers(1, 6))):
            damaged[place] = int(rng.choice([0, 1, 127, 128, 255, int(rng.integers(256))]))
        try:
            check_structure(TfliteModel(bytes(damaged[: int(rng.integers(1, len(damaged) + 1))])), device)
        except PolicyFileError:
            refused += 1
    assert refused > 200


def test_refuses_a_dynamic_batch(int8_policy: bytes) -> None:
    import tensorflow as tf
    import tf_keras

    model = tf_keras.Sequential([tf_keras.layers.Dense(2, input_shape=(4,))])
    content = tf.lite.TFLiteConverter.from_keras_model(model).convert()
    device = read_device_manifest(int8_policy)
    assert device is not None
    with pytest.raises(PolicyFileError, match=r"static batch of 1\. Got shape \[-1, 4\]"):
        check_structure(TfliteModel(content), device)


# --- one file, alone ---------------------------------------------------------------------------------------------------------


def test_runs_as_a_lone_file_without_tensorflow_and_without_us(tmp_path: Path, int8_file: Path) -> None:
    shutil.copy(edge_policy.__file__, tmp_path / "edge_policy.py")
    observation = [1, -2, 3, 0.5]
    script = (
        "import sys\n"
        "for name in ('tensorflow', 'tf_keras', 'edgedqn', 'gymnasium'): sys.modules[name] = None\n"
        "from edge_policy import EdgePolicy\n"
        f"print(EdgePolicy.load('policy.tflite').preferences({observation}).tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == EdgePolicy.load(int8_file).preferences(np.array(observation)).tolist()


@pytest.mark.parametrize("operator", [32, 93, 125], ids=["custom", "another", "while"])
def test_an_operator_that_no_policy_has_is_refused(
    tmp_path: Path, network: Any, device_for: Any, embed_unchecked: Any, no_interpreter: None, operator: int
) -> None:
    def change(model: Any) -> None:
        model.operatorCodes[0].builtinCode = model.operatorCodes[0].deprecatedBuiltinCode = operator

    content = embed_unchecked(rewrite(TfliteModel(network.int8), change), device_for(network.int8).to_json())
    with pytest.raises(PolicyFileError, match=f"expected one of ADD, CONV_2D, .*Got builtin {operator}"):
        load(tmp_path, content)


def test_a_sparse_kernel_is_refused(
    tmp_path: Path, network: Any, device_for: Any, embed_unchecked: Any, no_interpreter: None
) -> None:
    from ai_edge_litert import schema_py_generated as schema

    def change(model: Any) -> None:
        model.subgraphs[0].tensors[1].sparsity = schema.SparsityParametersT(traversalOrder=np.array([0, 1], np.int32))

    with pytest.raises(PolicyFileError, match="sparsely encoded: expected dense ones"):
        load(tmp_path, embed_unchecked(rewrite(TfliteModel(network.int8), change), device_for(network.int8).to_json()))


@pytest.mark.parametrize("without", [(), ("_sha2", "_sha256")], ids=["CPython's own", "hashlib"])
def test_either_sha_256_proves_a_file(int8_file: Path, without: tuple[str, ...]) -> None:
    """OpenSSL, which hashlib loads, is a tenth of the memory of a process that has a policy."""
    code = (
        f"import sys; sys.path.insert(0, {str(Path(edge_policy.__file__).parent)!r})\n"
        f"for name in {without}: sys.modules[name] = None\n"
        "from edge_policy import read_verified\n"
        "print(read_verified(sys.argv[1]).file_sha256, '_hashlib' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code, int8_file], capture_output=True, text=True, check=True).stdout.split()
    assert told == [hashlib.sha256(int8_file.read_bytes()).hexdigest(), str(bool(without))]


def test_counts_the_features_that_its_integers_could_not_hold() -> None:
    policy, _ = recorded([1.0, 2.0, -1.0, 1.0], [0.0, 0.0, 0.0, 100.0])
    for observation, expected in (
        ([127.4, 0, 0, 0], 0),
        ([127.5, 0, 0, 0], 1),  # rounds to 128
        ([-128.5, 0, 0, 0], 0),  # to -128
        ([-128.6, 64, 129, 28], 4),
        ([3e38, 3e38, 3e38, -3e38], 4),
    ):
        policy(np.array(observation, np.float32))
        assert policy.saturated == expected
    with pytest.raises(ValueError):
        policy(np.array([np.nan, 0, 0, 0], np.float32))
    assert policy.saturated == 4


def test_a_file_with_float_ends_counts_what_its_own_rounding_clamps(
    tmp_path: Path, int8_file: Path, float_policy: bytes
) -> None:
    file = read_verified(int8_file)
    content, _ = float_twin(file.model, file.device)
    twin, policy = load(tmp_path, content), EdgePolicy.load(int8_file)
    counts = set()
    for observation in np.random.default_rng(3).normal(0, 4, (100, 4)).astype(np.float32):
        assert twin(observation) == policy(observation)
        assert twin.saturated == policy.saturated
        counts.add(twin.saturated)
    assert len(counts) > 2
    alone = load(tmp_path, float_policy)
    alone(np.full(4, 1e9, np.float32))
    assert alone.saturated == 0  # nothing in it rounds
