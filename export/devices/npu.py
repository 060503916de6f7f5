"""An NPU: Arm's Ethos-U beside a Cortex-M or Cortex-A, whose compiler Vela turns a proven file into one for it.

What Vela gives is another file than the proven one: nothing here can run it, so no gate has judged it. Its figures are Vela's
own estimates for a memory system that it assumes.
"""

import csv
import hashlib
import re
import subprocess
import tempfile
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import write_bytes, write_json
from edgedqn.agents.playing.processes import python_command
from edgedqn.export.edge_policy import TfliteModel, VerifiedFile
from edgedqn.export.tflite_file.reader import read_operators

COMPILED = "policy_vela.tflite"
LABEL = "compiled from the proven file, not itself run"
CUSTOM = 32  # BuiltinOperator of the TFLite schema: all that runs on the NPU is one such operator, or a few
PATIENCE_S = 300

# Vela's own names, of its --accelerator-config, --memory-mode and --system-config (the last two in its Arm/vela.ini).
ACCELERATORS = (
    *(f"ethos-u55-{macs}" for macs in (32, 64, 128, 256)),
    *(f"ethos-u65-{macs}" for macs in (256, 512)),
    *(f"ethos-u85-{macs}" for macs in (128, 256, 512, 1024, 2048)),
)
MEMORY_MODES = (
    "Sram_Only",
    "Shared_Sram",
    "Dedicated_Sram",
    "Dedicated_Sram_256KB",
    "Dedicated_Sram_384KB",
    "Dedicated_Sram_512KB",
)
SYSTEM_CONFIGS = (
    "Ethos_U55_Deep_Embedded",
    "Ethos_U55_High_End_Embedded",
    *(f"Ethos_U65_{kind}" for kind in ("Embedded", "Mid_End", "High_End", "Client_Server")),
    *(f"Ethos_U85_SYS_{kind}" for kind in ("Flash_Low", "Flash_High", "DRAM_Low", "DRAM_Mid", "DRAM_High")),
)
_RUN_VELA = "import sys; from ethosu.vela.vela import main; sys.exit(main(sys.argv[1:]))"


@dataclass(frozen=True)
class NpuTarget:
    """What a file is compiled for. InputError: a name that Vela does not know, with those that it does, or memories of another
    family of NPUs, of which Vela would compute its estimates all the same.

    Attributes:
      accelerator: one of `ACCELERATORS`; the number is that of its multiply-accumulates per cycle.
      memory_mode: one of `MEMORY_MODES`: where weights and tensors lie. None: Vela's default for the accelerator.
      system_config: one of `SYSTEM_CONFIGS`: clock and memories. None: likewise.
    """

    accelerator: str
    memory_mode: str | None = None
    system_config: str | None = None

    def __post_init__(self) -> None:
        for what, name, known in (
            ("accelerator", self.accelerator, ACCELERATORS),
            ("memory mode", self.memory_mode, (None, *MEMORY_MODES)),
            ("system configuration", self.system_config, (None, *SYSTEM_CONFIGS)),
        ):
            listed = ", ".join(filter(None, known))
            require(name in known, f"Unknown {what} of an NPU: expected one of {listed}. Got {name}.")
        family = self.accelerator.split("-")[1].upper()  # U55
        fitting = [name for name in SYSTEM_CONFIGS if name.split("_")[1] == family]
        require(
            self.system_config is None or self.system_config in fitting,
            f"The clock and the memories of another NPU than {self.accelerator}: expected one of {', '.join(fitting)}. "
            f"Got {self.system_config}.",
        )


@dataclass(frozen=True, kw_only=True)
class NpuEstimate:
    """What Vela says of a file that it has compiled: nothing of this was measured.

    Attributes:
      compiler: with its version.
      accelerator, system_config, memory_mode: what was assumed, by Vela's names.
      operators: of the proven file.
      npu_operators: of these, on the NPU; the CPU computes the rest.
      cycles: of one inference, at `clock_hz`.
      weight_bytes: of the weights as the NPU reads them, compressed and with what goes with them.
      sram_bytes, dram_bytes, flash_bytes: what the compiled file takes of each memory.
    """

    compiler: str
    accelerator: str
    system_config: str
    memory_mode: str
    operators: int
    npu_operators: int
    cycles: int
    clock_hz: float
    weight_bytes: int
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int

    def __str__(self) -> str:
        """A sentence's beginning for a person."""
        return (
            f"{self.accelerator} ({self.system_config}, {self.memory_mode}): {self.npu_operators} of {self.operators} "
            f"operators on the NPU, {self.cycles:,} cycles a step at {self.clock_hz / 1e6:g} MHz"
        )


def compile_for_npu(content: bytes, target: NpuTarget) -> tuple[bytes, NpuEstimate]:
    """Compiles a `.tflite` with Vela, in a process of its own.

    Args:
      content: of a file that has been proven whole: Vela crashes on a damaged one.
      target: the NPU and its memories.
    Returns:
      The compiled file, for TFLite Micro with Arm's Ethos-U kernel, and Vela's estimate. The same arguments give the same.
    Raises:
      InputError: Vela is not installed, refuses the target, or puts nothing of the file on the NPU.
    """
    try:
        compiler = f"ethos-u-vela {metadata.version('ethos-u-vela')}"
    except metadata.PackageNotFoundError as error:
        raise InputError("Vela is not installed: pip install 'edgedqn[npu]'.") from error
    options = [f"--accelerator-config={target.accelerator}"]
    options += [f"--memory-mode={target.memory_mode}"] if target.memory_mode else []
    options += [f"--system-config={target.system_config}"] if target.system_config else []
    with tempfile.TemporaryDirectory() as name:
        source = Path(name) / "policy.tflite"
        source.write_bytes(content)
        command = python_command(_RUN_VELA, str(source), f"--output-dir={name}", *options)
        try:
            run = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False, cwd=name)
        except subprocess.TimeoutExpired as error:
            raise InputError(f"Vela did not end: expected it within {PATIENCE_S} seconds.") from error
        summaries = list(Path(name).glob("*_summary_*.csv"))
        if run.returncode or not summaries:
            printed = " ".join((run.stderr or run.stdout).decode("utf-8", "replace").strip().splitlines()[-1:])
            reason = re.sub(r"^[\w.]*Error: |'?Error: |'$", "", printed) or f"exit code {run.returncode}"
            raise InputError(f"Vela refuses {' '.join(options)}: expected an int8 file and memories that fit. Got: {reason}.")
        compiled = (Path(name) / COMPILED).read_bytes()
        with summaries[0].open(encoding="utf-8", newline="") as table:
            (row,) = csv.DictReader(table)
    operators = len(read_operators(TfliteModel(content)))
    left = sum(operator.code != CUSTOM for operator in read_operators(TfliteModel(compiled)))
    constants = _bytes(row["on_chip_flash_memory_used"])
    # There Vela calls those constants flash that must be copied to SRAM (5.2: `stats_writer.py` subtracts them from it).
    copied = constants if row["memory_mode"] == "Sram_Only" else 0
    require(left < operators, "Vela puts nothing of this file on the NPU: expected int8 input and output. Got another file.")
    estimate = NpuEstimate(
        compiler=compiler,
        accelerator=target.accelerator,
        system_config=row["system_config"],
        memory_mode=row["memory_mode"],
        operators=operators,
        npu_operators=operators - left,
        cycles=round(float(row["cycles_total"])),
        clock_hz=float(row["core_clock"]),
        weight_bytes=round(float(row["total_npu_encoded_weights"])),
        sram_bytes=_bytes(row["sram_memory_used"]) + copied,
        dram_bytes=_bytes(row["dram_memory_used"]),
        flash_bytes=constants + _bytes(row["off_chip_flash_memory_used"]),
    )
    return compiled, estimate


def write_npu(file: VerifiedFile, folder: Path, target: NpuTarget) -> tuple[dict[str, object], NpuEstimate]:
    """Compiles a proven policy into `folder`, which is made: `policy_vela.tflite` and, in `policy_vela.json`, what it is.

    Returns:
      What stands in `policy_vela.json`: of which file this is, that it was not run, and the estimate; and the estimate itself.
    Raises:
      InputError: as `compile_for_npu`.
    """
    compiled, estimate = compile_for_npu(file.content, target)
    record = {
        "file": f"{folder.name}/{COMPILED}",
        "file_sha256": hashlib.sha256(compiled).hexdigest(),
        "size_bytes": len(compiled),
        "source_sha256": file.file_sha256,
        "label": LABEL,
        "gate": None,
        "estimate": asdict(estimate),
    }
    folder.mkdir(parents=True)
    write_bytes(folder / COMPILED, compiled)
    write_json(folder / f"{Path(COMPILED).stem}.json", {"schema": 1, **record})
    return record, estimate


def readme(estimate: NpuEstimate) -> str:
    """What a bundle's README says of the file, after its heading and the estimate."""
    return f"""
`npu/{COMPILED}` is {LABEL}; the figures are those of {estimate.compiler}. In a firmware
with TensorFlow Lite Micro and Arm's Ethos-U driver it stands in place of `policy.tflite`, with the operator `AddEthosU()` and
the ends of `microcontroller/policy_settings.h`. It takes {estimate.flash_bytes:,} bytes of flash and
{estimate.sram_bytes:,} of SRAM. No gate has judged it: compare its actions with those of `policy.tflite` on your device.
"""


def _bytes(kibibytes: str) -> int:
    return round(float(kibibytes) * 1024)
