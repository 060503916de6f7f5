"""The peers compute the network they are compared on; what the clock says is never asserted."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.peers import inference
from edgedqn.benchmarks.peers.inference import BASELINE, compare, main, sides

SAMPLES = np.random.default_rng(1).standard_normal((64, 5), np.float32)
NAMES = {
    "Keras predict()",
    "Keras call",
    "tf.function",
    "PyTorch",
    "ONNX Runtime float32",
    "ONNX Runtime int8",
    "LiteRT float32",
    "LiteRT int8",
}


@pytest.fixture(scope="module", autouse=True)
def peers() -> None:
    for name in inference.NEEDED:
        pytest.importorskip(name)


def test_all_compute_the_same_network() -> None:
    calls = sides(5, (16, 8), actions=3, samples=SAMPLES)
    assert set(calls) == NAMES
    values = {name: np.concatenate([call(x[np.newaxis]) for x in SAMPLES]) for name, call in calls.items()}
    spread = np.ptp(values[BASELINE])
    for name, found in values.items():
        assert found.shape == (64, 3)
        np.testing.assert_allclose(found, values[BASELINE], atol=spread * (0.06 if "int8" in name else 1e-5), err_msg=name)


def test_each_has_its_row_and_the_baseline_is_as_fast_as_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = LatencyConfig(blocks=2, invokes_per_block=2, patience_s=0, warm_up_blocks=2)
    monkeypatch.setattr(inference, "compare", lambda *network, actions: compare(*network, actions=actions, config=quick))
    main(["--inputs", "5", "--hidden", "8", "--actions", "2", "--json", str(tmp_path / "found.json")])
    assert {line[:22].strip() for line in capsys.readouterr().out.splitlines()} == NAMES
    found = json.loads((tmp_path / "found.json").read_text())
    assert set(found["rows"]) == NAMES and found["rows"][BASELINE]["speedup"]["median"] == 1.0
    assert found["network"] == {"inputs": 5, "hidden": [8], "actions": 2}


def test_without_a_runtime_its_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(inference, "NEEDED", {"no_such_runtime": "peers"})
    with pytest.raises(InputError, match="extras peers"):
        compare(5, (8,), actions=2)
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().err.count("\n") == 1
