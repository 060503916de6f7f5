"""The doctor tells what is missing from what is broken."""

import json
import shutil
import subprocess
from argparse import Namespace
from collections.abc import Callable
from importlib.metadata import metadata
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.core import CORES
from edgedqn.pipeline.commands import doctor


def test_missing_is_no_fault_and_broken_is(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def missing() -> None:
        raise InputError("This needs the extra `train`.")

    def broken() -> None:
        raise RuntimeError("no such symbol")

    monkeypatch.setattr(doctor, "_export", missing)
    assert doctor.doctor(Namespace(json=True, results=None)) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks == {"play": "works", "train and export": "not available: This needs the extra `train`."}
    monkeypatch.setattr(doctor, "_export", broken)
    assert doctor.doctor(Namespace(json=False, results=None)) == 1
    assert "train and export: broken: RuntimeError: no such symbol" in capsys.readouterr().out


def test_each_job_says_what_it_lacks_and_what_brings_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def without(*absent: str) -> dict[str, doctor.Job]:
        monkeypatch.setattr(doctor, "find_spec", lambda name: None if name in absent else object())
        monkeypatch.setattr(doctor, "missing_tools", lambda core: [tool for tool in core.needs if tool in absent])
        monkeypatch.setattr(shutil, "which", lambda name: None if name in absent else name)
        return {job.name: job for job in doctor.find_jobs()}

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # without LiteRT.js
    jobs = without("tf_keras", "ale_py", "ray", "ethosu", "optuna", "yaml", "qemu-system-arm", "avr-gcc", "npm")
    expected = {
        "train": (("tf_keras",), ("pip install 'edgedqn[train]'",)),
        "Atari": (("ale_py",), ("pip install 'edgedqn[atari]'",)),
        "NPU": (("ethosu",), ("pip install 'edgedqn[npu]'",)),
        "sweep": (("optuna",), ("pip install 'edgedqn[sweep]'",)),
        "cluster": (("optuna", "ray"), ("pip install 'edgedqn[sweep,cluster]'",)),
        "bundle": (("yaml", "qemu-system-arm"), ("pip install --pre 'edgedqn[micro]'", "apt install qemu-system-arm")),
        "browser": (("LiteRT.js", "npm, which fetches it"), ("apt install npm", "edgedqn bundle RUN")),
        "bench --fit": (("avr-gcc", "qemu-system-arm"), ("apt install gcc-avr qemu-system-arm",)),
        "MinAtar": ((), ()),
    }
    assert {name: (jobs[name].missing, jobs[name].commands) for name in expected} == expected
    assert without()["browser"].commands == ("edgedqn bundle RUN",)
    assert all(not job.missing for name, job in without().items() if name != "browser")


def test_the_extras_it_names_are_ours_and_bring_what_it_looks_for() -> None:
    extras = set(metadata("edgedqn").get_all("Provides-Extra") or ())
    assert {extra for _, names, _ in doctor.EXTRAS for extra in names} | {"micro"} <= extras
    needed = {tool for core in ("cortex-m4f", "cortex-m0", "atmega328p") for tool in CORES[core].needs}
    assert needed <= doctor.DEBIAN.keys()


def test_doctor_tries_what_it_names(edgedqn: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    answer = edgedqn("doctor", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    findings = json.loads(answer.stdout)
    assert findings["checks"] == {"play": "works", "train and export": "works"}
    assert "tensorflow" in findings["versions"]
    assert {"name": "train", "missing": [], "commands": []} in findings["jobs"]
