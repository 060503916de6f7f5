"""The browser's part of a bundle, as files; `device_lab` runs it in a browser."""

import json
import re
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.browser.bundle import CONTENT_POLICY, PAGE, write_browser
from edgedqn.export.edge_policy import PolicyFileError, read_verified

RUNTIME = {"litert.js": b"export {};"}


def test_writes_the_page_the_policy_as_it_is_and_the_runtime(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> None:
    write_browser(read_verified(cartpole_files[1]), tmp_path / "browser", runtime=RUNTIME)
    file = read_verified(cartpole_files[1])
    assert {path.name for path in (tmp_path / "browser").iterdir()} == {*PAGE, "policy.tflite", "manifest.json", "litert"}
    assert (tmp_path / "browser" / "policy.tflite").read_bytes() == file.content
    assert (tmp_path / "browser" / "litert" / "litert.js").read_bytes() == RUNTIME["litert.js"]
    manifest = json.loads((tmp_path / "browser" / "manifest.json").read_text())
    assert manifest == {"schema": 1, "device": file.device.to_json(), "file_sha256": file.file_sha256}


def test_names_no_address_of_anybody_else(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> None:
    write_browser(read_verified(cartpole_files[1]), tmp_path, runtime=RUNTIME)
    for name in PAGE:
        assert "//" not in re.sub(r"^\s*//.*|\s// .*", "", (tmp_path / name).read_text(), flags=re.MULTILINE), name
    assert f'content="{CONTENT_POLICY}"' in (tmp_path / "index.html").read_text()


def test_refuses_integer_ends_which_litert_js_does_not_take(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> None:
    with pytest.raises(InputError, match=r"expected float32 as input\. Got int8\."):
        write_browser(read_verified(cartpole_files[0]), tmp_path / "browser", runtime=RUNTIME)
    assert not (tmp_path / "browser").exists()


def test_refuses_a_damaged_file(tmp_path: Path, cartpole_files: tuple[Path, Path]) -> None:
    content = bytearray(cartpole_files[1].read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(PolicyFileError):
        write_browser(read_verified(tmp_path / "bad.tflite"), tmp_path / "browser", runtime=RUNTIME)
