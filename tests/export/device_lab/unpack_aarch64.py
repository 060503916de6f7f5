"""Unpacks an aarch64 Python with ai-edge-litert into a folder, for `qemu-aarch64-static`: nothing is installed.

    python unpack_aarch64.py FOLDER

Debian's arm64 packages come through apt with a configuration of its own, the wheels through pip, in the versions of
requirements.lock. What is there already is kept.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

LOCK = Path(__file__).parents[3] / "requirements.lock"
PYTHON = "3.11"  # Debian 12's, so that every library beside it fits
DEBIAN_PACKAGES = (
    *(f"python{PYTHON}-minimal", f"libpython{PYTHON}-minimal", f"libpython{PYTHON}-stdlib"),
    *("libc6", "libgcc-s1", "libstdc++6", "libcrypt1", "libexpat1", "libffi8", "liblzma5", "libbz2-1.0", "zlib1g", "libssl3"),
    *("libncursesw6", "libreadline8", "libsqlite3-0", "libtinfo6", "libuuid1"),
)
WHEELS = ("ai-edge-litert", "backports.strenum", "flatbuffers", "ml_dtypes", "numpy", "protobuf", "tqdm", "typing_extensions")
TOOLS = ("apt-get", "dpkg", "qemu-aarch64-static")
# ai-edge-litert asks the kernel which processor this is, and dies of an answer that is no ARM's. A Raspberry Pi 4's:
PROCESSOR = """\
processor\t: {}
BogoMIPS\t: 108.00
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3

"""
APT = """\
APT::Architecture "arm64";
APT::Architectures {{ "arm64"; }};
APT::Sandbox::User "";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Etc::sourcelist "{sources}";
Dir::Etc::sourceparts "-";
"""


def unpack(folder: Path) -> None:
    """Makes `folder/rootfs` and `folder/site`, both complete when `folder/.unpacked` is there."""
    wheels = [_pinned(name) for name in WHEELS]
    recipe = hashlib.sha256(Path(__file__).read_bytes() + "\n".join(wheels).encode()).hexdigest()
    stamp = folder / ".unpacked"
    if stamp.exists() and stamp.read_text() == recipe:
        return
    shutil.rmtree(folder, ignore_errors=True)
    debs, rootfs = folder / "debs", folder / "rootfs"
    for each in (debs, rootfs / "proc", folder / "wheels"):
        each.mkdir(parents=True)
    _download_debs(debs)
    for package in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg", "-x", package, rootfs], check=True)
    (rootfs / "proc" / "cpuinfo").write_text("".join(PROCESSOR.format(i) for i in range(os.cpu_count() or 1)))
    platform = ["--platform", "manylinux_2_27_aarch64", "--platform", "manylinux2014_aarch64", "--platform", "any"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", *platform]
    subprocess.run([*command, "--python-version", PYTHON, "--dest", folder / "wheels", *wheels], check=True)
    for wheel in (folder / "wheels").glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder / "site")
    shutil.rmtree(debs)
    shutil.rmtree(folder / "wheels")
    stamp.write_text(recipe)


def _download_debs(folder: Path) -> None:
    """Leaves the packages in `folder`, and the lists apt read for them nowhere."""
    sources = next(
        path for path in map(Path, ("/etc/apt/sources.list.d/debian.sources", "/etc/apt/sources.list")) if path.exists()
    )
    own = folder / "apt"
    for each in ("state/lists/partial", "cache/archives/partial"):
        (own / each).mkdir(parents=True)
    (own / "status").touch()
    (own / "apt.conf").write_text(APT.format(folder=own, sources=sources))
    environment = {**os.environ, "APT_CONFIG": str(own / "apt.conf")}
    for command in (("update",), ("download", *DEBIAN_PACKAGES)):
        subprocess.run(["apt-get", "-qq", *command], cwd=folder, env=environment, check=True)
    shutil.rmtree(own)


def _pinned(name: str) -> str:
    """`name==version` where requirements.lock has it; pip may choose where that has none."""
    match = re.search(rf"^{re.escape(name).replace('_', '[-_]')}==[^\s;]+", LOCK.read_text(), re.MULTILINE | re.IGNORECASE)
    return match[0] if match else name


if __name__ == "__main__":
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        print(f"No aarch64 board is emulated: expected {', '.join(TOOLS)}. Got no {', '.join(absent)}.")
    else:
        unpack(Path(sys.argv[1]).resolve())
