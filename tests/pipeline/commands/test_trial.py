"""What `doctor` tries works where everything is installed."""

from typing import Any

import pytest

from edgedqn.compression.tfmot import fake_quantization
from edgedqn.pipeline.commands.trial import export_tiny_policy


def test_a_tiny_policy_goes_through_tfmot_and_the_converter(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    quantize = fake_quantization.quantization_aware

    def counted(*arguments: Any) -> Any:
        made.append(1)
        return quantize(*arguments)

    monkeypatch.setattr(fake_quantization, "quantization_aware", counted)
    export_tiny_policy()
    assert made
