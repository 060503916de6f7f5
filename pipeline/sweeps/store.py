"""Where finished work lies: a folder, or anything that fsspec can write, such as `s3://bucket/sweep`."""

import hashlib
import json
import uuid
from pathlib import Path, PurePosixPath

import fsspec
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import Json, write_bytes

SCHEMA = 1


class Store:
    """Holds artefacts, each a folder of files and what the work came to. Each is there whole, or not at all.

    The files of an artefact lie in a folder that nobody else writes; `KEY.json`, which is written last, names them with their
    SHA-256. So two machines that do the same work do not disturb each other: the later one counts.
    """

    def __init__(self, url: str):
        """Takes a path, or a URL that fsspec knows. InputError: it knows none, or what it needs is not installed."""
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except (ImportError, ValueError) as error:
            raise InputError(f"Cannot store a sweep in {url}: expected a folder or a URL for fsspec. Got: {error}.") from error
        local = isinstance(self._files, LocalFileSystem)
        self.url = str(Path(self._root).absolute()) if local else url  # workers may stand elsewhere

    @property
    def folder(self) -> Path | None:
        """Where it is, if it is on this machine."""
        return Path(self._root) if isinstance(self._files, LocalFileSystem) else None

    @property
    def is_private(self) -> bool:
        """Whether no other process sees what is written here."""
        return isinstance(self._files, MemoryFileSystem)

    def keys(self) -> set[str]:
        """Of all finished work, by one request."""
        self._files.invalidate_cache()
        try:
            names = self._files.ls(f"{self._root}/work", detail=False)
        except FileNotFoundError:
            return set()
        return {PurePosixPath(name).stem for name in names if name.endswith(".json")}

    def result(self, key: str) -> Json | None:
        """What the work came to; None where it is not done."""
        manifest = self._manifest(key)
        return None if manifest is None else manifest["result"]

    def place(self, key: str) -> str:
        """Where the files of finished work lie, below the root."""
        manifest = self._manifest(key)
        assert manifest is not None, "only of finished work"
        return str(manifest["folder"])

    def put(self, key: str, folder: Path, result: Json, *, seconds: float = 0.0, cpu_seconds: float = 0.0) -> None:
        """Keeps all files of a folder, and what they came to, in how many seconds, and how many of a processor."""
        place, digests = f"work/{key}-{uuid.uuid4().hex[:8]}", {}
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                digests[name] = self._write(f"{place}/{name}", path.read_bytes())
        took = {"seconds": round(seconds, 2), "cpu_seconds": round(cpu_seconds, 2)}
        manifest = {"schema": SCHEMA, "folder": place, "files": digests, **took, "result": result}
        self._write(f"work/{key}.json", json.dumps(manifest, indent=1).encode())

    def get(self, key: str, folder: Path) -> None:
        """Copies the files of finished work into a folder. InputError: one of them is damaged."""
        manifest = self._manifest(key)
        assert manifest is not None, "only of finished work"
        for name, digest in manifest["files"].items():
            if name.startswith("/") or "\\" in name or ".." in PurePosixPath(name).parts:  # it leads elsewhere
                raise InputError(f"{self.url}/work/{key}.json is damaged: expected names below its folder. Got {name!r}.")
            content = self._files.cat_file(f"{self._root}/{manifest['folder']}/{name}")
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(
                    f"{self.url}/{manifest['folder']}/{name} is damaged: expected SHA-256 {digest[:16]}... Got another."
                )
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(folder / name, content)

    def write_text(self, name: str, text: str) -> None:
        """Writes a file below the root, whole."""
        self._write(name, text.encode())

    def read_text(self, name: str) -> str | None:
        """What a file below the root holds; None where there is none."""
        try:
            content: bytes = self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        return content.decode()

    def _manifest(self, key: str) -> Json | None:
        text = self.read_text(f"work/{key}.json")
        if text is None:
            return None
        try:
            manifest: Json = json.loads(text)
            place = manifest["folder"]
            is_below = place.startswith(f"work/{key}-") and ".." not in place
            if manifest["schema"] == SCHEMA and is_below and {"files", "result"} <= set(manifest):
                return manifest
        except (AttributeError, KeyError, TypeError, ValueError):
            pass
        raise InputError(f"{self.url}/work/{key}.json is damaged, or of another version. Expected what came of that work.")

    def _write(self, name: str, content: bytes) -> str:
        path = f"{self._root}/{name}"
        if isinstance(self._files, LocalFileSystem):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(Path(path), content)
        else:  # an object is there when it is written whole
            self._files.pipe_file(path, content)
        return hashlib.sha256(content).hexdigest()
