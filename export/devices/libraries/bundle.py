"""Writes a policy as a library, and as a zip of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgedqn.agents.errors import require
from edgedqn.agents.files import atomic_folder, write_text, write_zip
from edgedqn.export.devices.libraries.forms import FORMS, Texts, library_files
from edgedqn.export.devices.libraries.library import LibraryDetails, build_library
from edgedqn.export.edge_policy import read_verified

# By which an ecosystem's library is known; the first that is there.
MANIFESTS = {
    "arduino": "library.properties",
    "platformio": "library.json",
    "esp-idf": "idf_component.yml",
    "zephyr": "zephyr/module.yml",
    "cmake": "CMakeLists.txt",
}


class MadeLibrary(NamedTuple):
    """Where a library is: its folder, and the zip of that, if one was asked for."""

    folder: Path
    zip: Path | None


def make_library(
    policy_file: str | Path,
    folder: str | Path,
    ecosystem: str,
    *,
    run: str | None = None,
    details: LibraryDetails = LibraryDetails(),
    units: Sequence[float] | None = None,
    zipped: bool = False,
) -> MadeLibrary:
    """Makes a library of a policy in `folder`, in place of an earlier one, for the microcontrollers of one ecosystem.

    What computes the network is plain C wherever that can, and TensorFlow Lite Micro an option; else TensorFlow Lite Micro. The
    same policy and details give the same bytes, of the zip too where zlib is the same.

    Args:
      policy_file: a `.tflite` with its manifest and int8 ends.
      folder: the library lies in a folder of its own name in it, complete or absent at any moment. Made where it is missing.
      ecosystem: "arduino", "platformio", "esp-idf", "zephyr" or "cmake".
      run: which policy of its environment it is, for the library's name; by default the name of the file.
      details: what its author says of it.
      units: the real value of one count of sensors that give integers: for each feature, or one for all. None: `act` takes
        what the environment gives.
      zipped: make a zip beside it, too, called as the ecosystem's own archives are. Without, a zip of this name, of an earlier
        library, is removed.
    Raises:
      PolicyFileError: the file is damaged.
      InputError: there is no such ecosystem, the policy is none for microcontrollers, the units fit no observation, or the
        extra `micro` is missing; or files are in the library's place that are none of the library's.
    """
    require(ecosystem in FORMS, f"Unknown ecosystem: expected one of {', '.join(FORMS)}. Got {ecosystem!r}.")
    form, file = FORMS[ecosystem], read_verified(policy_file)
    library = build_library(file, Path(policy_file).stem if run is None else run, details, units=units)
    texts = library_files(library, ecosystem)
    place, archive = Path(folder) / form.folder(library), Path(folder) / form.archive(library)
    _require_room(place, texts, ecosystem)
    with atomic_folder(place) as temporary:
        for name, text in texts.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            write_text(temporary / name, text)
    archive.unlink(missing_ok=True)  # of an earlier one
    if zipped:
        write_zip(archive, {f"{place.name}/{name}": text for name, text in texts.items()})
    return MadeLibrary(place, archive if zipped else None)


def _require_room(place: Path, texts: Texts, ecosystem: str) -> None:
    """Refuses to put a library in the place of anything else, or of what somebody added to an earlier one."""
    other = next((of for of, manifest in MANIFESTS.items() if manifest not in texts and (place / manifest).exists()), ecosystem)
    wrong = f"it holds a library for {FORMS[other].name}. Expected another folder for one for {FORMS[ecosystem].name} (--out)."
    require(other == ecosystem, f"{place} is in the way: {wrong}")
    others = [place.name] if place.is_file() or place.is_symlink() else []
    others += sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if not path.is_dir())
    strange = next((name for name in others if name not in texts), None)
    wanted = "a new or an empty folder, or an earlier library with nothing added"
    require(strange is None, f"{place} is in the way: expected {wanted}. Got {strange}.")
