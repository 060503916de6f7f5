"""The device bundle: what a board needs, and nothing else."""

import shutil
import tempfile
from pathlib import Path

from edgedqn.export import edge_policy
from edgedqn.export.manifest import read_manifest, write_sidecar


def write_bundle(policy_file: Path, folder: Path) -> None:
    """Makes `folder` with `policy.tflite`, its manifest `policy.json`, and `edge_policy.py` to play it; replaces an old one.

    The file is copied byte for byte: what was proven is what ships.

    Args:
      policy_file: a `.tflite` with its sidecar.
      folder: complete or absent at any moment.
    Raises:
      PolicyFileError: the file is damaged.
    """
    manifest = read_manifest(policy_file)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        shutil.copyfile(policy_file, temporary / "policy.tflite")
        write_sidecar(temporary / "policy.tflite", manifest)
        shutil.copyfile(edge_policy.__file__, temporary / "edge_policy.py")
        temporary.chmod(0o755)
        remove_bundle(folder)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_bundle(folder: Path) -> None:
    """A bundle of a policy that no longer passes must not be found."""
    if folder.exists():
        shutil.rmtree(folder)
