"""The walls of the house: which folder may import which, and how the folders become packages."""

import ast
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pytest

from edgedqn.benchmarks import rows

ROOT = Path(__file__).parent.parent
ROOMS = ("api", "agents", "compression", "export", "benchmarks", "pipeline")
CHECKOUT = pytest.mark.skipif(not (ROOT / "agents").exists(), reason="looks at the checkout, not at the package")

MAY_IMPORT = {  # folders, of ours, with all that is in them; or single modules
    "api": {"agents", "compression", "export", "benchmarks", "pipeline"},
    "agents": set(),
    "compression": {"agents"},
    "export": {"agents", "compression"},
    "benchmarks": {"agents.playing", "agents.errors", "agents.files", "export.edge_policy", "export.tflite_file"},
    "pipeline": {"agents", "compression", "export", "benchmarks"},
}
# What a board can import, or a machine that only looks at files. Each entry is a module, or a folder with all that is in it.
WITHOUT_TENSORFLOW = (
    "agents.playing",
    *(f"compression.{module}" for module in ("recipe_list", "report")),
    *(f"agents.{module}" for module in ("errors", "files", "numpy_network", "q_learning", "replay", "prioritized")),
    *(f"agents.training.{module}" for module in ("config", "presets", "reference_scores", "interaction", "loop")),
    *("export.edge_policy", "export.tflite_file", "export.devices"),
    "benchmarks",
    *(f"pipeline.{module}" for module in ("cli", "scripting", "run", "bench_files", "bundle", "run_folder", "seeds")),
    *(f"pipeline.commands.{module}" for module in ("parser", "options", "files", "inspect", "lists", "doctor")),
    *(f"pipeline.viewing.{module}" for module in ("film", "play", "progress", "serving")),
    "pipeline.devices",
)
NOT_IMPORTED = ("benchmarks.peers", "export.devices.board.scripts")  # they train; they run beside a device's edge_policy.py
MOST_MODULES = 15


def modules() -> list[Path]:
    return [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]


def dotted(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def is_within(name: str, places: Iterable[str]) -> bool:
    return any(f"{name}.".startswith(f"{place}.") for place in places)


def imports_of_ours(path: Path) -> set[str]:
    """`room.module` of each module of ours that the file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("edgedqn"):
            module = node.module.removeprefix("edgedqn").removeprefix(".")
            here = ROOT.joinpath(*module.split("."))
            names = {".".join(filter(None, (module, alias.name))) for alias in node.names}
            found |= names if here.is_dir() else {module}
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("edgedqn.") for alias in node.names if alias.name.startswith("edgedqn.")}
    return found


@CHECKOUT
@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_its_door_allows(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    # The peers train, and nothing imports them.
    allowed = {room, "agents"} if path.parent.name == "peers" else MAY_IMPORT[room] | {room}
    strangers = {name for name in imports_of_ours(path) if not is_within(name, allowed)}
    assert not strangers, f"{path.name} may import {sorted(allowed)}"


@CHECKOUT
def test_the_device_runtime_imports_nothing_of_ours_and_is_imported_not_importing() -> None:
    assert imports_of_ours(ROOT / "export" / "edge_policy.py") == set()
    assert "export.tflite_file.manifest" not in imports_of_ours(ROOT / "export" / "tflite_file" / "reader.py")


@CHECKOUT
def test_nothing_imports_the_peers() -> None:
    users = {path.parent.name for path in modules() if any("peers" in name for name in imports_of_ours(path))}
    assert users == {"peers"}


@CHECKOUT
def test_tfmot_is_imported_in_one_package() -> None:
    users = [path for path in modules() if "import tensorflow_model_optimization" in path.read_text()]
    assert {path.parent.relative_to(ROOT).as_posix() for path in users} == {"compression/tfmot"}


@CHECKOUT
@pytest.mark.parametrize("room", ROOMS)
def test_a_root_folder_is_no_regular_package(room: str) -> None:
    # With an __init__.py, `compression/` would shadow Python 3.14's standard library whenever the checkout is on the path,
    # and `agents/` a popular package. `api/` is `edgedqn` itself, and its name is nobody's.
    assert (ROOT / room / "__init__.py").exists() == (room == "api")
    assert (ROOT / room / "py.typed").exists()


@CHECKOUT
def test_the_package_list_is_the_tree() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    folders = {path.parent.relative_to(ROOT) for path in modules()} | {
        parent for path in modules() for parent in path.parent.relative_to(ROOT).parents if parent.parts
    }
    names = {".".join(("edgedqn", *folder.parts)).replace("edgedqn.api", "edgedqn") for folder in folders}
    assert set(settings["packages"]) == names
    assert settings["package-dir"] == {"edgedqn": "api"} | {f"edgedqn.{room}": room for room in ROOMS if room != "api"}
    # importlib.resources fails on a mapped root folder in an editable install; sub-folders need an __init__.py for it.
    assert all((ROOT / folder / "__init__.py").exists() for folder in folders if len(folder.parts) > 1)


@CHECKOUT
def test_no_folder_shows_more_modules_than_a_reader_can_hold() -> None:
    shown = Counter(path.parent for path in modules() if path.name != "__init__.py")
    assert {str(folder.relative_to(ROOT)): count for folder, count in shown.items() if count > MOST_MODULES} == {}


@CHECKOUT
def test_each_folder_says_in_which_order_to_read_it() -> None:
    for folder in {path.parent for path in modules()}:
        start = folder / "__init__.py"
        told = ast.get_docstring(ast.parse(start.read_text())) if start.exists() else (folder / "README.md").read_text()
        assert told, f"{folder.name} says nothing of itself"


@CHECKOUT
def test_every_module_has_a_test_of_its_name() -> None:
    modules_without = [
        path.relative_to(ROOT).as_posix()
        for path in modules()
        if path.name != "__init__.py" and not (ROOT / "tests" / path.relative_to(ROOT).parent / f"test_{path.name}").exists()
    ]
    assert modules_without == []


def installed() -> list[str]:
    """The modules of the package under test, the checkout's or the wheel's, but for those that nothing imports."""
    package = Path(rows.__file__).parents[1]
    paths = [path.relative_to(package) for room in ROOMS for path in (package / room).rglob("*.py")]
    names = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in paths}
    return sorted(name for name in names - {"api"} if not is_within(name, NOT_IMPORTED))


def test_every_module_can_be_imported() -> None:
    """Each import is its own line, so that the failing one shows."""
    names = installed()
    assert len(names) > 100, "the package was not found"
    code = "\n".join(f"import edgedqn.{name}" for name in names)
    answer = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr


def test_runs_without_tensorflow() -> None:
    """On a board there is none."""
    names = [name for name in installed() if is_within(name, WITHOUT_TENSORFLOW)]
    assert all(any(is_within(name, [place]) for name in names) for place in WITHOUT_TENSORFLOW)
    code = "import sys\nfor name in ('tensorflow', 'tf_keras', 'keras', 'tensorflow_model_optimization'):\n"
    code += "    sys.modules[name] = None\n" + "\n".join(f"import edgedqn.{name}" for name in names)
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
