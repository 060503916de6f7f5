"""LiteRT.js is fetched once, by exact version, and never used unless it is the pinned one."""

import base64
import hashlib
import io
import os
import subprocess
import tarfile
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.browser import litert_js
from edgedqn.export.devices.browser.litert_js import Package, default_cache, runtime_files

CORE = {
    "package/dist/index.js": b'import { createWasmLib } from "@litertjs/wasm-utils";\nawait Environment.create()\n',
    "package/wasm/litert_wasm_internal.js": b"glue",
    "package/wasm/litert_wasm_internal.wasm": b"\0asm",
    "package/wasm/litert_wasm_threaded_internal.wasm": b"not needed",
}
UTILS = {"package/dist/index.js": b"export {};\n//# sourceMappingURL=index.js.map"}


def packed(members: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that stands for npm's registry: what lies there is what `npm pack` gets. `asked` notes each call."""
    folder = tmp_path / "registry"
    (folder / "bin").mkdir(parents=True)
    for attribute, name, members in (("CORE", "@litertjs/core", CORE), ("WASM_UTILS", "@litertjs/wasm-utils", UTILS)):
        content = packed(members)
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(content).digest()).decode()
        package = Package(name, "9.9.9", integrity)
        (folder / package.archive).write_bytes(content)
        monkeypatch.setattr(litert_js, attribute, package)
    npm = folder / "bin" / "npm"
    npm.write_text(
        f'#!/bin/sh\necho "$2" >> {folder}/asked\nname=$(echo "$2" | sed "s/^@//; s/@/-/; s#/#-#")\n'
        f'for last; do :; done\ncp "{folder}/$name.tgz" "$last" || {{ echo "404 Not Found" >&2; exit 1; }}\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_fetches_once_and_gives_what_a_page_needs(registry: Path, tmp_path: Path) -> None:
    files = runtime_files(tmp_path / "cache")
    assert set(files) == {"litert.js", "wasm-utils.js", "litert_wasm_internal.js", "litert_wasm_internal.wasm", "ORIGIN.txt"}
    assert b'"./wasm-utils.js"' in files["litert.js"] and b"webGpuDevice: null" in files["litert.js"]
    assert b"sourceMappingURL" not in files["wasm-utils.js"]  # it would be asked for, and is not there
    assert runtime_files(tmp_path / "cache") == files
    assert (registry / "asked").read_text().split() == ["@litertjs/core@9.9.9", "@litertjs/wasm-utils@9.9.9"]


def test_asks_nobody_unless_told_to(registry: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"@litertjs/core has not been fetched: expected `edgedqn bundle`"):
        runtime_files(tmp_path / "cache", fetch=False)
    assert not (registry / "asked").exists() and not (tmp_path / "cache").exists()
    files = runtime_files(tmp_path / "cache")
    assert runtime_files(tmp_path / "cache", fetch=False) == files


def test_a_damaged_cache_is_fetched_again(registry: Path, tmp_path: Path) -> None:
    files = runtime_files(tmp_path / "cache")
    archive = tmp_path / "cache" / "litertjs-core-9.9.9.tgz"
    archive.write_bytes(archive.read_bytes()[:-1])
    assert runtime_files(tmp_path / "cache") == files
    assert len((registry / "asked").read_text().split()) == 3


def test_refuses_another_archive_than_the_pinned_one(registry: Path, tmp_path: Path) -> None:
    (registry / "litertjs-core-9.9.9.tgz").write_bytes(packed({**CORE, "package/extra.js": b""}))
    with pytest.raises(InputError, match=r"npm fetched another @litertjs/core@9\.9\.9: expected sha512-"):
        runtime_files(tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_says_in_a_line_what_npm_said(registry: Path, tmp_path: Path) -> None:
    (registry / "litertjs-core-9.9.9.tgz").unlink()
    with pytest.raises(InputError, match=r"npm cannot fetch @litertjs/core@9\.9\.9.* 404 Not Found") as caught:
        runtime_files(tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_says_in_a_line_that_npm_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"expected npm to be installed\. Got none\."):
        runtime_files(tmp_path / "cache")


def test_gives_up_on_a_registry_that_does_not_answer(registry: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stuck(command: list[str], timeout: float, **_: object) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", stuck)
    with pytest.raises(InputError, match="timed out after 300 seconds"):
        runtime_files(tmp_path / "cache")


def test_the_cache_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert default_cache() == Path("/somewhere/edgedqn/litertjs")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert default_cache() == Path.home() / ".cache" / "edgedqn" / "litertjs"
