"""A run that is killed in each of its stages and called again: what outlives it, and whether it ends with the same files.

python docs/results/killed.py           # some ten minutes

`edgedqn run CartPole-v1 --seed 10 --steps 4000 --recipes qat-int8` is killed by TERM, by KILL and by HUP a moment after each of
its stages began, where others play as soon as they do, called again after each kill, and compared with one that nobody killed.
Writes docs/results/killed.json.
"""

import argparse
import hashlib
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json

RESULTS = Path(__file__).with_suffix(".json")
COMMAND = ["edgedqn", "run", "CartPole-v1", "--seed", "10", "--steps", "4000", "--recipes", "qat-int8", "--out"]
STAGES = ("train", "fragility", "compress/qat-int8", "export/qat-int8", "bench", "report")
PLAYED = ("fragility", "compress/qat-int8", "bench")  # by other processes
LEARNED_S, AT_ONCE_S = 2.0, 0.1  # after a training began; after another stage did, or others play
PATIENCE_S = 5.0


def stages_of(folder: Path) -> dict[str, str]:
    """Of each stage that has begun how it stands."""
    path = folder / "run.json"
    return {each["name"]: each["status"] for each in read_json(path, 1)["stages"]} if path.exists() else {}


def processes_of(session: int) -> int:
    """How many processes, zombies aside, live in a session."""
    listed = subprocess.run(["ps", "-eo", "sess=,stat="], capture_output=True, text=True, check=True).stdout.splitlines()
    return sum(int(of) == session and not stat.startswith("Z") for of, stat in (line.split() for line in listed))


def kill_in(stage: str, folder: Path, how: signal.Signals) -> dict[str, Any]:
    """Calls the command, kills it in the stage, and tells what was left after 5 seconds at most."""
    with subprocess.Popen([*COMMAND, str(folder)], stderr=subprocess.DEVNULL, start_new_session=True) as running:
        while stages_of(folder).get(stage) is None and running.poll() is None:
            time.sleep(0.01)
        while stage in PLAYED and processes_of(running.pid) < 3 and stages_of(folder)[stage] == "running":
            time.sleep(0.01)
        time.sleep(LEARNED_S if stage == "train" else AT_ONCE_S)
        most = processes_of(running.pid)
        running.send_signal(how)
    killed, left = time.monotonic(), processes_of(running.pid)
    while left and time.monotonic() - killed < PATIENCE_S:
        time.sleep(0.05)
        left = processes_of(running.pid)
    status = stages_of(folder).get(stage)
    seconds = round(time.monotonic() - killed, 2)
    return {"stage": stage, "status": status, "exit": running.returncode, "processes": most, "left": left, "seconds": seconds}


def end(folder: Path) -> dict[str, str]:
    """Calls the command until its end; the SHA-256 of each exported file."""
    code = subprocess.run([*COMMAND, str(folder)], stderr=subprocess.DEVNULL, check=False).returncode
    files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted((folder / "models").glob("*.tflite"))}
    return {"exit": str(code), **files}


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        whole = end(Path(scratch) / "whole")
        found = {}
        for how in (signal.SIGTERM, signal.SIGKILL, signal.SIGHUP):
            folder = Path(scratch) / how.name
            kills = [kill_in(stage, folder, how) for stage in STAGES]
            found[how.name] = {"kills": kills, "same": end(folder) == whole}
            parts = [path.name for path in folder.rglob("*.part")]
            print(how.name, *kills, f"the same files: {found[how.name]['same']}, half-written: {parts}", sep="\n  ")
            found[how.name]["half_written"] = parts
    write_json(RESULTS, {"schema": 1, "command": COMMAND[:-1], "signals": found})


if __name__ == "__main__":
    main()
