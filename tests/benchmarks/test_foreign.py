"""What a file without a manifest says of itself."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.foreign import ForeignFile, is_foreign, read_foreign, refuse_other_kind
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.latency.timed_policies import load
from edgedqn.export import edge_policy
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.reader import rewrite, stripped

# Layers of 24, 24 and 2 on 4 numbers, converted with TensorFlow's defaults: float, and a batch of -1 that is allocated as 1.
CASE = Path(__file__).parent / "default_converter_float.tflite"
MUTANTS = 300


@pytest.fixture(params=["float32", "int8"])
def pair(request: pytest.FixtureRequest, models: Path, tmp_path: Path) -> tuple[Any, Any]:
    """The same file with and without its manifest."""
    known = models / f"{request.param}.tflite"
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(stripped(TfliteModel(known.read_bytes())))
    return known, foreign


def test_it_acts_as_the_same_file_does_with_its_manifest(pair: Any) -> None:
    known, foreign = pair
    policy, other = EdgePolicy.load(known), load(read_foreign(foreign), LatencyConfig())[1]
    observations = np.random.default_rng(0).normal(size=(100, 4)).astype(np.float32)
    assert other.n_actions == policy.n_actions
    assert [other(x) for x in observations] == [policy(x) for x in observations]


def test_a_manifest_inside_or_beside_makes_it_ours(pair: Any, tmp_path: Path) -> None:
    known, foreign = pair
    assert not is_foreign(known)
    assert is_foreign(foreign)
    foreign.with_suffix(".json").write_text("{}")
    assert not is_foreign(foreign)
    assert not is_foreign(tmp_path / "absent.tflite")


@pytest.mark.parametrize("damage", [lambda b: b[:100], lambda b: b"x" * 400, lambda b: b""])
def test_what_is_no_policy_is_refused_by_name(pair: Any, damage: Callable[..., Any], tmp_path: Path) -> None:
    _, foreign = pair
    foreign.write_bytes(damage(foreign.read_bytes()))
    with pytest.raises(PolicyFileError, match=r"foreign\.tflite"):
        read_foreign(foreign)


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match="Cannot be read"):
        read_foreign(tmp_path / "absent.tflite")


def test_a_batch_that_is_allocated_as_one_is_taken_and_another_is_refused(conversions: Path, tmp_path: Path) -> None:
    path = tmp_path / "batch.tflite"
    for source in (conversions / "float.tflite", CASE):
        file = read_foreign(source)
        assert file.model.input.shape == (-1, 4)
        assert (file.device.observation_shape, file.device.n_actions, file.device.env_id) == ((4,), 2, "")

    def eight(parts: Any) -> None:
        graph = parts.subgraphs[0]
        graph.tensors[int(graph.inputs[0])].shape = [8, 4]

    path.write_bytes(rewrite(TfliteModel(CASE.read_bytes()), eight))
    with pytest.raises(
        PolicyFileError, match=r"Bad input batch: expected 1, or -1 that is allocated as 1\. Got shape \[8, 4\]"
    ):
        read_foreign(path)


@pytest.mark.parametrize("ends", ["uint8", "int8", "int16"])
def test_integer_ends_of_any_width_are_taken(conversions: Path, ends: str) -> None:
    file = read_foreign(conversions / f"{ends}.tflite")
    assert (file.model.input.dtype, file.model.output.dtype) == (ends, ends)


def test_other_types_and_impossible_scales_are_refused(
    conversions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.tflite"

    def no_scale(parts: Any) -> None:
        graph = parts.subgraphs[0]
        graph.tensors[int(graph.outputs[0])].quantization.scale = [0.0]

    path.write_bytes(rewrite(TfliteModel((conversions / "int8.tflite").read_bytes()), no_scale))
    with pytest.raises(PolicyFileError, match=r"a\.tflite: Impossible output scale: expected a positive number\. Got 0"):
        read_foreign(path)
    shutil.copy(CASE, path)
    monkeypatch.setitem(edge_policy.DTYPES, 0, "int64")
    with pytest.raises(PolicyFileError, match=r"Wrong input type: expected one of float32, int8, uint8, int16\. Got int64"):
        read_foreign(path)


def test_several_signatures_are_refused(tmp_path: Path) -> None:
    def twice(parts: Any) -> None:
        parts.signatureDefs = [*parts.signatureDefs, *parts.signatureDefs]

    (tmp_path / "a.tflite").write_bytes(rewrite(TfliteModel(CASE.read_bytes()), twice))
    with pytest.raises(PolicyFileError, match=r"Several signatures: expected one network\. Got 2"):
        read_foreign(tmp_path / "a.tflite")


def test_what_is_no_tflite_is_named_with_the_command_that_takes_it(tmp_path: Path) -> None:
    for name in ("a.onnx", "a.pth", "a.keras", "a.h5", "a.zip"):
        refuse_other_kind(tmp_path / name)  # there is none
        (tmp_path / name).touch()
        with pytest.raises(InputError, match=r"expected a \.tflite\. `edgedqn import .* ENV_ID` makes a run of it"):
            refuse_other_kind(tmp_path / name)
    with pytest.raises(InputError, match=r"a\.pkl is a pickle, which may run code.*`edgedqn import module:function ENV_ID`"):
        refuse_other_kind(tmp_path / "a.pkl")
    refuse_other_kind(CASE)


def test_a_scale_is_of_finite_numbers() -> None:
    assert ForeignFile("a.tflite", (0.5, 1)).scale == ForeignFile("a.tflite", np.array([0.5, 1])).scale == (0.5, 1)  # type: ignore[arg-type]
    for scale in ((), (float("nan"),), (1.0, float("inf"))):
        with pytest.raises(InputError, match="A scale is a finite number for each feature"):
            ForeignFile("a.tflite", scale)


# A process of its own, within the limits of `bench`: what a converter wrote and something changed is read or refused.
ATTACK = """
import json, random, sys
from pathlib import Path
from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.benchmarks.feeding import fed
from edgedqn.benchmarks.foreign import read_foreign
from edgedqn.export.edge_policy import PolicyFileError
from edgedqn.export.tflite_file.inspection import inspect
from edgedqn.pipeline.native import limit_memory

limit_memory()
content, mutant = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
rng, source = random.Random(30), EnvironmentSource("CartPole-v1")
env = make_environment(source)
counts = {"taken": 0, "refused": 0}
for number in range(int(sys.argv[3])):
    changed = bytearray(content)
    if number % 3 == 0:
        changed = changed[: rng.randrange(len(content))]
    elif number % 3 == 1:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
    else:
        at = rng.randrange(len(changed) - 4)
        changed[at : at + 4] = rng.choice([bytes(4), b"\\xff" * 4, b"\\x7f" * 4, rng.randbytes(4)])
    mutant.write_bytes(changed)
    for look in (inspect, lambda path: fed(read_foreign(path), env, source=source)):
        try:
            look(mutant)
            counts["taken"] += 1
        except (PolicyFileError, InputError) as error:
            assert str(mutant) in str(error) and "\\n" not in str(error), error
            counts["refused"] += 1
print(json.dumps(counts))
"""


def test_no_mutant_of_a_plain_conversion_crashes_or_hangs(tmp_path: Path) -> None:
    arguments = [str(CASE), str(tmp_path / "mutant.tflite"), str(MUTANTS)]
    answer = subprocess.run(
        [sys.executable, "-c", ATTACK, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    counts = json.loads(answer.stdout)
    assert counts["taken"] + counts["refused"] == 2 * MUTANTS
    assert counts["refused"] > MUTANTS // 3  # each that was cut off, and more
