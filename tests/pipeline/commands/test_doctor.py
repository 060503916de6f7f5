"""The doctor tells what is missing from what is broken."""

import json
import subprocess
from argparse import Namespace
from collections.abc import Callable

import pytest

from edgedqn.agents.errors import InputError
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


def test_doctor_tries_what_it_names(edgedqn: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    answer = edgedqn("doctor", "--json")
    assert (answer.returncode, answer.stderr) == (0, "")
    findings = json.loads(answer.stdout)
    assert findings["checks"] == {"play": "works", "train and export": "works"}
    assert "tensorflow" in findings["versions"]
