"""A library as each ecosystem expects it: the files beside `src/`.

Sources: Arduino, "Library specification" (docs.arduino.cc/arduino-cli/library-specification). PlatformIO, "library.json"
(docs.platformio.org). Espressif, "idf_component.yml" (docs.espressif.com/projects/idf-component-manager). Zephyr, "Modules"
(docs.zephyrproject.org/latest/develop/modules.html). Texts in YAML are written as JSON has them, which YAML contains but for
escapes of what lies outside Unicode's first 65,536 characters: JSON writes two for one.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from edgedqn.export.devices.board.bundle import proof
from edgedqn.export.devices.libraries.example import observation_header
from edgedqn.export.devices.libraries.library import AUTHOR, Library
from edgedqn.export.devices.libraries.templates import fill
from edgedqn.export.devices.microcontroller.preprocessing import element_in_c, in_order, legal_in_c
from edgedqn.export.edge_policy import ONE_HOT, DeviceManifest

Texts = dict[str, str]  # path in the library -> text

UNKNOWN_PAGE = "https://example.com/"  # Arduino wants one
MAIN = {"main": "int main() { return check(); }"}
OWN_ACTION = (
    "| `policy.action(action, own)` | writes the environment's own action of it into `float own[POLICY_ACTION_SIZE]` |\n"
)
APP_MAIN = {"main": 'extern "C" void app_main() { check(); }'}


class Form(NamedTuple):
    """How an ecosystem takes libraries: its name, its own files, and the names of a library's folder and archive."""

    name: str
    files: Callable[[Library], Texts]
    is_lowercase: bool = False  # the folder, which there is the library's name
    before_version: str = "-"  # in the archive's name

    def folder(self, library: Library) -> str:
        """The name of the library's folder."""
        return library.name.lower() if self.is_lowercase else library.name

    def archive(self, library: Library) -> str:
        """The name of its zip."""
        return f"{self.folder(library)}{self.before_version}{library.details.version}.zip"


def library_files(library: Library, ecosystem: str) -> Texts:
    """All files of a library, by their paths in it; `ecosystem` is a key of `FORMS`. MicroUnavailableError: as `tflm_rows`."""
    own = FORMS[ecosystem].files(library)
    shared = {f"src/{name}": text for name, text in library.sources.items()}
    return dict(sorted((shared | own | {"README.md": _readme(library, ecosystem)}).items()))


def arduino(library: Library) -> Texts:
    """For the Arduino IDE and arduino-cli, revision 2.2 of the library format."""
    details, author = library.details, library.details.author or "unknown"
    properties = {
        "name": library.name,
        "version": details.version,
        "author": author,
        "maintainer": author,
        "sentence": library.sentence,
        "paragraph": "The example says whether a board computes what was proven.",
        "category": "Data Processing",
        "url": details.url or UNKNOWN_PAGE,
        "architectures": "*",
        "includes": f"{library.name}.h",
        **_stated(license=details.license),
    }
    methods = ["reset", "act", "saturated", *(["action"] if library.file.device.actions else [])]
    words = {
        "Policy": "KEYWORD1",
        **dict.fromkeys(methods, "KEYWORD2"),
        "POLICY_OBSERVATION": "LITERAL1",
        "POLICY_ACTIONS": "LITERAL1",
    }
    return {
        "library.properties": "".join(f"{key}={value}\n" for key, value in properties.items()),
        "keywords.txt": "".join(f"{word}\t{kind}\n" for word, kind in words.items()),
        **_sketch(library),
    }


def platformio(library: Library) -> Texts:
    """For PlatformIO, any platform and framework; the example is a sketch."""
    details = library.details
    files = _sketch(library)
    manifest = {
        "name": library.name,
        "version": details.version,
        "description": library.sentence,
        "keywords": ["policy", "reinforcement-learning", "tinyml"],
        **_stated(license=details.license, homepage=details.url),
        **({"authors": [_person(details.author)]} if details.author else {}),
        "frameworks": "*",
        "platforms": "*",
        "headers": [f"{library.name}.h"],
        "examples": [
            {"name": "Policy", "base": "examples/Policy", "files": [path.rpartition("/")[2] for path in files]},
        ],
    }
    return {"library.json": json.dumps(manifest, indent=2) + "\n", **files}


def esp_idf(library: Library) -> Texts:
    """A component of ESP-IDF 5, whose example is a project that finds it by its path."""
    details, values = library.details, _values(library)
    dependencies: dict[str, object] = {"idf": ">=5.0"}
    if not library.has_plain_c:
        dependencies["espressif/esp-tflite-micro"] = "*"
    manifest = {
        "version": details.version,
        "description": library.sentence,
        **_stated(license=details.license, url=details.url),
        **({"maintainers": [details.author]} if details.author else {}),
        "dependencies": dependencies,
    }
    main = "examples/policy/main"
    return {
        "idf_component.yml": _yaml(manifest),
        "CMakeLists.txt": fill("esp-idf.txt", values | {"sources": _listed(library, "src/", "\n  ")}),
        "Kconfig": fill("esp-idf.kconfig", values),
        "examples/policy/CMakeLists.txt": fill("esp-idf-project.txt", values),
        f"{main}/CMakeLists.txt": "idf_component_register(SRCS main.cpp)\n",
        f"{main}/idf_component.yml": _yaml({"dependencies": {library.name.lower(): {"path": "../../.."}}}),
        f"{main}/main.cpp": fill("main.cpp", values | APP_MAIN),
        f"{main}/observation.h": observation_header(library.file, library.units),
    }


def zephyr(library: Library) -> Texts:
    """A module of Zephyr, off until its option is on, with a sample that twister can run."""
    values, sample = _values(library), "samples/policy"
    observation = observation_header(library.file, library.units)
    expected = observation.partition("EXPECTED_ACTION ")[2].split()[0]
    module = {
        "name": library.name.lower(),
        "build": {"cmake": "zephyr", "kconfig": "zephyr/Kconfig"},
        "samples": ["samples"],
    }
    needed = [] if library.has_plain_c else ["STD_CPP17", "REQUIRES_FULL_LIBCPP", "TENSORFLOW_LITE_MICRO"]
    test = {
        "harness": "console",
        "harness_config": {"type": "one_line", "regex": [f"action {expected}, expected {expected}"]},
        "integration_platforms": ["native_sim"],
    }
    return {
        "zephyr/module.yml": _yaml(module),
        "zephyr/CMakeLists.txt": fill("zephyr.txt", values | {"sources": _listed(library, "../src/", "\n    ")}),
        "zephyr/Kconfig": fill("zephyr.kconfig", values),
        f"{sample}/CMakeLists.txt": fill("zephyr-sample.txt", values),
        f"{sample}/prj.conf": "".join(f"CONFIG_{option}=y\n" for option in ["CPP", *needed, library.name.upper()]),
        f"{sample}/sample.yaml": _yaml({"sample": {"name": library.name}, "tests": {f"sample.{library.name.lower()}": test}}),
        f"{sample}/src/main.cpp": fill("main.cpp", values | MAIN),
        f"{sample}/src/observation.h": observation,
    }


def cmake(library: Library) -> Texts:
    """A static target of the library's name; its example is built, and tested, where the folder is built by itself."""
    values = _values(library)
    return {
        "CMakeLists.txt": fill("cmake.txt", values | {"sources": _listed(library, "src/", "\n  ")}),
        "examples/policy/main.cpp": fill("main.cpp", values | MAIN),
        "examples/policy/observation.h": observation_header(library.file, library.units),
    }


FORMS: Mapping[str, Form] = {
    "arduino": Form("Arduino", arduino),
    "platformio": Form("PlatformIO", platformio),
    "esp-idf": Form("ESP-IDF", esp_idf, is_lowercase=True, before_version="_"),
    "zephyr": Form("Zephyr", zephyr, is_lowercase=True),
    "cmake": Form("CMake", cmake),
}


def _sketch(library: Library) -> Texts:
    folder = "examples/Policy"
    return {
        f"{folder}/Policy.ino": fill("Policy.ino", _values(library)),
        f"{folder}/observation.h": observation_header(library.file, library.units),
    }


def _values(library: Library) -> Texts:
    """What the templates of several forms name."""
    plain = library.has_plain_c
    return {
        "name": library.name,
        "lower": library.name.lower(),
        "upper": library.name.upper(),
        "environment": library.environment,
        "sentence": library.sentence,
        "argument": legal_in_c(library.file.device)["argument"],
        "number": library.details.version.partition("-")[0],  # CMake knows no prereleases
        "tflm": "OFF" if plain else "ON",
        "default": "n" if plain else "y",
        # Without a text it is no question: there is nothing to choose.
        "prompt": ' "Compute the network with TensorFlow Lite Micro"' if plain else "",
        "depends": "" if plain else "\tdepends on CPP && TENSORFLOW_LITE_MICRO\n",
    }


def _listed(library: Library, folder: str, separator: str) -> str:
    return separator.join(f"{folder}{name}" for name in library.compiled)


def _readme(library: Library, ecosystem: str) -> str:
    file, values = library.file, _values(library)
    device = file.device
    element, meaning = element_in_c(device, counts=library.units is not None)
    plain, asked = "`src/policy.c`, C99 and nothing else.", "TensorFlow Lite Micro, which has to be installed, and takes C++17."
    engine = f"{plain} Where `POLICY_USE_TFLM` is 1, {asked} Both compute the same integers." if library.has_plain_c else asked
    return fill(
        "README.md",
        values
        | {
            "proof": proof(file.evidence),
            "element": element,
            "meaning": f"{meaning}, in this order: {in_order(device)}" if device.features else meaning,
            "elements": str(math.prod(device.observation_shape)),
            "shape": ", ".join(map(str, device.observation_shape)),
            "dtype": f" of {device.observation_dtype}" if library.units is None else "",
            "refused": _refused(device, is_float=element == "float"),
            "preprocessing": ", ".join([*map(str, device.preprocessing), "scaling and rounding"]),
            "legal": f"| `legal` | `uint8_t[{device.n_actions}]`, not 0 for each action that is legal |\n"
            if device.masked
            else "",
            "own_action": OWN_ACTION if device.actions else "",
            "last": str(device.n_actions - 1),
            "version": library.details.version,
            "license": library.details.license or "none stated (`--license MIT` states one)",
            "sha256": file.file_sha256,
            "ecosystem": FORMS[ecosystem].name,
            "use": fill(f"{ecosystem}.md", values),
            "engine": engine,
        },
    )


def _refused(device: DeviceManifest, *, is_float: bool) -> str:
    """Of what `act` returns -1: ": a NaN, ...", or nothing where every observation is one."""
    kinds = [
        (is_float, "a NaN or an infinity"),
        (ONE_HOT in device.preprocessing, "no such state"),
        (device.masked, "no legal action"),
    ]
    found = ", ".join(kind for may_be, kind in kinds if may_be)
    return f": {found}" if found else ", which cannot be here"


def _stated(**fields: str | None) -> Texts:
    """Those that were said."""
    return {key: value for key, value in fields.items() if value is not None}


def _person(author: str) -> Texts:
    match = AUTHOR.fullmatch(author)
    assert match is not None  # `LibraryDetails` has seen to it
    return _stated(**match.groupdict())


def _yaml(value: Mapping[str, object], indent: str = "") -> str:
    lines = []
    for key, each in value.items():
        nested = f"\n{_yaml(each, indent + '  ')}" if isinstance(each, dict) else f" {json.dumps(each, ensure_ascii=False)}\n"
        lines.append(f"{indent}{key}:{nested}")
    return "".join(lines)
