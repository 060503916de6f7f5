"""What each addition to the zoo's DQN does on CartPole-v1: the training alone, several seeds per variant.

python docs/results/training_ablation.py    # writes docs/results/training_ablation.json
"""

from dataclasses import replace
from pathlib import Path

from edgedqn.agents.files import write_json
from edgedqn.benchmarks.native_output import quiet
from edgedqn.pipeline.native import load_tensorflow

HERE = Path(__file__).parent
SEEDS = (10, 11, 12)  # not the ones that results are published on
EPISODES = 100
VARIANTS = {
    "Double DQN": {"n_step": 1, "averaging_steps": 0},
    "+ averaged weights": {"n_step": 1},
    "+ 3-step returns": {"averaging_steps": 0},
    "+ both": {},
}


def main() -> None:
    from edgedqn.agents.playing.environments import make_environment
    from edgedqn.agents.playing.evaluation import EpsilonGreedy, evaluate
    from edgedqn.agents.trained_agent import TrainedAgent
    from edgedqn.agents.training.presets import find_preset
    from edgedqn.pipeline.job import Job
    from edgedqn.pipeline.seeds import SeedStreams

    env = make_environment("CartPole-v1")
    rows = []
    for name, changes in VARIANTS.items():
        for seed in SEEDS:
            job = Job.create(
                "CartPole-v1",
                out=Path("runs/ablation") / f"{name}-{seed}",
                seed=seed,
                training=replace(find_preset("CartPole-v1"), **changes),  # type: ignore[arg-type]
            )
            with job.folder.locked():
                job.do(("train",))
            agent, streams = TrainedAgent.load(job.folder.agent), SeedStreams(seed)
            seeds = streams.first_reset_seeds("calibrate", EPISODES)
            distracted = EpsilonGreedy(
                agent.policy, 0.1, n_actions=agent.spec.n_actions, rng=streams.rng("calibrate", "ablation")
            )
            rows.append(
                {
                    "variant": name,
                    "seed": seed,
                    "return": evaluate(agent.policy, env, seeds=seeds).interval.mean,
                    "return_with_a_tenth_of_actions_random": evaluate(distracted, env, seeds=seeds).interval.mean,
                    "evaluations_at_500": sum(mean == 500 for _, mean in agent.statistics["evaluations"]),
                    "evaluations": len(agent.statistics["evaluations"]),
                }
            )
            print(rows[-1], flush=True)
    write_json(HERE / "training_ablation.json", {"schema": 1, "env_id": "CartPole-v1", "episodes": EPISODES, "rows": rows})


if __name__ == "__main__":
    with quiet():
        load_tensorflow()
        main()
