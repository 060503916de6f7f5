"""Weights and bytes of real files."""

import gzip
import sys
import zlib
from pathlib import Path

import pytest

from edgedqn.benchmarks.footprint import weigh
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.export.edge_policy import PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.tflm import arena_bytes

ROW = BenchmarkRow(name="policy", file="policy.tflite")


@pytest.mark.parametrize("name", ["float32", "int8"])
def test_a_known_network(models: Path, name: str) -> None:
    content = (models / f"{name}.tflite").read_bytes()
    found = weigh(ROW, TfliteModel(content))
    assert (found.name, found.size_bytes) == ("policy", len(content))
    assert found.weights == 4 * 8 + 8 * 2  # no biases
    assert found.nonzero_weights == 10 + 2
    assert found.multiply_accumulates == found.weights
    assert found.distinct_values == {"float32": 4, "int8": 3}[name]  # 0, 1, -1 and 0.1, which is the 1 of its own output
    assert found.stripped_bytes is not None and found.stripped_bytes < len(content)
    assert found.arena_bytes == arena_bytes(content) > 500


def test_without_tflite_micro_no_arena_is_known(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    assert weigh(ROW, TfliteModel((models / "int8.tflite").read_bytes())).arena_bytes is None


def test_gzip_is_gzips_best_and_does_not_depend_on_the_time(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (models / "float32.tflite").read_bytes()
    found = weigh(ROW, TfliteModel(content)).gzip_bytes
    monkeypatch.setattr("time.time", lambda: 2e9)
    assert found is not None and weigh(ROW, TfliteModel(content)).gzip_bytes == found
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    assert found == len(deflate.compress(content) + deflate.flush()) + 18  # gzip's header and trailer
    assert found < len(gzip.compress(content, 1, mtime=0)) < len(content)


def test_what_is_no_tflite_has_no_footprint() -> None:
    with pytest.raises(PolicyFileError):
        weigh(ROW, TfliteModel(b"no flatbuffer at all, but long enough to look"))
