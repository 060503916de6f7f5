"""Environment steps per second while files are played: a 64-64 int8 policy on CartPole-v1, for docs/measured/latency.md.

edgedqn run CartPole-v1 --hidden 64 64 --recipes qat-int8 --out RUN
python docs/results/playing_speed.py RUN/models/qat-int8.tflite

Plays 1,000 episodes as `edgedqn bench` does, in one process and in one for each core, five times; the processes are there
already, as they are from the second file of a comparison on. Prints the medians and what they lie between.
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path
from statistics import median

from tqdm import tqdm

from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.gate import Gate
from edgedqn.benchmarks.native_output import quiet
from edgedqn.benchmarks.playing import Play, Players

ENVIRONMENT = "CartPole-v1"
EPISODES, REPETITIONS = 1_000, 5
SEED = 1_000_000


def steps_per_second(file: Path, workers: int) -> float:
    """Of `EPISODES` episodes, `workers` processes that were started and warmed before."""
    warm = 20 * workers
    seeds = range(SEED, SEED + warm + EPISODES)
    play = Play(
        make_environment=partial(make_environment, ENVIRONMENT),
        seeds=seeds,
        gate=Gate(looks=(EPISODES,)),
        random_seed=0,
        workers=workers,
    )
    with Players(play, progress=False) as players:
        players.returns(file, warm)
        before, start = players.env_steps(file), time.perf_counter()
        players.returns(file, warm + EPISODES)
        return (players.env_steps(file) - before) / (time.perf_counter() - start)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="a policy file for CartPole-v1")
    file = parser.parse_args().file
    for workers in dict.fromkeys((1, len(os.sched_getaffinity(0)))):
        with quiet():
            found = [steps_per_second(file, workers) for _ in tqdm(range(REPETITIONS), disable=None, leave=False)]
        print(f"{workers} processes: {median(found):,.0f} steps per second, {min(found):,.0f} to {max(found):,.0f}")
