"""What `doctor` tries works where everything is installed."""

import pytest

from edgedqn.compression import tfmot
from edgedqn.pipeline.commands.trial import export_tiny_policy


def test_a_tiny_policy_goes_through_tfmot_and_the_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    made, quantize = [], tfmot.quantization_aware
    monkeypatch.setattr(tfmot, "quantization_aware", lambda *arguments: made.append(1) or quantize(*arguments))
    export_tiny_policy()
    assert made
