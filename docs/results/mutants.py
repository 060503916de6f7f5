"""What readers make of damaged model files: 2,000 mutants of an `.onnx`, a `.pth`, a `.keras` and an `.h5`, and VecNormalize's.

    python docs/results/mutants.py [--count 2000] [--formats onnx pth keras h5 pkl] [--limit 60]

Each mutant has one to seven bytes changed, or a piece cut out or doubled. It is read in another process, whose death or silence
for `--limit` seconds is counted and ends nothing. A mutant whose weights have changed is read: nothing in such a file says what
they were. Writes mutants.json beside this file.
"""

import argparse
import json
import pickle  # noqa: TID251 - writes what is damaged; nothing is unpickled
import queue
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FORMATS = ("onnx", "pth", "keras", "h5", "pkl")
OUTCOMES = ("refused", "read as it was", "read otherwise", "another error", "died", "silent")


def write_original(kind: str, folder: Path) -> Path:
    """A small policy of CartPole in one of the formats, or the statistics beside it."""
    path = folder / f"policy.{kind}"
    rng = np.random.default_rng(0)
    shapes = ((4, 24), (24,), (24, 24), (24,), (24, 2), (2,))
    weights = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    if kind in ("keras", "h5"):
        import tf_keras

        hidden = [tf_keras.layers.Dense(24, "relu") for _ in range(2)]
        model = tf_keras.Sequential([tf_keras.Input((4,)), *hidden, tf_keras.layers.Dense(2)])
        model.set_weights(weights)
        model.save(path)
        return path
    if kind == "pkl":
        import gymnasium
        from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

        env = VecNormalize(DummyVecEnv([lambda: gymnasium.make("CartPole-v1")]))
        path.write_bytes(pickle.dumps(env))
        return path
    import torch

    linears = [torch.nn.Linear(*kernel.shape) for kernel in weights[::2]]
    with torch.no_grad():
        for linear, kernel, bias in zip(linears, weights[::2], weights[1::2], strict=True):
            linear.weight.copy_(torch.from_numpy(kernel.T))
            linear.bias.copy_(torch.from_numpy(bias))
    network = torch.nn.Sequential(linears[0], torch.nn.ReLU(), linears[1], torch.nn.ReLU(), linears[2])
    if kind == "pth":
        torch.save(network.state_dict(), path)
    else:
        torch.onnx.export(network, (torch.zeros(1, 4),), str(path), dynamo=False)
    return path


def mutant(content: bytes, number: int) -> bytes:
    rng = np.random.default_rng([7, number])
    damaged = bytearray(content)
    at, length = int(rng.integers(len(content))), int(rng.integers(1, 64))
    if number % 8 == 6:
        del damaged[at : at + length]
    elif number % 8 == 7:
        damaged[at:at] = damaged[at : at + length]
    else:
        for place in rng.integers(len(content), size=rng.integers(1, 8)):
            damaged[place] = rng.integers(256) if number % 2 else damaged[place] ^ (1 << rng.integers(8))
    return bytes(damaged)


def work(path: Path, first: int, count: int) -> None:
    """The other process: one outcome a line, for the mutants from `first` on."""
    import warnings

    warnings.simplefilter("ignore")
    from edgedqn.agents.errors import InputError
    from edgedqn.agents.importing.agents import read_model
    from edgedqn.agents.importing.vec_normalize import read_vec_normalize

    def read(file: Path) -> list[bytes]:
        if file.suffix == ".pkl":
            return [read_vec_normalize(file.read_bytes()).mean.tobytes()]
        return [array.tobytes() for array in read_model(file).network.get_weights()]

    content = path.read_bytes()
    expected = read(path)
    damaged = path.with_name(f"damaged{path.suffix}")
    print("ready", flush=True)
    for number in range(first, count):
        damaged.write_bytes(mutant(content, number))
        try:
            outcome = "read as it was" if read(damaged) == expected else "read otherwise"
        except InputError as error:
            outcome = "another error" if "\n" in str(error) else "refused"
        except Exception as error:
            outcome = "another error"
            print(f"{number}: {error!r}", file=sys.stderr)
        print(outcome, flush=True)


def outcomes(path: Path, count: int, limit_s: float) -> Iterator[str]:
    """The outcome of each mutant; a process that died or fell silent is replaced by one that goes on behind it."""
    done = 0
    while done < count:
        command = [sys.executable, __file__, "--worker", str(path), str(done), "--count", str(count)]
        worker = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_forward, args=(worker, lines), daemon=True).start()
        ready = lines.get().strip()
        if ready != "ready":
            raise RuntimeError(f"{path.name} itself cannot be read")
        while done < count:
            try:
                outcome = lines.get(timeout=limit_s).strip()
            except queue.Empty:
                outcome = "silent"
            done += 1
            yield outcome or "died"
            if outcome in ("silent", ""):
                break
        worker.kill()
        worker.wait()


def _forward(worker: "subprocess.Popen[str]", lines: "queue.Queue[str]") -> None:
    assert worker.stdout is not None
    for line in worker.stdout:
        lines.put(line)
    lines.put("")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--limit", type=float, default=60, help="seconds for one mutant")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--worker", nargs=2, metavar=("PATH", "FIRST"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(Path(options.worker[0]), int(options.worker[1]), options.count)
        return
    results = Path(__file__).with_suffix(".json")
    found = json.loads(results.read_text()) if results.exists() else {}
    for kind in options.formats:
        with tempfile.TemporaryDirectory() as folder:
            counts = Counter(outcomes(write_original(kind, Path(folder)), options.count, options.limit))
        found[kind] = {"mutants": options.count, **{outcome: counts[outcome] for outcome in OUTCOMES}}
        print(kind, found[kind], flush=True)
        results.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
