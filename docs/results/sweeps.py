"""What a sweep loses when it is killed, what a second process gains, and what it finds.

python docs/results/sweeps.py kills        # a quarter of an hour: the driver is killed ten times and started again
python docs/results/sweeps.py efficiency   # as long; leave the machine alone meanwhile
python docs/results/sweeps.py classic      # examples/sweeps/classic_control.toml: up to an hour

Kills: by SIGKILL, at random moments, three times each while an agent is trained, while files are compressed and while they are
proven, and once before the report; then the trials, with the SHA-256 of their files, are compared with those of a sweep that
nobody disturbed. Efficiency: trials per hour with two processes against twice those with one, in sweeps of the same trials,
with two batches of NSGA-II, as large as those of the example, and four training seeds, so that no piece of work is a large part
of it; files are not timed, which is done apart and by one process in any case. And what a piece of work takes besides its own
seconds. A sweep that takes longer than it may is ended, and nothing is written. Writes docs/results/sweeps.json.
"""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Callable
from pathlib import Path

from edgedqn.agents.files import Json, read_json, write_json
from edgedqn.benchmarks.machine import describe_machine

RESULTS = Path(__file__).with_suffix(".json")
EXAMPLE = Path(__file__).parents[2] / "examples" / "sweeps" / "classic_control.toml"
SHORT = """
environments = ["CartPole-v1"]
trials = 8
batch = 4
sampler = "random"

[teacher.settings]
steps = 5000
hidden = [32, 32]
evaluation_interval = 1000
evaluation_episodes = 5

[[recipes]]
recipe = "student-qat-int8"

[recipes.settings]
"new_student.hidden" = { choice = [[2], [4], [6], [8], [12], [16], [24], [32]] }
"distil.learning.steps" = { low = 400, high = 1200 }
"""
SEVERAL = "seeds = [0, 1, 2, 3]\nlatency = false\n" + SHORT.replace("random", "nsga2")
SEVERAL = SEVERAL.replace("trials = 8", "trials = 16").replace("batch = 4", "batch = 8")
TOLD = {"of_work": "seconds", "of_processor": "cpu_seconds"}
MOST_S = {1: 1200, 2: 700}  # of a sweep that is measured, by its processes
PHASES = (*("training", "compression", "proof") * 3, "report")


def run(file: Path, out: Path, *options: str) -> "subprocess.Popen[bytes]":
    """Starts a sweep, in a process of its own."""
    program = [sys.executable, "-c", "from edgedqn.pipeline.cli import console; console()"]
    command = [*program, "sweep", str(file), "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def done(out: Path, kind: str) -> int:
    """Pieces of work of a kind."""
    return len(list((out / "work").glob(f"{kind}-*.json")))


def is_in(out: Path, phase: str, all_files: int) -> bool:
    """Whether a sweep that comes to so many files is in the midst of it."""
    teachers, files, proofs = (done(out, kind) for kind in ("teacher", "file", "proof"))
    return {
        "training": not teachers,
        "compression": bool(teachers) and files < all_files,
        "proof": files == all_files and not proofs,
        "report": bool(proofs),
    }[phase]


def tried(out: Path) -> list[Json]:
    """What was tried, with the SHA-256 of each file."""
    trials: list[Json] = read_json(out / "results.json", 1)["environments"]["CartPole-v1"]["trials"]
    return trials


def kills(runs: Path) -> Json:
    """A sweep that is killed ten times, against one that is not."""
    file, undisturbed, killed = runs / "short.toml", runs / "undisturbed", runs / "killed"
    file.write_text(SHORT)
    if not (undisturbed / "results.json").exists():
        run(file, undisturbed).wait()
    shutil.rmtree(killed, ignore_errors=True)
    rng, came = random.Random(0), []
    for phase in sorted(PHASES, key=("training", "compression", "proof", "report").index):
        process = run(file, killed)
        time.sleep(4 if phase == "training" else 0)
        while process.poll() is None and not is_in(killed, phase, done(undisturbed, "file")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 0.2 if phase == "report" else 3))
        was_running = process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        came.append(
            {"phase": phase, "was_running": was_running, "files": done(killed, "file"), "proofs": done(killed, "proof")}
        )
        print(came[-1], flush=True)
    (killed / "results.json").unlink(missing_ok=True)
    run(file, killed).wait()
    return {"kills": came, "same_trials": tried(killed) == tried(undisturbed), "trials": len(tried(undisturbed))}


def efficiency(runs: Path) -> Json:
    """Trials per hour with one process and with two."""
    file = runs / "several.toml"
    file.write_text(SEVERAL)
    found: Json = {}
    for workers, most in MOST_S.items():
        out = runs / f"workers-{workers}"
        shutil.rmtree(out, ignore_errors=True)
        started, process = time.monotonic(), run(file, out, "--workers", str(workers))
        try:
            process.wait(most)
        except subprocess.TimeoutExpired:
            process.terminate()
            process.wait()
            raise SystemExit(f"{workers} processes take more than {most} s here: the machine is busy, or slower.") from None
        seconds = time.monotonic() - started
        works = [json.loads(path.read_text()) for path in (out / "work").glob("*.json")]
        told = {name: round(sum(each[key] for each in works), 1) for name, key in TOLD.items()}
        found[str(workers)] = {"seconds": round(seconds, 1), **told, "pieces": len(works)}
        print(found[str(workers)], flush=True)
    alone, both = found["1"], found["2"]
    if tried(runs / "workers-1") != tried(runs / "workers-2"):
        raise SystemExit("One process and two came to other trials: expected the same ones.")
    overhead = (alone["seconds"] - alone["of_work"]) / alone["pieces"]
    return {**found, "efficiency": round(alone["seconds"] / (2 * both["seconds"]), 3), "overhead_s": round(overhead, 2)}


def classic(runs: Path) -> Json:
    """The smallest files that passed."""
    out, started = runs / "classic_control", time.monotonic()
    run(EXAMPLE, out).wait()
    found = read_json(out / "results.json", 1)["environments"]
    keys = ("trial", "settings", "returns", "floats", "size_bytes", "passed")
    fronts = {env_id: [{key: each[key] for key in keys} for each in of_env["front"]] for env_id, of_env in found.items()}
    return {"minutes": round((time.monotonic() - started) / 60, 1), "fronts": fronts}


MEASURES: dict[str, Callable[[Path], Json]] = {"kills": kills, "efficiency": efficiency, "classic": classic}


if __name__ == "__main__":
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(MEASURES))
    parser.add_argument("--runs", type=Path, default=Path("runs/sweeps"), help="where sweeps go (runs/sweeps)")
    arguments = parser.parse_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    measured = MEASURES[arguments.what](arguments.runs)
    earlier = read_json(RESULTS, 1) if RESULTS.exists() else {"schema": 1}
    machine = describe_machine(1).to_json()
    write_json(RESULTS, {**earlier, arguments.what: {**measured, "machine": machine["cpu"]}})
    print(json.dumps(measured, indent=1))
