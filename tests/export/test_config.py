"""Which ways of writing a file there are."""

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.config import ExportConfig


def test_unknown_values_are_refused() -> None:
    with pytest.raises(InputError, match=r"Expected a manifest 'embedded' or 'beside'\. Got 'elsewhere'"):
        ExportConfig(manifest="elsewhere")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"Expected an output 'preferences', 'q_values' or 'action'\. Got 'values'"):
        ExportConfig(output="values")  # type: ignore[arg-type]


def test_no_file_calls_preferences_values() -> None:
    ExportConfig(output="q_values").check("q_values")
    for output in ("preferences", "action"):
        ExportConfig(output=output).check("preferences")
    with pytest.raises(InputError, match=r"preferences, which rank actions and are no values.*Got output='q_values'"):
        ExportConfig(output="q_values").check("preferences")


def test_sparse_kernels_are_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"XNNPACK reads past their end.*Expected sparse=False\. Got True"):
        ExportConfig(sparse=True)


def test_the_options_are_what_differs_from_the_defaults() -> None:
    assert ExportConfig().options() == []
    assert ExportConfig(True, "beside", float_io=True, output="action").options() == [
        "--strip", "--manifest beside", "--float-io", "--output action",
    ]  # fmt: skip


def test_the_baseline_says_how_far_apart_its_actions_are() -> None:
    assert ExportConfig(True, "beside", True, "action").of_baseline() == ExportConfig(True, "beside", True)
