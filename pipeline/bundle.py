"""The device bundle: what a board needs, and nothing else."""

import shutil
import sys
import tempfile
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.export.board import write_board
from edgedqn.export.browser import README, write_browser


def write_bundle(policy_file: Path, folder: Path, float_twin: Path | None = None) -> None:
    """Makes `folder`, in place of an old one: what `write_board` writes, and with a twin the page of `write_browser`.

    Each policy file is copied byte for byte: what was proven is what ships. Where LiteRT.js cannot be had, a line on stderr
    says so, and the bundle has no page.

    Args:
      policy_file: a `.tflite` with its sidecar.
      folder: complete or absent at any moment.
      float_twin: the same policy with float input and output, for browsers and for Python on a board.
    Raises:
      PolicyFileError: a file is damaged, or the two are not of one environment.
    """
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write_board(policy_file, temporary, float_twin)
        if float_twin is not None:
            _add_page(float_twin, temporary)
        temporary.chmod(0o755)
        remove_bundle(folder)
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _add_page(float_twin: Path, folder: Path) -> None:
    try:
        write_browser(float_twin, folder / "browser")
    except InputError as error:
        print(f"The bundle has no page for browsers. {error}", file=sys.stderr)
        return
    with (folder / "README.md").open("a", encoding="utf-8") as readme:
        readme.write(README)


def remove_bundle(folder: Path) -> None:
    """A bundle of a policy that no longer passes must not be found."""
    if folder.exists():
        shutil.rmtree(folder)
