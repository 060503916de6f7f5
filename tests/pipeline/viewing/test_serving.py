"""The local server of the page: for this machine, with the types and headers a browser insists on."""

import json
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.browser.bundle import CONTENT_POLICY
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.viewing import serving
from edgedqn.pipeline.viewing.serving import page_folder, server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "device" / "browser"
    (folder / "litert").mkdir(parents=True)
    for name in ("index.html", "manifest.json", "page.js", "page.css", "policy.tflite", "litert/runtime.wasm"):
        (folder / name).write_text("{}")
    (tmp_path / "secret").write_text("not of the page")
    return folder


@pytest.fixture
def url(site: Path, serve: Callable[[Path], str]) -> str:
    return serve(site)


@pytest.mark.parametrize(
    "name, kind",
    [
        ("", "text/html; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("page.css", "text/css; charset=utf-8"),
        ("manifest.json", "application/json"),
        ("policy.tflite", "application/octet-stream"),
        ("litert/runtime.wasm", "application/wasm"),
    ],
)
def test_every_file_is_what_a_browser_takes_it_for(url: str, name: str, kind: str) -> None:
    with urllib.request.urlopen(url + name) as answer:
        assert answer.headers["Content-Type"] == kind
        assert answer.headers["Content-Security-Policy"] == CONTENT_POLICY
        assert answer.headers["Cache-Control"] == "no-cache"  # or a new export would play the old policy


@pytest.mark.parametrize("name", ["litert/", "../../secret", "%2e%2e/%2e%2e/secret", "missing.js"])
def test_gives_nothing_else(url: str, name: str) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url + name)
    assert caught.value.code == 404
    caught.value.close()


def test_listens_on_this_machine_alone(url: str) -> None:
    assert url.startswith("http://127.0.0.1:")


def test_says_that_a_port_is_taken(site: Path) -> None:
    with server(site) as first, pytest.raises(InputError, match="expected a free one"), server(site, first.server_port):
        pass


def test_finds_the_page_in_a_bundle_or_a_run(site: Path, tmp_path: Path) -> None:
    for path in (site, tmp_path / "device", tmp_path):
        with page_folder(path) as folder:
            assert folder == site
    with pytest.raises(InputError, match="No page in"), page_folder(site / "litert"):
        pass


def test_makes_a_page_for_a_file_and_takes_it_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    monkeypatch.setattr(serving, "read_verified", lambda path: path)
    monkeypatch.setattr(serving, "write_browser", lambda file, folder, record: made.append((file, folder)))
    with page_folder(tmp_path / "policy.tflite") as folder:
        assert made == [(tmp_path / "policy.tflite", folder)] and folder.exists()
    assert not folder.exists()


def test_the_command_serves_until_it_is_interrupted(site: Path, tmp_path: Path) -> None:
    # Who is started in the background by a shell ignores SIGINT, and hands that on.
    interruptible = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{interruptible}; from edgedqn.pipeline.cli import console; console()"
    command = [sys.executable, "-P", "-c", code, "play", str(tmp_path / "device"), "--browser", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as playing:
        try:
            assert playing.stdout is not None
            url = json.loads(playing.stdout.readline())["url"]
            with urllib.request.urlopen(url + "page.js") as answer:
                assert answer.read() == b"{}"
            playing.send_signal(signal.SIGINT)
            assert playing.wait(30) == 0
            assert playing.stderr is not None and playing.stderr.read() == ""
        finally:
            playing.kill()


@pytest.mark.parametrize("option", [("--gif", "a.gif"), ("--fps", "9")])
def test_a_page_makes_no_film(site: Path, option: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", str(site), "--browser", *option]) == 2
    assert f"Expected no {option[0]} beside --browser" in capsys.readouterr().err


def test_a_port_is_of_a_page(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["play", str(site), "--port", "8000"]) == 2
    assert "Expected --browser beside --port" in capsys.readouterr().err
