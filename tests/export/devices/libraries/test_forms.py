"""Each form by its ecosystem's rules, and built where that can be: Arduino's by its own builder, for a Uno that is emulated;
CMake's by CMake; ESP-IDF's and Zephyr's by CMake, with stand-ins for their functions. The ecosystems' own tools run offline.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.programs import command_for
from edgedqn.export.devices.libraries.bundle import make_library
from edgedqn.export.devices.libraries.forms import library_files
from edgedqn.export.devices.libraries.library import LibraryDetails, build_library
from edgedqn.export.edge_policy import Feature, read_verified

Make = Callable[[Path, str], Path]

HERE = Path(__file__).parent
# TensorFlow Lite Micro as far as policy_step.cc uses it, run by policy.c.
TFLM_DECLARED = HERE.parent / "microcontroller" / "tflm_declared"
CORE = Path("/usr/share/arduino/hardware")  # where Debian's arduino-core-avr is
CHIP = CORES["atmega328p"]
NO_UNO = missing_tools(CHIP) or not (shutil.which("arduino-builder") and (CORE / "arduino" / "avr").is_dir())
UNO = pytest.mark.skipif(bool(NO_UNO), reason="not installed: Debian's arduino-builder, arduino-core-avr or libsimavr-dev")
CMAKE = pytest.mark.skipif(shutil.which("cmake") is None, reason="not installed: cmake")
STRICT = "-Wall -Wextra -Wconversion -pedantic -Werror"
# github.com/arduino/arduino-lint, etc/schemas/arduino-library-properties-definitions-schema.json
CATEGORIES = {"Display", "Communication", "Signal Input/Output", "Sensors", "Device Control", "Timing", "Data Storage"}
CATEGORIES |= {"Data Processing", "Other"}


def run(*command: str | Path, **environment: str) -> str:
    answer = subprocess.run(command, env=environment or None, capture_output=True, text=True, timeout=300, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


def checked_by(tool: str, *arguments: str | Path, home: Path) -> str:
    """What an ecosystem's own tool, of the extra `libraries`, says without a network and without settings of its user."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = shutil.which(tool, path=path)
    if command is None:
        pytest.skip(f"the extra `libraries` is not installed: {tool}")
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    alone = {"PLATFORMIO_SETTING_ENABLE_TELEMETRY": "No", "HOME": str(home), "PATH": path, "LC_ALL": "C.UTF-8"}
    return run(command, *arguments, **nowhere, **alone)


def built_by_cmake(source: Path, build: Path, *options: str | Path) -> Path:
    strict = [f"-DCMAKE_{language}_FLAGS={STRICT}" for language in ("C", "CXX")]
    run("cmake", "-S", source, "-B", build, *strict, *options)
    run("cmake", "--build", build)
    return build


def expected(library: Path) -> str:
    """What the example prints on a device that computes what was proven."""
    (header,) = library.rglob("observation.h")
    (action,) = re.findall(r"EXPECTED_ACTION (\d)", header.read_text())
    return f"action {action}, expected {action}"


def properties(library: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in (library / "library.properties").read_text().splitlines())


def test_arduinos_rules_are_kept(cartpole: Path, make: Make) -> None:
    """Those of "Library specification", docs.arduino.cc/arduino-cli/library-specification, that arduino-lint checks."""
    library = make(cartpole, "arduino")
    found = properties(library)
    assert set(found) == {
        *("name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures", "includes")
    }
    assert all(found.values()) and found["category"] in CATEGORIES and found["architectures"] == "*"
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]{0,62}", found["name"]) and not found["name"].lower().startswith("arduino")
    assert library.name == found["name"] and found["includes"] == f"{found['name']}.h"
    assert not found["sentence"].startswith(found["name"])
    files = {path.relative_to(library).as_posix() for path in library.rglob("*") if path.is_file()}
    assert {path for path in files if "/" not in path} == {"README.md", "keywords.txt", "library.properties"}
    assert {path.partition("/")[0] for path in files if "/" in path} == {"examples", "src"}
    assert f"src/{found['includes']}" in files and "examples/Policy/Policy.ino" in files
    assert {Path(path).suffix for path in files if path.startswith("src/")} == {".c", ".cpp", ".h"}  # others are not compiled
    for line in (library / "keywords.txt").read_text().splitlines():
        assert re.fullmatch(r"\w+\t(KEYWORD[12]|LITERAL1)", line)


@pytest.mark.parametrize("author", ["Ada <ada@example.org>", 'Åda "𝔸" \\ Lovelace'])
def test_what_an_author_says_stands_in_every_manifest(cartpole: Path, tmp_path: Path, author: str) -> None:
    yaml = pytest.importorskip("yaml")
    said = LibraryDetails(version="2.0.1-rc.1", license="MIT", author=author, url="https://example.org/")
    places = {each: make_library(cartpole, tmp_path, each, details=said).folder for each in ("arduino", "esp-idf")}
    found = properties(places["arduino"])
    assert (found["version"], found["license"], found["url"]) == (said.version, said.license, said.url)
    assert found["author"] == found["maintainer"] == said.author
    found = yaml.safe_load((places["esp-idf"] / "idf_component.yml").read_text())
    assert (found["version"], found["license"], found["url"]) == (said.version, said.license, said.url)
    assert found["maintainers"] == [said.author]
    assert all("| license | MIT |\n" in (place / "README.md").read_text() for place in places.values())


@UNO
def test_an_uno_prints_what_is_expected(policy: Path, make: Make, tmp_path: Path) -> None:
    library, build = make(policy, "arduino"), tmp_path / "build"
    build.mkdir()
    hardware = ["-hardware", str(CORE), "-hardware", "/usr/share/arduino-builder", "-tools", "/usr/bin"]
    # Debian's core takes DECIMAL_DIG from a header that has it in C alone, with Debian's compiler.
    hardware += ["-fqbn", "arduino:avr:uno", "-prefs=compiler.cpp.extra_flags=-DDECIMAL_DIG=__DECIMAL_DIG__"]
    sketch = library / "examples" / "Policy" / "Policy.ino"
    run("arduino-builder", "-compile", *hardware, "-libraries", library.parent, "-build-path", build, sketch)
    with subprocess.Popen(command_for(CHIP, build / "Policy.ino.elf"), stdout=subprocess.PIPE, text=True) as process:
        stop = threading.Timer(120, process.kill)
        stop.start()
        assert process.stdout is not None
        printed = process.stdout.readline()
        stop.cancel()
        process.kill()
    assert printed == f"{expected(library)}\n"


def test_platformios_manifest_names_what_is_there(cartpole: Path, make: Make) -> None:
    library = make(cartpole, "platformio")
    found = json.loads((library / "library.json").read_text())
    assert set(found) == {"name", "version", "description", "keywords", "frameworks", "platforms", "headers", "examples"}
    assert found["name"] == library.name and (found["frameworks"], found["platforms"]) == ("*", "*")
    assert all(re.fullmatch(r"[a-z\d\-_+. ]{1,50}", word) for word in found["keywords"])
    assert all((library / "src" / header).is_file() for header in found["headers"])
    (example,) = found["examples"]
    assert sorted(example["files"]) == sorted(path.name for path in (library / example["base"]).iterdir())


def test_platformio_packs_its_library(cartpole: Path, make: Make, tmp_path: Path) -> None:
    library, packed = make(cartpole, "platformio"), tmp_path / "packed.tar.gz"
    checked_by("pio", "pkg", "pack", library, "-o", packed, home=tmp_path)
    with tarfile.open(packed) as archive:
        names = {member.name for member in archive if member.isfile()}
    assert names == {path.relative_to(library).as_posix() for path in library.rglob("*") if path.is_file()}


def test_espressifs_tools_take_the_component_and_its_options(cartpole: Path, make: Make, tmp_path: Path) -> None:
    library = make(cartpole, "esp-idf")
    checked_by("compote", "-W", "manifest", "lint", library, home=tmp_path)
    pack = ("component", "pack", "--project-dir", library, "--name", library.name, "--dest-dir", tmp_path / "packed")
    checked_by("compote", "-W", *pack, home=tmp_path)
    with tarfile.open(tmp_path / "packed" / f"{library.name}_0.1.0.tgz") as archive:
        names = {member.name.removeprefix("./") for member in archive if member.isfile()}
    assert {"idf_component.yml", "CMakeLists.txt", "Kconfig", "src/policy.c", "README.md"} <= names
    pytest.importorskip("kconfcheck", reason="the extra `libraries` is not installed")
    assert "Kconfig: OK" in run(sys.executable, "-m", "kconfcheck", library / "Kconfig")


def test_the_readme_says_in_which_order_a_vector_is_put_together(cartpole: Path, tmp_path: Path) -> None:
    file = read_verified(cartpole)
    named = replace(file, device=replace(file.device, features=(Feature("mode", 2, (2,)), Feature("speed", 2))))
    texts = library_files(build_library(named, "demo", LibraryDetails()), "cmake")
    order = "in this order: mode (2 numbers: one-hot of 0 .. 1), speed (2 numbers)"
    assert f": one vector, {order}; then `act` does: scaling and rounding |" in texts["README.md"]
    assert "\n   2 .. 3: speed (2 numbers). */\n" in texts["src/policy_observe.h"]


def test_zephyrs_kconfig_reads_the_modules_options(cartpole: Path, make: Make) -> None:
    kconfiglib = pytest.importorskip("kconfiglib", reason="the extra `libraries` is not installed")
    library = make(cartpole, "zephyr")
    found = kconfiglib.Kconfig(str(library / "zephyr" / "Kconfig"))
    assert not found.warnings
    assert {each.name for each in found.unique_defined_syms} == options((library / "zephyr" / "Kconfig").read_text())


def test_a_component_finds_its_example_and_its_option(cartpole: Path, make: Make) -> None:
    yaml = pytest.importorskip("yaml")
    library = make(cartpole, "esp-idf")
    found = yaml.safe_load((library / "idf_component.yml").read_text())
    assert set(found) == {"version", "description", "dependencies"} and found["dependencies"] == {"idf": ">=5.0"}
    main = library / "examples" / "policy" / "main"
    (dependency,) = yaml.safe_load((main / "idf_component.yml").read_text())["dependencies"].items()
    assert dependency == (library.name, {"path": "../../.."}) and (main / "../../..").resolve() == library
    assert library.name == library.name.lower()  # as the registry has it
    assert options((library / "Kconfig").read_text()) == options((library / "CMakeLists.txt").read_text()) != set()


def options(text: str) -> set[str]:
    return set(re.findall(r"(?:\bconfig |CONFIG_)(\w+)", text))


def test_a_module_keeps_zephyrs_schema_and_defines_the_options_it_reads(cartpole: Path, make: Make) -> None:
    """The schema is METADATA_SCHEMA of Zephyr's scripts/zephyr_module.py."""
    yaml = pytest.importorskip("yaml")
    library = make(cartpole, "zephyr")
    found = yaml.safe_load((library / "zephyr" / "module.yml").read_text())
    assert found == {
        "name": library.name,
        "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"},
        "samples": ["samples"],
    }
    assert (library / found["build"]["cmake"] / "CMakeLists.txt").is_file()
    defined = options((library / found["build"]["kconfig"]).read_text())
    assert options((library / "zephyr" / "CMakeLists.txt").read_text()) == defined != set()
    sample = library / "samples" / "policy"
    assert options((sample / "prj.conf").read_text()) - {"CPP"} < defined
    (test,) = yaml.safe_load((sample / "sample.yaml").read_text())["tests"].values()
    assert test["harness_config"] == {"type": "one_line", "regex": [expected(library)]}


@CMAKE
@pytest.mark.parametrize("options", [(), ("-DPOLICY_USE_TFLM=ON", f"-DCMAKE_CXX_FLAGS=-I{TFLM_DECLARED}")], ids=["c", "tflm"])
@pytest.mark.parametrize("name", ["CartPole-v1", "MinAtar-Breakout-v1"])
def test_cmake_builds_its_library_with_either_engine(
    cartpole: Path, make: Make, tmp_path: Path, name: str, options: tuple[str, ...]
) -> None:
    library = make(cartpole.with_name(f"{name}.tflite"), "cmake")
    build = built_by_cmake(library, tmp_path / "build", "-DCMAKE_CXX_STANDARD_REQUIRED=ON", *options)
    assert "100% tests passed" in run("ctest", "--test-dir", build)
    assert run(build / "policy_example") == f"{expected(library)}\n"


@CMAKE
def test_a_component_of_esp_idf_is_whole(cartpole: Path, make: Make, tmp_path: Path) -> None:
    library = make(cartpole, "esp-idf")
    build = built_by_cmake(HERE / "esp_idf", tmp_path / "build", f"-DCOMPONENT={library}")
    assert run(build / "app") == f"{expected(library)}\n"


@CMAKE
def test_a_module_of_zephyr_is_whole(cartpole: Path, make: Make, tmp_path: Path) -> None:
    library = make(cartpole, "zephyr")
    build = built_by_cmake(library / "samples" / "policy", tmp_path / "build", f"-DZephyr_DIR={HERE / 'zephyr'}")
    assert run(build / "app") == f"{expected(library)}\n"


def test_without_plain_c_every_form_asks_for_tensorflow_lite_micro(
    cartpole: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(layers: object, sha256: str) -> dict[str, str]:
        return {}

    monkeypatch.setattr("edgedqn.export.devices.microcontroller.bundle.plain_c", without)
    assert '\n  espressif/esp-tflite-micro: "*"\n' in (make(cartpole, "esp-idf") / "idf_component.yml").read_text()
    kconfig = (make(cartpole, "zephyr") / "zephyr" / "Kconfig").read_text()
    assert kconfig.count("TENSORFLOW_LITE_MICRO") == 2 and "bool\n\tdefault y\n" in kconfig
    assert 'TensorFlow Lite Micro" ON)' in (make(cartpole, "cmake") / "CMakeLists.txt").read_text()
    assert "policy.c" not in (make(cartpole, "arduino") / "README.md").read_text()
