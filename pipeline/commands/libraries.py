"""`bundle --as`: a library of a file, or of what a run ships. Needs no TensorFlow."""

from argparse import Namespace
from dataclasses import fields
from pathlib import Path

from edgedqn.agents.errors import require
from edgedqn.export.devices.libraries.bundle import make_library
from edgedqn.export.devices.libraries.library import LibraryDetails
from edgedqn.pipeline.bundle import shipped_file
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json
from edgedqn.pipeline.run_folder import RunFolder

OF_BUNDLES = ("npu", "memory_mode", "system_config")
OPTION = {"version": "library_version"}  # the arguments that are not called like the detail they give


def is_library_asked(arguments: Namespace) -> bool:
    """Whether `bundle` is to make a library; InputError where only what is said of one is there."""
    given = [f"--{name.replace('_', '-')}" for name in _options() if getattr(arguments, name)]
    require(arguments.ecosystem is not None or not given, f"Only a library has {', '.join(given)}: expected --as. Got none.")
    of_bundles = [f"--{name.replace('_', '-')}" for name in OF_BUNDLES if getattr(arguments, name)]
    alone = arguments.ecosystem is None or not of_bundles
    require(alone, f"A library has nothing for an NPU: expected a bundle, without --as. Got {', '.join(of_bundles)}.")
    return arguments.ecosystem is not None


def make_asked_library(arguments: Namespace) -> int:
    """Makes it, and prints where it is."""
    said = {detail: value for option, detail in _options().items() if (value := getattr(arguments, option)) is not None}
    details, path = LibraryDetails(**said), arguments.path
    is_file = path.suffix == ".tflite"
    policy_file = path if is_file else shipped_file(RunFolder.open(path))
    made = make_library(
        policy_file,
        arguments.out or Path("libraries", arguments.ecosystem),
        arguments.ecosystem,
        run=path.stem if is_file else path.resolve().name,
        details=details,
        units=arguments.sensor_units,
        zipped=arguments.zip,
    )
    places = {name: None if path is None else str(path) for name, path in made._asdict().items()}
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, "ecosystem": arguments.ecosystem, **places})
    else:
        print(*(f"{name.capitalize()}: {path}" for name, path in places.items() if path is not None), sep="\n")
    return DONE


def _options() -> dict[str, str]:
    """The detail that each argument gives."""
    return {OPTION.get(each.name, each.name): each.name for each in fields(LibraryDetails)}
