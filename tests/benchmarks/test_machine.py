"""The machine: what can be read is told, what cannot is null."""

from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from edgedqn.benchmarks import machine
from edgedqn.benchmarks.machine import describe_machine

X86 = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel\t\t: 17\nprocessor\t: 1\nmodel name\t: AMD EPYC\n"
PI = "processor\t: 0\nBogoMIPS\t: 108.00\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n"


@pytest.mark.parametrize(("content", "cpu"), [(X86, "AMD EPYC"), (PI, "Raspberry Pi 4 Model B")])
def test_the_processor_by_its_own_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, cpu: str) -> None:
    (tmp_path / "cpuinfo").write_text(content)
    monkeypatch.setattr(machine, "CPU_INFO", tmp_path / "cpuinfo")
    assert describe_machine(1).cpu == cpu


def test_a_governor_only_where_one_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GOVERNOR", tmp_path / "scaling_governor")
    assert describe_machine(1).governor is None
    (tmp_path / "scaling_governor").write_text("performance\n")
    assert describe_machine(1).governor == "performance"


def test_a_package_that_is_not_there_has_no_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(package: str) -> None:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(machine, "version", missing)
    found = describe_machine(2)
    assert (found.numpy, found.gymnasium, found.threads) == (None, None, 2)


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000\n", 4), ("250000 100000\n", 2), ("50000 100000\n", 1), ("900000 100000\n", 4), ("", 4)]
)
def test_no_more_cores_than_the_affinity_and_the_quota_allow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quota: str, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 2, 3, 7}, raising=False)
    (tmp_path / "cpu.max").write_text(quota)
    monkeypatch.setattr(machine, "CPU_MAX", tmp_path / "cpu.max")
    assert machine.usable_cores() == cores


@pytest.mark.skipif(not machine.forget_peak_memory(), reason="the system does not let it be measured anew")
def test_the_peak_of_memory_is_that_since_it_was_forgotten() -> None:
    held = bytearray(b"1" * 200_000_000)
    before = machine.peak_memory_mb()
    del held
    assert machine.forget_peak_memory()
    after = machine.peak_memory_mb()
    assert before is not None and after is not None and before > 200 and after <= before - 150
