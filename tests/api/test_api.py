"""The front door: what `import edgedqn` gives, and what it costs."""

import subprocess
import sys

import pytest

import edgedqn

PUBLIC = (
    *("RECIPES", "EdgePolicy", "ExportConfig", "Gate", "InputError", "LatencyConfig", "PolicyFileError", "QLearningConfig"),
    *("Recipe", "RunConfig", "RunResult", "TrainedAgent", "TrainingConfig", "__version__", "make_bundle", "run"),
)


def test_the_public_names_are_these() -> None:
    assert tuple(edgedqn.__all__) == PUBLIC and dir(edgedqn) == sorted(PUBLIC)


def test_each_name_is_still_its_own_after_every_sub_package_was_imported() -> None:
    import edgedqn.agents.training.loop
    import edgedqn.benchmarks.report.page
    import edgedqn.compression.recipes
    import edgedqn.export.devices.board.bundle
    import edgedqn.pipeline.cli
    import edgedqn.pipeline.run
    import edgedqn.pipeline.scripting

    for name in PUBLIC:
        value = getattr(edgedqn, name)
        assert getattr(value, "__module__", "edgedqn.").startswith("edgedqn.") or isinstance(value, dict | str), name
    assert edgedqn.run is edgedqn.pipeline.scripting.run
    assert "qat-int8" in edgedqn.RECIPES


def test_importing_it_loads_neither_numpy_nor_tensorflow() -> None:
    code = "import sys, edgedqn; sys.exit(any(name in sys.modules for name in ('numpy', 'tensorflow', 'gymnasium')))"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'trian': expected one of RECIPES, EdgePolicy"):
        edgedqn.trian  # type: ignore[attr-defined] # noqa: B018


def test_what_needs_tensorflow_says_which_extra_is_missing() -> None:
    code = "import sys; sys.modules['tensorflow'] = None; import edgedqn; edgedqn.EdgePolicy; edgedqn.run; edgedqn.Recipe"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "ImportError: edgedqn.Recipe needs the extra `train`: pip install 'edgedqn[train]'." in answer.stderr
