"""LiteRT.js, the runtime of the browser's part of a bundle: fetched once with npm, checked, and kept in the user's cache."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import write_bytes
from edgedqn.agents.playing.processes import command_that_ends_with_this


class Package(NamedTuple):
    """An npm package, pinned as a lock file does: `integrity` is `sha512-` and the digest of its archive in base64."""

    name: str
    version: str
    integrity: str

    @property
    def archive(self) -> str:
        """The file name `npm pack` gives it."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


CORE = Package(
    "@litertjs/core", "2.5.3", "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9OFDL1kCnN4nzWoyJQ=="
)
WASM_UTILS = Package(
    "@litertjs/wasm-utils",
    "2.5.3",
    "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9OYBVdFawteZ/sI1kQ==",
)
TIMEOUT_S = 300  # for 12 MB

# The packages expect a bundler, and look for a WebGPU device that no policy here uses: without the second change a browser
# that has none warns about it.
IMPORT, RELATIVE_IMPORT = '"@litertjs/wasm-utils"', '"./wasm-utils.js"'
PROBE, NO_PROBE = "await Environment.create()", "await Environment.create({ webGpuDevice: null })"
SOURCE_MAP = "\n//# sourceMappingURL=index.js.map"


def runtime_files(cache: Path | None = None, fetch: bool = True) -> dict[str, bytes]:
    """The files a page needs, by name; the first call fetches 12 MB with npm.

    Args:
      cache: holds the archives; `edgedqn/litertjs` in the user's cache by default.
      fetch: ask npm for what the cache does not hold.
    Returns:
      `litert.js`, which a page imports, what that imports and loads in turn, and `ORIGIN.txt`.
    Raises:
      InputError: npm is not installed or cannot fetch, or an archive is not the pinned one; or none is there and `fetch` is
        False.
    """
    cache = cache or default_cache()
    core, utils = (_members(_archive(package, cache, fetch)) for package in (CORE, WASM_UTILS))
    litert = core["package/dist/index.js"].decode()
    for old, new in ((IMPORT, RELATIVE_IMPORT), (PROBE, NO_PROBE)):
        assert litert.count(old) == 1, f"{CORE.name} {CORE.version} is pinned, and has {old} once"
        litert = litert.replace(old, new)
    origin = "\n".join(f"{package.name} {package.version} (npm), Apache-2.0, Google LLC" for package in (CORE, WASM_UTILS))
    return {
        "litert.js": litert.replace(SOURCE_MAP, "").encode(),
        "wasm-utils.js": utils["package/dist/index.js"].decode().replace(SOURCE_MAP, "").encode(),
        "litert_wasm_internal.js": core["package/wasm/litert_wasm_internal.js"],
        "litert_wasm_internal.wasm": core["package/wasm/litert_wasm_internal.wasm"],
        "ORIGIN.txt": f"{origin}\nlitert.js: the import made relative, no search for a WebGPU device.\n".encode(),
    }


def default_cache() -> Path:
    """Where archives are kept: `$XDG_CACHE_HOME` or `~/.cache`, then `edgedqn/litertjs`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgedqn" / "litertjs"


def _archive(package: Package, cache: Path, fetch: bool) -> bytes:
    path = cache / package.archive
    if path.exists() and _integrity(content := path.read_bytes()) == package.integrity:
        return content
    if not fetch:
        raise InputError(f"{package.name} has not been fetched: expected `edgedqn bundle`, which does so once, with npm.")
    content = _fetch(package)
    cache.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    return content


def _fetch(package: Package) -> bytes:
    wanted = f"{package.name}@{package.version}"
    npm = shutil.which("npm")
    if npm is None:
        raise InputError(f"npm fetches {wanted}, which runs the policy there, once: expected npm to be installed. Got none.")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", wanted, "--ignore-scripts", "--silent", "--pack-destination", folder]
        try:
            subprocess.run(
                command_that_ends_with_this(command), cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=True
            )
            content = (Path(folder) / package.archive).read_bytes()
        except (subprocess.SubprocessError, OSError) as error:
            told = " ".join((getattr(error, "stderr", None) or str(error)).split())[-300:]
            raise InputError(f"npm cannot fetch {wanted}, which the page for browsers needs. Got: {told}") from error
    found = _integrity(content)
    if found != package.integrity:
        raise InputError(f"npm fetched another {wanted}: expected {package.integrity}. Got {found}.")
    return content


def _integrity(content: bytes) -> str:
    return f"sha512-{base64.b64encode(hashlib.sha512(content).digest()).decode()}"


def _members(archive: bytes) -> dict[str, bytes]:
    """Only read into memory, so no name in the archive can lead outside a folder."""
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        wanted = ("package/dist/index.js", "package/wasm/litert_wasm_internal.js", "package/wasm/litert_wasm_internal.wasm")
        found = {member.name: tar.extractfile(member) for member in tar if member.name in wanted}
        return {name: file.read() for name, file in found.items() if file is not None}
