"""The front door: what `import edgedqn` gives, and what it costs."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import edgedqn

PUBLIC = (
    *(
        "RECIPES",
        "Benchmark",
        "Budget",
        "CollectionConfig",
        "CompressedPolicy",
        "EdgePolicy",
        "EnvironmentSource",
        "ExportConfig",
    ),
    *(
        "ForeignFile",
        "Gate",
        "InputError",
        "LatencyConfig",
        "LibraryDetails",
        "ModelOptions",
        "NpuTarget",
        "PolicyFileError",
        "QLearningConfig",
        "Recipe",
        "RunConfig",
        "RunResult",
        "SweepResult",
        "TrainedAgent",
    ),
    *("TrainingConfig", "WrapperSource", "__version__", "bench", "compress", "export_tflite", "find_budget"),
    *("import_agent", "make_bundle", "make_library", "measure_fit", "run", "sweep", "train"),
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
    code = "import sys, edgedqn; print(*sorted({'numpy', 'tensorflow', 'gymnasium'} & sys.modules.keys()), edgedqn.__name__)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "edgedqn\n"


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        AttributeError, match="has no attribute 'trian': expected one of RECIPES, Benchmark, Budget, CollectionConfig"
    ):
        edgedqn.trian  # noqa: B018


def test_what_cannot_be_imported_says_which_extra_is_missing() -> None:
    for module, name, extra in (("tensorflow", "Recipe", "train"), ("fsspec", "SweepResult", "sweep")):
        code = f"import sys; sys.modules[{module!r}] = None; import edgedqn; edgedqn.EdgePolicy; edgedqn.run; edgedqn.{name}"
        answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert f"ImportError: edgedqn.{name} needs the extra `{extra}`: pip install 'edgedqn[{extra}]'." in answer.stderr


def test_the_page_of_the_docs_has_them_all() -> None:
    page = Path(__file__).parents[2] / "docs" / "api.md"
    if not page.exists():
        pytest.skip("looks at the checkout, not at the package")
    text = page.read_text()
    documented = set(re.findall(r"^::: edgedqn\.[\w.]+\.(\w+)$", text, re.MULTILINE))
    assert [name for name in PUBLIC if name not in documented and f"`{name}`" not in text] == []
    assert documented <= set(PUBLIC)


CHAIN = """
import edgedqn

if __name__ == "__main__":
    agent = edgedqn.train("CartPole-v1", steps=2_000, seed=3)
    names = ("float32", "ptq-int8")
    files = [edgedqn.export_tflite(edgedqn.compress(agent, name, seed=3), f"{name}.tflite") for name in names]
    benchmark = edgedqn.bench(files, latency=edgedqn.LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0))
    baseline, small = benchmark.rows
    print(baseline.name, small.name, small.size_bytes < baseline.size_bytes, small.gate, small.action_agreement)
"""


def test_train_compress_export_and_bench_from_a_script_without_a_run_folder(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CHAIN)
    answer = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    *names, is_smaller, gate, agreement = answer.stdout.split()
    assert names == ["float32", "ptq-int8"] and is_smaller == "True"
    assert gate in ("pass", "fail", "undecided") and 0 < float(agreement) <= 1
    assert [line for line in answer.stderr.splitlines() if not line.startswith("fully_quantize: ")] == []  # see `quiet`
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"script.py", "float32.tflite", "float32.json", "ptq-int8.tflite", "ptq-int8.json"}
    assert edgedqn.EdgePolicy.load(tmp_path / "ptq-int8.tflite")([0.0, 0.1, 0.05, 0.0]) in (0, 1)
