"""With a real Ray cluster, of two nodes on this machine, and with one that does as it is told."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.dqn import DQN
from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.source import EnvironmentSource
from edgedqn.agents.playing.spec import EnvironmentSpec, spec_of
from edgedqn.agents.trained_agent import TrainedAgent
from edgedqn.agents.training.build import build_dqn
from edgedqn.agents.training.checkpoints import Checkpoints, State
from edgedqn.agents.training.config import QLearningConfig, TrainingConfig
from edgedqn.agents.training.interaction import Step
from edgedqn.pipeline.collection.actors import MOST_DEATHS, Actors, acting, check_cluster, require_deep
from edgedqn.pipeline.collection.config import CollectionConfig
from edgedqn.pipeline.job import Job
from edgedqn.pipeline.seeds import SeedStreams
from edgedqn.pipeline.training import train_agent

QUICK = TrainingConfig(
    steps=900,
    hidden=(8,),
    batch_size=16,
    learning_starts=100,
    evaluation_interval=300,
    evaluation_episodes=2,
    finalists=2,
    checkpoint_interval=400,
)
SMALL = CollectionConfig(publish_every=100, chunk_steps=20)


def new_rng(purpose: str) -> np.random.Generator:
    return np.random.default_rng(len(purpose))


MOST = 100_000  # steps in which both actors must have begun


@pytest.fixture(scope="module")
def spec() -> EnvironmentSpec:
    with closing(make_environment("CartPole-v1")) as env:
        return spec_of(env, "CartPole-v1")


@pytest.fixture
def agent(spec: EnvironmentSpec, without_xla: None) -> DQN:
    return build_dqn(spec, QUICK, rng=np.random.default_rng(0))


def learn(agent: DQN, steps: Iterator[Step], count: int) -> list[Step]:
    """The next steps, which the agent observes."""
    taken = []
    for step in itertools.islice(steps, count):
        agent.observe(step)
        taken.append(step)
    return taken


def collectors(cluster: Any) -> list[int]:
    """The processes of its actors."""
    raylets = {each.process.pid for node in cluster.list_all_nodes() for each in node.all_processes["raylet"]}
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    rows = (line.split(maxsplit=2) for line in listed if "ray::Collector" in line)
    return [int(pid) for pid, parent, _ in rows if int(parent) in raylets]


@pytest.mark.parametrize("policy", ["int8", "float"])
def test_an_actor_that_is_killed_is_replaced(policy: Any, cluster: Any, spec: EnvironmentSpec, agent: DQN) -> None:
    import ray

    config = replace(SMALL, policy=policy, address=cluster.address)
    with acting(config, spec, QUICK, new_rng=new_rng) as actors:
        steps = actors(agent, itertools.count())
        before = learn(agent, steps, 300)
        # A process may take longer to begin than another to play 300.
        while len({step.env_index for step in before}) < 2 and len(before) < MOST:
            before += learn(agent, steps, 20)
        assert {step.env_index for step in before} == {0, 1}
        os.kill(collectors(cluster)[0], signal.SIGKILL)
        while actors.record.restarts == 0:
            learn(agent, steps, 20)
        (killed,) = (index for index, actor in enumerate(actors._actors) if actor.life == 1)
        # What it had sent in time counts; the next of its steps begins an episode, which the agent does not join to the last.
        while not (found := [step for step in learn(agent, steps, 20) if step.env_index == killed]):
            pass
        assert found[0].episode_length == 1
        learn(agent, steps, 100)
        assert actors.record.restarts == 1 and len(collectors(cluster)) == 2
        # The agent has learned as often as after the same steps of one process.
        assert agent.gradient_steps == agent.schedule.gradient_steps_by(agent.env_steps) > 0
        assert actors.record.publications > 1
    assert not ray.is_initialized()


def test_actors_wait_for_the_learner(cluster: Any, spec: EnvironmentSpec, agent: DQN) -> None:
    config = replace(SMALL, policy="float", address=cluster.address)
    with acting(config, spec, QUICK, new_rng=new_rng) as actors:
        steps = actors(agent, itertools.count())
        for _ in range(8):
            learn(agent, steps, 37)
            # Of the chunk in hand at most one is learned from: the others are in flight.
            in_flight = [len(each.asked) for each in actors._actors]
            assert max(in_flight) <= config.chunks_ahead and sum(in_flight) * config.chunk_steps <= config.slack_steps
        # Anew, as behind a checkpoint: each actor begins an episode, and what was in flight is not taken.
        agent.cut_episodes()
        first: dict[int, Step] = {}
        anew = actors(agent, itertools.count())
        while len(first) < 2 and agent.env_steps < MOST:
            for step in learn(agent, anew, 20):
                first.setdefault(step.env_index, step)
        assert [first[index].episode_length for index in (0, 1)] == [1, 1]


def test_errors_of_an_actor_are_told_here(cluster: Any, spec: EnvironmentSpec, agent: DQN) -> None:
    nowhere = replace(spec, source=EnvironmentSource("Nowhere-v0"))
    config = replace(SMALL, address=cluster.address)
    with (
        acting(config, nowhere, QUICK, new_rng=new_rng) as actors,
        pytest.raises(InputError, match="Unknown environment 'Nowhere-v0'") as raised,
    ):
        next(actors(agent, itertools.count()))
    assert "in make_environment" in raised.value.__notes__[0]  # where it was raised


def test_what_the_cluster_or_the_replay_has_no_room_for_is_refused(cluster: Any) -> None:
    with pytest.raises(InputError, match=r"expected 50 of them. Got 2; `ray start --num-cpus` says"):
        check_cluster(CollectionConfig(actors=50, address=cluster.address), QUICK)
    small = replace(QUICK, num_envs=8, buffer_size=40)
    with pytest.raises(InputError, match=r"expected buffer_size of 1280 or more with these actors. Got 40"):
        check_cluster(CollectionConfig(address=cluster.address), small)
    with pytest.raises(InputError, match=r"expected algorithm dqn. Got q-learning"):
        require_deep(QLearningConfig())
    with pytest.raises(InputError, match=r"expected no --overlap with them. Got both"):
        require_deep(replace(QUICK, overlap=True))


def test_what_was_interrupted_goes_on(cluster: Any, tmp_path: Path, without_xla: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    source, streams = EnvironmentSource("CartPole-v1"), SeedStreams(3)
    config = replace(QUICK, num_envs=2, frame_stack=2)
    collection = replace(SMALL, address=cluster.address)
    save = Checkpoints.save

    def die_after_the_first(self: Checkpoints, env_steps: int, state: State) -> None:
        save(self, env_steps, state)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Checkpoints, "save", die_after_the_first)
        with pytest.raises(KeyboardInterrupt):
            train_agent(source, config, streams=streams, folder=tmp_path, collection=collection)
    assert not ray.is_initialized() and not (tmp_path / "agent.json").exists()
    train_agent(source, config, streams=streams, folder=tmp_path, collection=collection)
    statistics = TrainedAgent.load(tmp_path).statistics
    assert statistics["env_steps"] == 900 and statistics["collection"]["env_steps"] == 500  # since then
    assert statistics["gradient_steps"] == 16 * (900 // 16 - 100 // 16)


class FakeRay:
    """Ray in this process. All that is asked for is there at once; where it may choose, it takes the last actor's."""

    class RayError(Exception):
        """An actor is gone."""

    class RayTaskError(RayError):
        """An actor raised an error, its `cause`."""

    def __init__(self, *, error: Exception | None = None, is_idle: bool = False):
        self.exceptions = self
        self.error, self.is_idle = error, is_idle
        self.asked: list[tuple[Any, ...]] = []  # requests, with what was published
        self._made = itertools.count()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 8.0}

    def remote(self, **options: object) -> Callable[[type], Any]:
        return lambda actor: SimpleNamespace(remote=partial(self._begin, actor))

    def put(self, value: object) -> object:
        return value

    def kill(self, handle: object) -> None:
        pass

    def wait(self, references: list[Any], num_returns: int, timeout: float) -> tuple[list[Any], list[Any]]:
        preferred = sorted(references, key=lambda each: -each.actor)[: 0 if self.is_idle else num_returns]
        return [each for each in references if each in preferred], []

    def get(self, reference: Any) -> Any:
        if self.error is not None:
            raise self.error
        return reference.answer

    def _begin(self, made: type, *given: object, **settings: object) -> Any:
        actor, number = made(*given, **settings), next(self._made)

        def collect(*asked: Any) -> Any:
            self.asked.append(asked)
            return Reference(number, actor.collect(*asked))

        return SimpleNamespace(collect=SimpleNamespace(remote=collect))


class Reference:
    def __init__(self, actor: int, answer: object):
        self.actor, self.answer = actor, answer


def actors_of(ray: Any, config: CollectionConfig, spec: EnvironmentSpec, rng: Any = new_rng, **changes: Any) -> Actors:
    return Actors(ray, config, spec=spec, training=replace(QUICK, **changes), new_rng=rng)


@pytest.mark.parametrize("count", [2, 3])
def test_actors_take_turns_and_act_by_weights_that_are_little_older(count: int, spec: EnvironmentSpec, agent: DQN) -> None:
    config = replace(SMALL, policy="float", actors=count)
    actors = actors_of(FakeRay(), config, spec)
    taken = learn(agent, actors(agent, itertools.count()), 900)
    turns = [step.env_index for step in taken[:: config.chunk_steps]]
    assert turns == [index % count for index in range(len(turns))]
    # Gradient steps between: up to the publication, and those of the chunks that were asked for before this one.
    assert actors.record.greedy_steps > 400
    assert config.publish_every < actors.record.stalest <= config.publish_every + config.slack_steps + QUICK.gradient_steps


def test_the_smallest_replay_that_is_taken_keeps_what_actors_send_in_turns(spec: EnvironmentSpec, without_xla: None) -> None:
    config = replace(SMALL, policy="float", chunk_steps=50)
    least = 4 * (config.slack_steps + 2 * (QUICK.n_step + QUICK.frame_stack))
    with pytest.raises(InputError, match=rf"expected buffer_size of {least} or more with these actors. Got {least - 1}"):
        actors_of(FakeRay(), config, spec, buffer_size=least - 1)
    actors = actors_of(FakeRay(), config, spec, buffer_size=least)
    training = replace(QUICK, buffer_size=least, steps=20_000, learning_starts=10_000)
    agent = build_dqn(spec, training, rng=np.random.default_rng(0))
    learn(agent, actors(agent, itertools.count()), 3 * least)
    # Episodes at random are of some 20 steps: about as many frames as there is room for, less what lies between two turns.
    assert len(agent._replay) > 0.8 * least
    assert agent._replay._added > 3 * least - 20  # but for what is pending, nothing came too late


def test_a_training_that_is_gone_on_with_is_played_by_its_weights(spec: EnvironmentSpec, agent: DQN) -> None:
    purposes: list[str] = []

    def noted(purpose: str) -> np.random.Generator:
        purposes.append(purpose)
        return new_rng(purpose)

    first = actors_of(FakeRay(), SMALL, spec, noted)
    learn(agent, first(agent, itertools.count()), 200)
    agent.cut_episodes()
    before, ray = agent.gradient_steps, FakeRay()
    again = actors_of(ray, replace(SMALL, publish_every=10_000), spec, noted)
    learn(agent, again(agent, itertools.count()), 320)
    assert before > 0 and ray.asked[0][0].version == before and ray.asked[0][0].epsilon < 1
    published = [each for _, *others in ray.asked for each in others]
    assert isinstance(published[0], list) and isinstance(published[-1], bytes)  # float, and int8 when it can be calibrated
    assert len(set(purposes)) == 4  # and no stream of random numbers begins again


def test_actors_that_die_again_and_again_end_the_training(spec: EnvironmentSpec, agent: DQN) -> None:
    actors = actors_of(FakeRay(error=FakeRay.RayError("The node is out of\n memory.")), replace(SMALL, actors=1), spec)
    with pytest.raises(InputError, match=r"Actor 0 is gone 4 times in a row: .* Got: The node is out of memory\."):
        next(actors(agent, itertools.count()))
    assert actors.record.restarts == MOST_DEATHS


def test_actors_that_never_begin_end_the_training(spec: EnvironmentSpec, agent: DQN, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedqn.pipeline.collection.actors.PATIENCE_S", 0.0)
    actors = actors_of(FakeRay(is_idle=True), SMALL, spec)
    with pytest.raises(InputError, match=r"No actor began within 0 s: expected free cores in the cluster"):
        next(actors(agent, itertools.count()))


COMMAND = [sys.executable, "-P", "-c", "from edgedqn.pipeline.cli import console; console()"]
FAST = ["--hidden", "16", "16", "--learning-starts", "200", "--batch-size", "32", "--evaluation-episodes", "2"]
FAST += ["--evaluation-interval", "1000", "--checkpoint-interval", "1000"]


def wait_until_none_collects(cluster: Any) -> None:
    for _ in range(300):
        if not collectors(cluster):
            return
        time.sleep(0.1)
    assert not collectors(cluster)


def test_the_command_comes_to_a_normal_run(cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "CartPole-v1", "--out", str(folder), "--steps", "2000", "--learning-rate", "2e-3", *FAST]
    asked = ["--engine", "ray", "--actors", "2", "--address", cluster.address, "--publish-every", "200"]
    answer = subprocess.run([*COMMAND, *words, *asked], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "not reproducible bit for bit" in answer.stderr
    statistics = TrainedAgent.load(folder / "agent").statistics
    found = statistics["collection"]
    assert found["engine"] == "ray" and found["reproducible"] is False and found["policy"] == "int8"
    assert found["env_steps"] == 2_000 and found["publications"] > 1 and found["published_bytes"] > 0
    assert [steps for steps, _ in statistics["evaluations"]] == [1_000, 2_000]
    assert {"training.csv", "learning_curve.svg"} <= {path.name for path in (folder / "agent").iterdir()}
    described = json.loads((folder / "run.json").read_text())["config"]
    assert described["collection"]["actors"] == 2 and "address" not in described["collection"]
    wait_until_none_collects(cluster)
    # What comes after does not ask who collected.
    settings = {"hidden": (16, 16), "learning_starts": 200, "batch_size": 32, "steps": 2_000, "learning_rate": 2e-3}
    settings |= {"evaluation_interval": 1_000, "evaluation_episodes": 2, "checkpoint_interval": 1_000}
    job = Job.create("CartPole-v1", out=folder, settings=settings)
    assert job.settings.collection == CollectionConfig(publish_every=200)
    assert "--engine ray --actors 2 --actor-policy int8 --publish-every 200\nedgedqn run" in str(job.command())
    # A new run of one process says nothing of it.
    other = Job.create("CartPole-v1", out=tmp_path / "other", settings=settings)
    assert "collection" not in other.settings.to_json()


def test_ctrl_c_leaves_a_checkpoint_and_nobody_at_work(cluster: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "CartPole-v1", "--out", str(folder), "--steps", "1000000", *FAST]
    asked = ["--engine", "ray", "--address", cluster.address, "--actor-policy", "float"]
    process = subprocess.Popen([*COMMAND, *words, *asked], stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    while process.poll() is None and not [*(folder / "agent" / "checkpoints").glob("step-*")]:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate()
    assert process.returncode == 130 and "the same command without --force goes on" in told
    assert [*(folder / "agent" / "checkpoints").glob("step-*.npz")] and not [*folder.rglob("*.part")]
    assert not (folder / "agent" / "agent.json").exists()
    wait_until_none_collects(cluster)


def test_options_of_actors_need_actors(tmp_path: Path) -> None:
    from edgedqn.pipeline.cli import main

    assert main(["train", "CartPole-v1", "--out", str(tmp_path / "run"), "--actors", "2"]) == 2
    assert not (tmp_path / "run").exists()


def test_one_process_imports_no_ray(tmp_path: Path) -> None:
    words = ["train", "CartPole-v1", "--out", str(tmp_path / "run"), "--steps", "1100", *FAST]
    code = f"import sys; from edgedqn.pipeline.cli import main; main({words}); print('ray' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert answer.stdout.splitlines()[-1] == "False"
