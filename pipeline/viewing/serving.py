"""A local server for the page that plays a policy in a browser."""

import functools
import http.server
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.browser.bundle import CONTENT_POLICY, write_browser
from edgedqn.export.edge_policy import read_verified
from edgedqn.pipeline.viewing.recording import recorded


@contextmanager
def page_folder(path: Path) -> Iterator[Path]:
    """The folder of a page.

    Args:
      path: a `.tflite` with float32 ends, for which a page is made and removed again; or a bundle or its `browser/`.
    Raises:
      PolicyFileError: the file is damaged.
      InputError: there is no page and no such policy in `path`, or LiteRT.js cannot be had.
    """
    if path.suffix == ".tflite":
        with tempfile.TemporaryDirectory(prefix="edgedqn-page-") as temporary:
            file = read_verified(path)
            write_browser(file, Path(temporary), record=functools.partial(recorded, file))
            yield Path(temporary)
        return
    for folder in (path, path / "browser", path / "device" / "browser"):
        if (folder / "index.html").exists() and (folder / "manifest.json").exists():
            yield folder
            return
    raise InputError(
        f"No page in {path}: expected a .tflite with float32 input and output, or a bundle with browser/, which "
        "`edgedqn bundle` makes."
    )


def server(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    """A server of a page's folder for this machine alone, listening; `serve_forever` answers. A context manager.

    Args:
      folder: of the page.
      port: to listen on; any free one by default.
    Raises:
      InputError: the port is taken or not allowed.
    """
    try:
        return http.server.ThreadingHTTPServer(("127.0.0.1", port), functools.partial(_Handler, directory=str(folder)))
    except (OSError, OverflowError) as error:
        raise InputError(f"Cannot listen on port {port}: expected a free one. Got: {error}.") from error


def address(listening: http.server.ThreadingHTTPServer) -> str:
    """What to open in a browser."""
    return f"http://127.0.0.1:{listening.server_address[1]}/"


def serve(listening: http.server.ThreadingHTTPServer) -> None:
    """Answers until Ctrl-C, which is how a page's user ends it and no failure."""
    with suppress(KeyboardInterrupt):
        listening.serve_forever()


class _Handler(http.server.SimpleHTTPRequestHandler):
    # By what each file must be to a browser, whatever the system's own table says: a module of another type is not run,
    # and WebAssembly of another type is not compiled while it loads.
    extensions_map = {  # noqa: RUF012 - the base class declares it so
        ".html": "text/html; charset=utf-8",
        ".css": "text/css; charset=utf-8",
        ".js": "text/javascript; charset=utf-8",
        ".json": "application/json",
        ".wasm": "application/wasm",
        "": "application/octet-stream",
    }

    def end_headers(self) -> None:
        # No COOP/COEP: they matter to threads only, and the page uses none.
        self.send_header("Content-Security-Policy", CONTENT_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def list_directory(self, path: object) -> None:
        self.send_error(404)

    def log_message(self, format: str, *args: object) -> None:
        pass
