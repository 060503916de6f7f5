"""Twelve agents of other projects: imported, rounded, exported, and put to the gate.

python docs/results/imported.py             # an hour or two; goes on where it stopped
python docs/results/imported.py "a controller by hand"
python docs/results/imported.py --table

Needs the peers (`make venv`) and Box2D. Ten files hold the networks of tests/benchmarks/peers/cartpole.npz, written by
benchmarks/peers/agent_files.py: one with ReLU, which eight of them and the mean of QR-DQN's quantiles compute, and one with
tanh. PPO is trained by SB3, with RL Baselines3 Zoo's settings, and lunar_lander.py is a controller by hand. Seed 0, run once.
Writes docs/results/imported.json: what was told at the import; where an agent was taught, its teacher's return over 100
episodes and how its own differs; and of each file the return, the gate and the bytes.
"""

import argparse
import io
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from typing import Any

from edgedqn.agents.files import read_json, write_json
from edgedqn.agents.importing.agents import ModelOptions
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.peers.agent_files import KINDS, AgentFile, read_weights, save_ppo
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.native import load_tensorflow
from edgedqn.pipeline.scripting import run

RESULTS = Path(__file__).with_suffix(".json")
WEIGHTS = Path(__file__).parents[2] / "tests" / "benchmarks" / "peers" / "cartpole.npz"
PPO, CONTROLLER = "SB3's PPO as a function", "a controller by hand"
ALL = (*KINDS, CONTROLLER)
LANDER = "edgedqn.benchmarks.peers.lunar_lander:land"
UNTIMED = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)  # what is timed here is not kept


def train_ppo(folder: Path) -> AgentFile:
    """Half a minute."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    agent = PPO(
        "MlpPolicy",
        make_vec_env("CartPole-v1", 8, seed=0),
        n_steps=32,
        batch_size=256,
        gae_lambda=0.8,
        gamma=0.98,
        n_epochs=20,
        learning_rate=lambda left: 1e-3 * left,
        clip_range=lambda left: 0.2 * left,
        seed=0,
        device="cpu",
    )
    return save_ppo(agent.learn(100_000), folder)


def write_agent(kind: str, folder: Path) -> tuple[str, str | Path, ModelOptions]:
    """The environment, the model and what is told beside it."""
    if kind == CONTROLLER:
        return "LunarLander-v3", LANDER, ModelOptions(gives="action")
    folder.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(folder.resolve()))  # where PPO's function is
    weights = read_weights(WEIGHTS)
    writers: dict[str, Callable[[Path], AgentFile]] = {
        name: partial(each.write, weights[each.activation]) for name, each in KINDS.items()
    }
    written = (writers | {PPO: train_ppo})[kind](folder)
    return "CartPole-v1", written.model, written.options


def prove(kind: str, folder: Path) -> dict[str, Any]:
    """What came of an agent."""
    from edgedqn.pipeline.commands.import_agent import import_model

    env_id, model, options = write_agent(kind, folder / "files")
    said = io.StringIO()
    with redirect_stderr(said):
        job = import_model(model, env_id, out=folder / "run", options=options)
    taught = TrainedAgent.load(job.folder.agent).statistics.get("taught")
    result = run(env_id, out=folder / "run", recipes=["qat-int8"], config=RunConfig(latency=UNTIMED))
    kept = ("return", "return_delta", "gate", "reason", "size_bytes", "gate_looks")
    rows = {row["name"]: {key: row.get(key) for key in kept} for row in result.benchmark["rows"]}
    name = model if isinstance(model, str) else model.name
    return {"environment": env_id, "model": name, "told": said.getvalue().splitlines(), "taught": taught, "rows": rows}


def table() -> None:
    """Prints what there is. Differences are to the teacher, where there is one, and else to float32."""
    columns = ("agent", "teacher", "float32", "naive int8", "`qat-int8`", "difference [95 %]", "bytes")
    print("|", " | ".join(columns), "|\n|" + "---|" * len(columns))
    agents = read_json(RESULTS, 1)["agents"] if RESULTS.exists() else {}
    for kind in (kind for kind in ALL if kind in agents):
        rows, taught = agents[kind]["rows"], agents[kind]["taught"]
        played = [f"{each['return']['mean']:.1f} {each['gate'] or ''}".strip() for each in rows.values()]
        delta, size = rows["qat-int8"]["return_delta"], rows["qat-int8"]["size_bytes"]
        low, high = delta["ci95"]
        teacher = f"{taught['teacher_return']:.1f}" if taught else ""
        print("|", " | ".join((kind, teacher, *played, f"{delta['mean']:+.2f} [{low:+.2f}, {high:+.2f}]", f"{size:,}")), "|")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help="as in the table (all)")
    parser.add_argument("--runs", type=Path, default=Path("runs/imported"), help="where run folders go (runs/imported)")
    parser.add_argument("--table", action="store_true", help="print what there is")
    arguments = parser.parse_args()
    for i, kind in enumerate(() if arguments.table else ALL):
        done = read_json(RESULTS, 1)["agents"] if RESULTS.exists() else {}
        if kind not in done and kind in (arguments.kinds or ALL):
            with quiet():
                load_tensorflow()
            found = prove(kind, arguments.runs / str(i))
            write_json(RESULTS, {"schema": 1, "agents": {**done, kind: found}})
    table()


if __name__ == "__main__":
    main()
