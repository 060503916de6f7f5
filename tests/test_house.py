"""The walls of the house: which folder may import which, and how the folders become packages."""

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from edgedqn.benchmarks import rows

ROOT = Path(__file__).parent.parent
ROOMS = ("agents", "compression", "export", "benchmarks", "pipeline")
CHECKOUT = pytest.mark.skipif(not (ROOT / "agents").exists(), reason="looks at the checkout, not at the package")

MAY_IMPORT = {
    "agents": set(),
    "compression": {"agents"},
    "export": {"agents", "compression"},
    "benchmarks": {
        *(f"export.{module}" for module in ("edge_policy", "manifest", "flatbuffer", "inspection", "float_twin", "tflm")),
        *(f"agents.{module}" for module in ("evaluation", "environments", "noninferiority", "errors", "atomic_files")),
    },
    "pipeline": {"agents", "compression", "export", "benchmarks"},
}
WITHOUT_TENSORFLOW = (
    *(f"agents.{module}" for module in ("evaluation", "environments", "noninferiority", "numpy_network", "observations")),
    *(f"agents.{module}" for module in ("across_seeds", "presets", "q_learning", "replay", "prioritized", "training")),
    *(f"export.{module}" for module in ("edge_policy", "manifest", "flatbuffer", "inspection", "rewriting", "tflm")),
    *(f"export.{module}" for module in ("board", "browser", "litert_js", "integer_network", "plain_c")),
    "pipeline.serving",
    *(
        f"pipeline.{module}"
        for module in ("cli", "commands", "inspecting", "bench_files", "film", "play", "run", "run_folder", "seeds")
    ),
)


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def imports_of_ours(path: Path) -> set[str]:
    """`room.module` of each module of ours that the file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edgedqn"):
            parts = node.module.split(".")[1:]
            found |= {".".join(parts)} if len(parts) > 1 else {".".join([*parts, alias.name]) for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("edgedqn.") for alias in node.names if alias.name.startswith("edgedqn.")}
    return found


@CHECKOUT
@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_its_door_allows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    # The peers train, and nothing imports them.
    allowed = {room, "agents"} if path.parent.name == "peers" else MAY_IMPORT[room] | {room}
    strangers = {name for name in imports_of_ours(path) if name not in allowed and name.partition(".")[0] not in allowed}
    assert not strangers, f"{path.name} may import {sorted(allowed)}"


@CHECKOUT
def test_the_device_runtime_imports_nothing_of_ours_and_is_imported_not_importing() -> None:
    assert imports_of_ours(ROOT / "export" / "edge_policy.py") == set()
    assert "export.manifest" not in imports_of_ours(ROOT / "export" / "flatbuffer.py")


@CHECKOUT
def test_nothing_imports_the_peers() -> None:
    users = {path.parent.name for path in modules() if any("peers" in name for name in imports_of_ours(path))}
    assert users == {"peers"}


@CHECKOUT
def test_tfmot_is_imported_in_one_module() -> None:
    users = [path for path in modules() if "import tensorflow_model_optimization" in path.read_text()]
    assert [path.relative_to(ROOT).as_posix() for path in users] == ["compression/tfmot.py"]


@CHECKOUT
@pytest.mark.parametrize("room", ROOMS)
def test_a_root_folder_is_no_regular_package(room: str) -> None:
    # With an __init__.py, `compression/` would shadow Python 3.14's standard library whenever the checkout is on the path,
    # and `agents/` a popular package.
    assert not (ROOT / room / "__init__.py").exists()
    assert (ROOT / room / "py.typed").exists()


@CHECKOUT
def test_the_package_list_is_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in modules()}
    assert set(settings["packages"]) == {"edgedqn." + ".".join(folder.parts) for folder in folders}
    assert settings["package-dir"] == {f"edgedqn.{room}": room for room in ROOMS}
    # importlib.resources fails on a mapped root folder in an editable install; sub-folders need an __init__.py for it.
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders if len(folder.parts) > 1)


@CHECKOUT
def test_every_module_has_a_test_of_its_name() -> None:
    modules_without = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if path.name != "__init__.py"
        and len(path.relative_to(ROOT).parts) == 2
        and not (ROOT / "tests" / path.parent.name / f"test_{path.name}").exists()
    ]
    assert modules_without == []


def test_runs_without_tensorflow() -> None:
    """On a board there is none. Each import is its own line, so that the failing one shows."""
    benchmarks = [f"benchmarks.{path.stem}" for path in Path(rows.__file__).parent.glob("*.py")]
    names = [*WITHOUT_TENSORFLOW, *benchmarks]
    assert len(benchmarks) >= 4
    code = "import sys\nfor name in ('tensorflow', 'tf_keras', 'keras', 'tensorflow_model_optimization'):\n"
    code += "    sys.modules[name] = None\n" + "\n".join(f"import edgedqn.{name}" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
