"""Devices: an aarch64 Python under QEMU; a headless Chromium, driven through a pipe by its DevTools protocol, so without a
package more or a port that others could use."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.browser.litert_js import runtime_files

EXECUTABLES = ("chromium-headless-shell", "chromium")
# One tab, no sandbox because continuous integration runs as root, and no requests of its own.
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--remote-debugging-pipe"),
)
NOBODY_ELSE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
TIMEOUT_S = 60
AARCH64 = Path(__file__).parents[3] / "build" / "aarch64"
ASK = """
import json, platform, sys
import numpy as np
from edge_policy import EdgePolicy
policy = EdgePolicy.load(sys.argv[1])
observations = np.load("observations.npy")
rows = [policy.preferences(x).tolist() for x in observations]
actions = [policy(x) for x in observations]
print(json.dumps({"machine": platform.machine(), "actions": actions, "rows": rows}))
"""
# Chromium reads commands from descriptor 3 and answers on 4, and Popen can only pass descriptors on under their own numbers.
LAUNCH = (
    "import fcntl, os, sys; a, b = (fcntl.fcntl(int(n), fcntl.F_DUPFD, 10) for n in sys.argv[1:3]); "
    "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
)


class Page:
    """One tab.

    Attributes:
      complaints: whatever the console, the log or an uncaught exception said of errors and warnings.
      requests: the address of each request.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, read
        self._rest, self._number, self._session = b"", 0, ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the protocol, and its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        os.write(self._write, json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        deadline = time.monotonic() + TIMEOUT_S
        while True:
            answer = self._receive(deadline)
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression; a promise's, where it is one."""
        given = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in given, given["exceptionDetails"]
        return given["result"].get("value")

    def open(self, url: str, width: int = 760, height: int = 800, dark: bool = False, still: bool = False) -> None:
        """Goes to `url` in a window of that size, as somebody who likes it dark or without motion."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        features += [{"name": "prefers-reduced-motion", "value": "reduce" if still else "no-preference"}]
        self.call("Emulation.setEmulatedMedia", features=features)
        self.call("Page.navigate", url=url)
        self.evaluate("new Promise(done => document.readyState === 'complete' ? done() : addEventListener('load', done))")

    def screenshot(self, path: Path) -> None:
        """A PNG of the window."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def _note(self, event: dict[str, Any]) -> None:
        method, given = event.get("method"), event.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(given["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(given["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and given["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(given["args"]))
        elif method == "Log.entryAdded" and given["entry"]["level"] in ("error", "warning"):
            self.complaints.append(str(given["entry"]))

    def _receive(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            more = os.read(self._read, 1 << 20) if ready else b""
            assert more, "Chromium ended, or did not answer in time"
            self._rest += more
        line, self._rest = self._rest.split(b"\0", 1)
        answer: dict[str, Any] = json.loads(line)
        return answer


@pytest.fixture(scope="session")
def absent() -> Callable[[str], NoReturn]:
    """Ends a test for want of a tool: skipped with the reason, or failed where DEVICE_LAB=required, as in `.ci/run`."""

    def end(reason: str) -> NoReturn:
        if os.environ.get("DEVICE_LAB") == "required":
            pytest.fail(reason)
        pytest.skip(reason)

    return end


@pytest.fixture(scope="session")
def board_python(absent: Callable[[str], NoReturn]) -> Callable[..., str]:
    """Runs the aarch64 board's Python in a folder, with arguments, and gives its stdout."""
    if shutil.which("qemu-aarch64-static") is None or not (AARCH64 / ".unpacked").exists():
        absent("needs qemu-aarch64-static, and an aarch64 Python as `make test-edge` unpacks it")

    def python(folder: Path, *arguments: str) -> str:
        rootfs = AARCH64 / "rootfs"
        command = ["qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(rootfs), f"{rootfs}/usr/bin/python3.11", *arguments]
        environment = {"PYTHONHOME": str(rootfs / "usr"), "PYTHONPATH": str(AARCH64 / "site"), "PATH": os.environ["PATH"]}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return python


@pytest.fixture(scope="session")
def ask_board() -> str:
    """A script: what the policy file in its first argument makes of `observations.npy`, as JSON."""
    return ASK


@pytest.fixture
def page(tmp_path: Path, absent: Callable[[str], NoReturn]) -> Iterator[Page]:
    """A tab of a Chromium with a fresh profile."""
    executable = next(filter(None, map(shutil.which, EXECUTABLES)), None)
    if executable is None:
        absent(f"needs Debian's {' or '.join(EXECUTABLES)}")
    (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
    command = [sys.executable, "-c", LAUNCH, str(theirs_in), str(theirs_out), executable]
    browser = subprocess.Popen(
        [*command, *FLAGS, NOBODY_ELSE, f"--user-data-dir={tmp_path / 'profile'}"],
        pass_fds=(theirs_in, theirs_out),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_out, ours_in)
    finally:
        browser.kill()
        browser.wait()
        os.close(ours_out)
        os.close(ours_in)


@pytest.fixture(scope="session")
def litert_js(absent: Callable[[str], NoReturn]) -> dict[str, bytes]:
    """LiteRT.js, from the cache or from npm."""
    try:
        return runtime_files()
    except InputError as error:
        absent(str(error))
