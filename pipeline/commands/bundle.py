"""`bundle` of a .tflite, and how a bundle is printed. Needs no TensorFlow."""

import json
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from edgedqn.pipeline.bundle import Part, write_bundle
from edgedqn.pipeline.commands import SCHEMA
from edgedqn.pipeline.exit_codes import DONE


def bundle(arguments: Namespace) -> int:
    """Makes what devices need of one file."""
    folder = arguments.out or Path("device")
    print_bundle(folder, write_bundle(arguments.path, folder, fetch=True), as_json=arguments.json)
    return DONE


def print_bundle(folder: Path, parts: Sequence[Part], *, as_json: bool) -> None:
    """Prints where it is and what it has."""
    if as_json:
        print(json.dumps({"schema": SCHEMA, "bundle": str(folder), "parts": [asdict(part) for part in parts]}))
        return
    print(f"Bundle: {folder}")
    for part in parts:
        print(f"  {part.device:<15}  {part.remark}")
