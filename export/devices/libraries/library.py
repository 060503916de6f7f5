"""What a library is whatever its form: a name, what its author says of it, and the sources in `src/`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgedqn.agents.errors import require
from edgedqn.export.devices.libraries.templates import fill
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.devices.microcontroller.preprocessing import legal_in_c
from edgedqn.export.devices.microcontroller.sources import harmless
from edgedqn.export.edge_policy import VerifiedFile

LONGEST_NAME = 63  # Arduino's limit
VERSION = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}(-[0-9A-Za-z-]+(\.[0-9A-Za-z-]+)*)?", re.ASCII)
LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]*( (AND|OR|WITH) [A-Za-z0-9][A-Za-z0-9.+-]*)*")
UNPRINTABLE = r"\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"  # in YAML
AUTHOR = re.compile(
    rf"(?!arduino)(?P<name>[^<>{UNPRINTABLE}]*[^<> {UNPRINTABLE}])"
    rf"( <(?P<email>[^<>@\s{UNPRINTABLE}]+@[^<>@\s{UNPRINTABLE}]+)>)?",
    re.IGNORECASE,
)
URL = re.compile(rf"https?://[^\s\"<>{UNPRINTABLE}]+")
# A build without it is not broken: neither these files nor what they include are read unless somebody asks for them.
GUARDED = '#include "policy_engine.h"\n#if POLICY_USE_TFLM\n\n{}\n#endif\n'


@dataclass(frozen=True, kw_only=True)
class LibraryDetails:
    """What the author of a library says of it.

    Attributes:
      version: MAJOR.MINOR.PATCH, with or without -PRERELEASE (semver.org).
      license: an SPDX id or expression of them, whose form is checked and not whether there is one of this name. None states
        none, so that nobody else may copy the library.
      author: `Name`, or `Name <address>`; not beginning with Arduino, which is reserved there.
      url: of a page on the library, http or https.
    Raises:
      InputError: one of them is none.
    """

    version: str = "0.1.0"
    license: str | None = None
    author: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        for field, pattern, expected in (
            ("version", VERSION, "MAJOR.MINOR.PATCH such as 1.0.0"),
            ("license", LICENSE, "an SPDX id such as MIT or Apache-2.0"),
            ("author", AUTHOR, "Name, or Name <address>, that does not begin with Arduino"),
            ("url", URL, "http:// or https:// and a page"),
        ):
            value = getattr(self, field)
            right = value is None or pattern.fullmatch(value) is not None
            require(right, f"Not the {field} of a library: expected {expected}. Got {value!r}.")


@dataclass(frozen=True, kw_only=True)
class Library:
    """A policy with all that its forms share.

    Attributes:
      name: a C identifier that begins with EdgeDQN, at most `LONGEST_NAME` characters; its header is `<name>.h`.
      file: the policy.
      details: as its author says.
      units: of sensors that give integers, as `write_microcontroller` takes them.
      sources: the texts of `src/`, by name, sorted.
    """

    name: str
    file: VerifiedFile
    details: LibraryDetails
    units: Sequence[float] | None
    sources: Mapping[str, str]

    @property
    def has_plain_c(self) -> bool:
        """Whether the network is there without TensorFlow Lite Micro, which then is an option."""
        return "policy.c" in self.sources

    @property
    def compiled(self) -> list[str]:
        """The sources that a compiler is given, in order."""
        return [name for name in self.sources if not name.endswith(".h")]

    @property
    def environment(self) -> str:
        """The environment's id as it may stand in any of the files."""
        return harmless(self.file.device.env_id)

    @property
    def sentence(self) -> str:
        """What it is, in a line."""
        recipe = harmless(self.file.device.recipe)
        return f"A policy for {self.environment} by EdgeDQN's recipe {recipe}: observation in, action out, int8 inside."


def build_library(file: VerifiedFile, run: str, details: LibraryDetails, *, units: Sequence[float] | None = None) -> Library:
    """The library of a policy with int8 ends; errors as `write_microcontroller`.

    The sources are those that a bundle has for microcontrollers, whatever they are; `<name>.h`, a class around them; and
    `policy_engine.h`, which says what computes the network: `policy.c` where there is one, else TensorFlow Lite Micro. What
    needs that ends in .cpp, because Arduino compiles no .cc.

    Args:
      file: the policy.
      run: which of this environment's, for the name: a run, or a file.
      details: as its author says.
      units: as `write_microcontroller` takes them.
    """
    with TemporaryDirectory() as folder:
        names = write_microcontroller(file, Path(folder), units=units)
        texts = {name: (Path(folder) / name).read_text(encoding="utf-8") for name in names}
    sources = {
        re.sub(r"\.cc$", ".cpp", name): GUARDED.format(text) if name.endswith(".cc") else text for name, text in texts.items()
    }
    name = library_name(file.device.env_id, run)
    values = {
        "name": name,
        "sha256": file.file_sha256,
        "default": int("policy.c" not in sources),
        "include": '#include "policy_action.h"\n' if file.device.actions else "",
        "own_action": fill("own_action.h", {}) if file.device.actions else "",
        **legal_in_c(file.device, "output_"),
    }
    sources |= {f"{name}.h": fill("class.h", values), "policy_engine.h": fill("policy_engine.h", values)}
    return Library(name=name, file=file, details=details, units=units, sources=dict(sorted(sources.items())))


def library_name(env_id: str, run: str) -> str:
    """`EdgeDQN_<environment>_<run>`, where the run's name does not begin with the environment's anyway.

    What may stand in no identifier becomes `_`. With EdgeDQN in front no environment can give a name that an ecosystem
    reserves, or that begins with a digit, or a header that differs from another by its case alone.
    """
    environment, own = (re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") for text in (env_id, run))
    named = [own] if own.lower().startswith(environment.lower()) else [environment, own]
    return "_".join(filter(None, ("EdgeDQN", *named)))[:LONGEST_NAME].rstrip("_")
