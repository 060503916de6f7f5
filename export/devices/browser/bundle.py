"""The browser's part of a device bundle: a page that runs the policy with LiteRT.js, and fetches nothing from elsewhere."""

import gzip
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import write_bytes, write_json
from edgedqn.export.devices.browser.litert_js import runtime_files
from edgedqn.export.edge_policy import VerifiedFile

SCHEMA = 1
PAGE = ("index.html", "page.css", "page.js", "policy.js", "dynamics.js", "drawing.js")
RECORDING = "recording.bin"  # by gzip; servers would undo that by themselves if the name said so
# The page's content security policy, which its server should send too: WebAssembly, and requests to its own server alone.
CONTENT_POLICY = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' data:"


class Recording(NamedTuple):
    """Images that a policy was shown in Python, and what it did.

    Attributes:
      observations: of one episode from its beginning, as the policy is given them: bytes [N, H, W] or [N, H, W, C].
      actions: [N].
    """

    observations: NDArray[np.uint8]
    actions: list[int]


def write_browser(
    file: VerifiedFile,
    folder: Path,
    *,
    runtime: Mapping[str, bytes] | None = None,
    fetch: bool = True,
    record: Callable[[], Recording | None] | None = None,
) -> None:
    """Writes a page, the policy and LiteRT.js into `folder`, 9.9 MB of which is LiteRT.js.

    The page plays the classic-control environments, and what was recorded of others; without that it runs the policy on random
    observations. It needs a server,
    `edgedqn play --browser` or any other: browsers load no modules from `file://`.

    Args:
      file: a policy with float32 input and output; copied byte for byte.
      folder: made where missing; files of the same names are replaced.
      runtime: file name -> content of LiteRT.js; from the user's cache by default.
      fetch: let npm fetch what the cache does not hold, once.
      record: gives what the page is to play, and to compare its actions with; asked once the page can be made.
    Raises:
      InputError: its ends are not float32, or LiteRT.js cannot be had.
    """
    for side, tensor in (("input", file.model.input), ("output", file.model.output)):
        if tensor.dtype != "float32":
            raise InputError(f"LiteRT.js runs files with float32 ends only: expected float32 as {side}. Got {tensor.dtype}.")
    runtime = runtime_files(fetch=fetch) if runtime is None else runtime
    (folder / "litert").mkdir(parents=True, exist_ok=True)
    for name, content in runtime.items():
        write_bytes(folder / "litert" / name, content)
    for name in PAGE:
        write_bytes(folder / name, _page_file(name))
    write_bytes(folder / "policy.tflite", file.content)
    recorded = {}
    if record is not None and (recording := record()) is not None:
        write_bytes(folder / RECORDING, gzip.compress(recording.observations.tobytes(), mtime=0))
        recorded = {"recording": {"file": RECORDING, "actions": recording.actions}}
    manifest = {"schema": SCHEMA, "device": file.device.to_json(), "file_sha256": file.file_sha256, **recorded}
    write_json(folder / "manifest.json", manifest)


def readme() -> str:
    """What a bundle's README says of the page, after its heading."""
    return _page_file("README.md").decode()


def _page_file(name: str) -> bytes:
    return (resources.files("edgedqn.export.devices.browser.page") / name).read_bytes()
