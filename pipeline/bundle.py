"""The device bundle: what a board, a microcontroller and a browser need of one policy, and nothing else."""

import os
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import UNFINISHED, atomic_folder, write_zip
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.footprint import NETWORK, measure
from edgedqn.benchmarks.rows import best_passing, read_benchmark
from edgedqn.export.devices.board.bundle import shipped_loop, write_board
from edgedqn.export.devices.browser import bundle as browser
from edgedqn.export.devices.browser.bundle import Recording, write_browser
from edgedqn.export.devices.microcontroller import bundle as microcontroller
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.devices.npu import NpuTarget, write_npu
from edgedqn.export.devices.npu import readme as npu_readme
from edgedqn.export.edge_policy import VerifiedFile, read_verified
from edgedqn.export.tflite_file.arena import arena_bounds
from edgedqn.export.tflite_file.manifest import write_evidence, write_policy
from edgedqn.export.tflite_file.rewriting import float_twin
from edgedqn.pipeline.run_folder import RunFolder
from edgedqn.pipeline.viewing.recording import recorded

MEASURED = CORES["cortex-m4f"]
POLICY, LOOP = "policy.tflite", "run_policy.py"
# By these a folder is known as a bundle ...
SIGNATURE = {POLICY, "policy.json", "edge_policy.py", LOOP}
# ... and these are ours, to be made anew. Whatever else is there stays.
OURS = SIGNATURE | {"bench_on_device.py", "README.md", "board", "microcontroller", "browser", "npu", "__pycache__"}


@dataclass(frozen=True)
class Part:
    """What a bundle has for one kind of device."""

    device: str  # "Linux board", "microcontroller", "browser" or "NPU"
    there: bool  # whether the bundle has files for it
    remark: str  # what they are, or why they are not there; a sentence


def shipped_file(run: RunFolder) -> Path:
    """The `.tflite` that a run ships. InputError where the run is not that far, or no file may be shipped."""
    benchmark = read_benchmark(run.benchmark)
    best = best_passing(benchmark.rows, benchmark.fits)
    if best is None:
        raise InputError(
            f"{run.path} has nothing to ship: expected an int8 file that passed its gate. "
            "A .tflite given by its name is bundled whatever it scored."
        )
    return run.model(best.name)


def make_bundle(
    policy_file: str | Path,
    folder: str | Path,
    *,
    fetch: bool = False,
    units: Sequence[float] | None = None,
    npu: NpuTarget | None = None,
) -> tuple[Part, ...]:
    """Makes `folder`, in place of an old bundle: `policy.tflite`, the board's scripts, `microcontroller/`, `browser/`.

    What somebody put into an old bundle stays: files that are not ours, and a `run_policy.py` that was changed, by the name of
    `run_policy.old.py`.

    The policy file is copied byte for byte, whatever it scored: what a run ships, `Job` decides. Where it takes integers, its
    twin with float ends is made of it, for the browser and for Python on a board. The evidence in `policy.json` gains
    `microcontroller`: the arena that TFLite Micro takes, and what `policy.c` costs on an emulated Cortex-M4; and with an NPU,
    `npu`: what Vela made of the file, and its estimates.

    Args:
      policy_file: a `.tflite` with its manifest, inside or beside it.
      folder: complete or absent at any moment. A symlink is replaced, with a warning; what it leads to stays as it is.
      fetch: fetch LiteRT.js with npm if the cache does not hold it. The page is left out if it is in neither.
      units: the real value of one count of the sensors of a microcontroller without floating point: for each feature, or one
        for all.
      npu: compile the file for this one, too, into `npu/`.
    Returns:
      What the bundle has for each kind of device.
    Raises:
      PolicyFileError: the file is damaged.
      InputError: `folder` holds something else than a bundle; there are units, and nothing for microcontrollers; or Vela is
        missing or does not compile the file.
    """
    folder = Path(folder)
    there = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    if folder.is_symlink():
        warnings.warn(f"{folder} was a symlink and is a folder now; {folder.readlink()} stays as it was.", stacklevel=2)
    elif folder.exists() and not (folder.is_dir() and (not there or there >= SIGNATURE)):  # what is in it would be lost
        raise InputError(f"{folder} is in the way: expected a new or an empty folder, or an earlier bundle. Got neither.")
    file = read_verified(policy_file)
    with atomic_folder(folder) as temporary:
        parts = _write_parts(file, temporary, fetch=fetch, units=units, npu=npu)
        _carry_over(folder, temporary)
    return parts


def has_archive(folder: Path) -> bool:
    """Whether the zip of an earlier bundle lies beside a bundle's folder."""
    archive = folder.with_name(f"{folder.name}.zip")
    if not zipfile.is_zipfile(archive):
        return False
    with zipfile.ZipFile(archive) as opened:
        return f"{folder.name}/policy.tflite" in opened.namelist()


def write_archive(folder: Path) -> Path:
    """A zip of a bundle beside it, called as it is, in place of an earlier one. InputError: something else is there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    archive = folder.with_name(f"{folder.name}.zip")
    if archive.exists() and not has_archive(folder):
        raise InputError(f"{archive} is in the way: expected a new file, or the zip of an earlier bundle. Got neither.")
    write_zip(archive, {f"{folder.name}/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in files})
    return archive


def remove_bundle(folder: Path) -> None:
    """A bundle of a policy that no longer passes must not be found. What somebody put into it goes to `<folder>.kept`.

    Of a symlink the link alone goes.
    """
    if not os.path.lexists(folder):
        return
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.", suffix=UNFINISHED) as name:
        kept = Path(name) / "kept"
        kept.mkdir()
        _carry_over(folder, kept)
        if any(kept.iterdir()):
            shutil.copytree(kept, folder.with_name(f"{folder.name}.kept"), symlinks=True, dirs_exist_ok=True)
        folder.rename(Path(name) / "removed")  # at once: half a bundle would be in the way of the next


def _carry_over(old: Path, new: Path) -> None:
    """Copies what is not ours from one bundle to the next."""
    if old.is_symlink() or not old.exists():
        return
    for entry in old.iterdir():
        if entry.is_dir() and entry.name not in OURS:
            shutil.copytree(entry, new / entry.name, symlinks=True)
        elif entry.name not in OURS:
            shutil.copy2(entry, new / entry.name, follow_symlinks=False)
    loop = old / LOOP
    if loop.exists() and loop.read_bytes() != shipped_loop():
        shutil.copy2(loop, new / f"{loop.stem}.old.py")


def _write_parts(
    file: VerifiedFile, folder: Path, *, fetch: bool, units: Sequence[float] | None, npu: NpuTarget | None
) -> tuple[Part, ...]:
    evidence = {key: value for key, value in file.evidence.items() if key != "npu"}  # of an earlier bundle
    accelerated = []
    if npu is not None:
        evidence["npu"], estimate = write_npu(file, folder / "npu", npu)
        accelerated.append((Part("NPU", True, f"{estimate}, *estimated*."), npu_readme(estimate)))
    file = replace(file, evidence=evidence)
    with tempfile.TemporaryDirectory() as name:
        twin = None
        if file.model.input.dtype == "int8":
            content, device = float_twin(file.model, file.device)
            twin = write_policy(Path(name) / "twin.tflite", content, device=device, evidence={})
        write_board(file, folder, twin=twin)
        board = Part("Linux board", True, f"{POLICY}{', and its twin with float ends' if twin else ''}.")
        small = _add_microcontroller(file, folder, units)
        page = _add_page(twin or file, folder, fetch, record=partial(recorded, file))
    with (folder / "README.md").open("a", encoding="utf-8") as readme:
        for heading, part, text in (
            ("On a microcontroller", small, microcontroller.readme()),
            ("In a browser", page, browser.readme()),
            *(("On an NPU", *each) for each in accelerated),
        ):
            readme.write(f"\n## {heading}\n\n{part.remark}\n{text if part.there else ''}")
    return board, small, page, *(part for part, _ in accelerated)


def network_cost(sources: Path) -> dict[str, int | None]:
    """What a bundle's `policy.c` costs on an emulated Cortex-M4: instructions of a step, and bytes, as the evidence has them.

    Raises as `measure`.
    """
    found = measure(MEASURED, sources, files=[NETWORK])
    return {
        "instructions": found.infer,
        "code_bytes": found.code_bytes,
        "constants_bytes": found.constants_bytes,
        "stack_bytes": found.stack_bytes,
    }


def _add_microcontroller(file: VerifiedFile, folder: Path, units: Sequence[float] | None) -> Part:
    sources = folder / "microcontroller"
    try:
        names = write_microcontroller(file, sources, units=units)
    except InputError as error:
        if units is not None:  # somebody wants them
            raise
        return Part("microcontroller", False, f"Nothing for microcontrollers. {error}")
    arena = arena_bounds(file.model)
    bounds = {"reference": arena.reference, "cmsis_nn": arena.cmsis_nn, "esp_nn": arena.esp_nn}
    found: dict[str, object] = {"arena_bytes": arena.measured, "arena_bounds": bounds, "cortex_m4": None}
    remark = (
        f"TensorFlow Lite Micro: an arena of {arena.measured:,} bytes, measured where pointers have 64 bits; {arena.largest:,} "
        "are set aside, enough for Arm's and Espressif's kernels."
    )
    if "policy.c" in names:
        remark += " `policy.c` needs none"
        if missing_tools(MEASURED):
            remark += "."
        else:
            try:
                cost = network_cost(sources)
            except RuntimeError as error:  # tools that do not do what ours did
                remark += f"; what it costs is not known: {' '.join(str(error).split())[:200]}"
            else:
                found["cortex_m4"] = cost
                remark += (
                    f": {cost['instructions']:,} instructions of `policy_infer()` on an emulated Cortex-M4, "
                    f"{cost['code_bytes']:,} bytes of code, {cost['constants_bytes']:,} of constants, "
                    f"{cost['stack_bytes']:,} of stack."
                )
    evidence = {**file.evidence, "microcontroller": found}
    write_evidence(replace(file, path=folder / POLICY, evidence=evidence))
    return Part("microcontroller", True, remark)


def _add_page(file: VerifiedFile, folder: Path, fetch: bool, *, record: Callable[[], Recording | None]) -> Part:
    try:
        write_browser(file, folder / "browser", fetch=fetch, record=record)
    except InputError as error:
        return Part("browser", False, f"No page for browsers. {error}")
    return Part("browser", True, "A page that runs the policy with LiteRT.js.")
