"""`doctor`: says what is installed, tries whether it works, and names what each job lacks and the command that brings it."""

import os
import platform
import shutil
from argparse import Namespace
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.export.devices.browser.litert_js import runtime_files
from edgedqn.pipeline.bundle import MEASURED
from edgedqn.pipeline.commands import DONE, FAULT, SCHEMA, print_json
from edgedqn.pipeline.native import OF_SWEEPS, load_tensorflow
from edgedqn.pipeline.run_folder import versions


@dataclass(frozen=True)
class Job:
    """Something one may want to do, what it lacks here, and the commands that bring that, where there are any."""

    name: str
    missing: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()


# The job, its extras, and the modules that these bring.
EXTRAS = (
    ("train", ("train",), ("tensorflow", "tf_keras", "tensorflow_model_optimization", "h5py", "jinja2", "vl_convert")),
    ("LunarLander", ("box2d",), ("Box2D",)),
    ("MinAtar", ("minatar",), ("minatar",)),
    ("Atari", ("atari",), ("ale_py", "cv2")),
    ("films and windows", ("render",), ("PIL", "pygame", "imageio_ffmpeg")),
    ("import PyTorch and SB3", ("sb3",), ("torch",)),
    ("import ONNX", ("onnx",), ("onnx",)),
    ("NPU", ("npu",), ("ethosu",)),
    ("sweep", ("sweep",), OF_SWEEPS),
    ("cluster", ("sweep", "cluster"), (*OF_SWEEPS, "ray", "psycopg")),
)
# What a bundle says of microcontrollers: TensorFlow Lite Micro, and what policy.c costs on an emulated Cortex-M4.
MICRO = ("tflite_micro", "yaml")
DEBIAN = {
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "qemu-system-arm": "qemu-system-arm",
    "avr-gcc": "gcc-avr",
    "/usr/lib/avr/include/avr/io.h": "avr-libc",
    "cc": "gcc",
    "/usr/include/simavr/sim_avr.h": "libsimavr-dev",
    "/usr/include/libelf.h": "libelf-dev",
}


def doctor(arguments: Namespace) -> int:
    """Prints what it finds; returns 1 if something that is installed does not work."""
    checks = {name: _try(check) for name, check in (("play", _play), ("train and export", _export))}
    broken = [name for name, outcome in checks.items() if outcome.startswith("broken")]
    jobs = find_jobs()
    findings = {
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "versions": versions(),
        "checks": checks,
        "jobs": [asdict(job) for job in jobs],
    }
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, **findings})
        return FAULT if broken else DONE
    print(f"Python {findings['python']} on {findings['machine']}")
    for name, version in versions().items():
        print(f"  {name} {version}")
    for name, outcome in checks.items():
        print(f"{name}: {outcome}")
    print("\nWhat can be done here:")
    width = max(len(job.name) for job in jobs)
    for job in jobs:
        lacking = f"missing: {', '.join(job.missing)}" if job.missing else "all there"
        print(f"  {job.name:<{width}}  {lacking}", *(f"  {'':<{width}}    {command}" for command in job.commands), sep="\n")
    return FAULT if broken else DONE


def find_jobs() -> list[Job]:
    """All jobs, with what they lack. Nothing is imported for it, so what is there may still be broken."""
    jobs = []
    for name, extras, modules in EXTRAS:
        missing = _missing_modules(modules)
        jobs.append(Job(name, missing, (_pip(*extras),) if missing else ()))
    fits = (missing_tools(CORES["atmega328p"]), missing_tools(CORES["cortex-m0"]))
    boards = tuple(dict.fromkeys(tool for tools in fits for tool in tools))
    return [*jobs, _bundle(), _browser(), Job("bench --fit", boards, _apt(boards))]


def _bundle() -> Job:
    """It is made without these, too, but says less."""
    modules, tools = _missing_modules(MICRO), tuple(missing_tools(MEASURED))
    return Job("bundle", modules + tools, ((_pip("micro", pre=True),) if modules else ()) + _apt(tools))


def _browser() -> Job:
    try:
        runtime_files(fetch=False)
    except InputError:
        if shutil.which("npm") is None:
            return Job("browser", ("LiteRT.js", "npm, which fetches it"), ("apt install npm", "edgedqn bundle RUN"))
        return Job("browser", ("LiteRT.js, which npm fetches",), ("edgedqn bundle RUN",))
    return Job("browser")


def _missing_modules(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in names if find_spec(name) is None)


def _pip(*extras: str, pre: bool = False) -> str:
    return f"pip install {'--pre ' if pre else ''}'edgedqn[{','.join(extras)}]'"


def _apt(tools: tuple[str, ...]) -> tuple[str, ...]:
    """For Debian and Ubuntu; elsewhere the packages are called much the same."""
    packages = dict.fromkeys(DEBIAN.get(tool, tool) for tool in tools)
    return (f"apt install {' '.join(packages)}",) if packages else ()


def _try(check: Callable[[], None]) -> str:
    try:
        check()
    except InputError as error:
        return f"not available: {error}"
    except Exception as error:
        return f"broken: {type(error).__name__}: {error}"
    return "works"


def _play() -> None:
    env = make_environment("CartPole-v1")
    env.reset(seed=0)
    env.step(0)
    env.close()


def _export() -> None:
    load_tensorflow()
    import_module("edgedqn.pipeline.commands.trial").export_tiny_policy()  # whether it can be imported is tried, too
