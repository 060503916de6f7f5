"""Compiling for an NPU: Vela's own names, one-line refusals, and a file that says that nobody ran it."""

import configparser
import hashlib
import re
import subprocess
from importlib import metadata, resources
from pathlib import Path

import pytest

pytest.importorskip("ethosu.vela", reason="the extra `npu` is not installed")

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import read_json
from edgedqn.agents.playing.processes import python_command
from edgedqn.export.devices import npu
from edgedqn.export.devices.npu import COMPILED, LABEL, NpuTarget, compile_for_npu, readme, write_npu
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel, read_verified
from edgedqn.export.tflite_file.reader import read_operators

POLICIES = Path(__file__).parents[3] / "docs" / "results" / "policies"
U55 = NpuTarget("ethos-u55-128")


def test_the_names_are_velas_own() -> None:
    shown = subprocess.run(python_command(npu._RUN_VELA, "--help"), capture_output=True, text=True, check=True).stdout
    listed = re.search(r"--accelerator-config\s*\{([^}]*)\}", shown)
    assert listed is not None and re.split(r",\s*", listed[1].strip()) == list(npu.ACCELERATORS)
    known = configparser.ConfigParser()
    known.read_string((resources.files("ethosu") / "config_files" / "Arm" / "vela.ini").read_text())
    sections = [section.partition(".")[::2] for section in known.sections()]
    assert sorted(name for kind, name in sections if kind == "Memory_Mode") == sorted(npu.MEMORY_MODES)
    assert sorted(name for kind, name in sections if kind == "System_Config") == sorted(npu.SYSTEM_CONFIGS)


@pytest.mark.parametrize("name", ["LunarLander-v3", "MinAtar-Breakout-v1"])
def test_a_policy_goes_to_the_npu_whole(name: str) -> None:
    file = read_verified(POLICIES / f"{name}.tflite")
    compiled, estimate = compile_for_npu(file.content, U55)
    assert compile_for_npu(file.content, U55) == (compiled, estimate)
    assert estimate.npu_operators == estimate.operators == len(read_operators(file.model))
    assert [operator.code for operator in read_operators(TfliteModel(compiled))] == [npu.CUSTOM]
    assert (estimate.system_config, estimate.memory_mode) == ("Ethos_U55_High_End_Embedded", "Shared_Sram")
    assert 0 < estimate.weight_bytes <= estimate.flash_bytes and estimate.sram_bytes > 0 == estimate.dram_bytes
    within = compile_for_npu(file.content, NpuTarget("ethos-u55-128", "Sram_Only", "Ethos_U55_Deep_Embedded"))[1]
    assert (within.system_config, within.clock_hz, within.memory_mode) == ("Ethos_U55_Deep_Embedded", 200e6, "Sram_Only")
    assert within.cycles < estimate.cycles  # no weight has to come from a slow flash
    assert within.sram_bytes >= within.weight_bytes  # they are copied there


def test_what_is_written_says_whence_it_is_and_is_no_policy_file(tmp_path: Path) -> None:
    file = read_verified(POLICIES / "CartPole-v1.tflite")
    record, estimate = write_npu(file, tmp_path / "npu", U55)
    path = tmp_path / "npu" / COMPILED
    assert read_json(path.with_suffix(".json"), 1) == {"schema": 1, **record}
    assert record["source_sha256"] == file.file_sha256
    assert record["file_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["label"] == LABEL and record["gate"] is None
    assert LABEL in readme(estimate) and f"{estimate.flash_bytes:,} bytes of flash" in readme(estimate)
    with pytest.raises(PolicyFileError):
        EdgePolicy.load(path)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("ethos-u55-129",), r"accelerator of an NPU: expected one of ethos-u55-32, .*ethos-u85-2048\. Got ethos-u55-129\."),
        (("ethos-u55-128", "Sram"), r"memory mode of an NPU: expected one of Sram_Only, .* Got Sram\."),
        (
            ("ethos-u55-128", None, "Corstone"),
            r"system configuration of an NPU: expected one of Ethos_U55_Deep.* Got Corstone\.",
        ),
        (
            ("ethos-u55-128", None, "Ethos_U65_High_End"),
            r"another NPU than ethos-u55-128: expected one of Ethos_U55_Deep_Embedded, Ethos_U55_High_End_Embedded\. Got",
        ),
        (("ethos-u85-256", None, "Ethos_U65_Embedded"), r"expected one of Ethos_U85_SYS_Flash_Low, .* Got Ethos_U65_Embedded"),
    ],
)
def test_a_name_that_is_unknown_or_another_npus_is_refused_with_the_list(names: tuple[str, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        NpuTarget(*names)


def test_what_vela_refuses_is_one_line(float_policy: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    content = (POLICIES / "CartPole-v1.tflite").read_bytes()
    with pytest.raises(InputError, match=r"memories that fit. Got: Invalid configuration of arena_mem_area=.*\)\.$") as refused:
        compile_for_npu(content, NpuTarget("ethos-u55-128", "Dedicated_Sram"))
    assert "\n" not in str(refused.value)
    with pytest.raises(InputError, match="nothing of this file on the NPU"):
        compile_for_npu(float_policy, U55)
    with pytest.raises(InputError, match=r"Vela refuses .* Got: "):
        compile_for_npu(content[:500], U55)

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    with pytest.raises(InputError, match=r"not installed: pip install 'edgedqn\[npu\]'"):
        compile_for_npu(content, U55)
