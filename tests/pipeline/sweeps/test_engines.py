import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.pipeline.sweeps import jobs
from edgedqn.pipeline.sweeps.engines import Engine, LocalEngine, RayEngine
from edgedqn.pipeline.sweeps.jobs import TeacherWork
from edgedqn.pipeline.sweeps.store import Store

UNKNOWN = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={"algorithm": "no such"})


@pytest.fixture(params=["local", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param == "local":
        made: Engine = LocalEngine(2)
    else:
        made = RayEngine(request.getfixturevalue("cluster").address)
    yield made
    made.end()


def test_what_is_done_already_is_answered_at_once(engine: Engine, tmp_path: Path) -> None:
    works = [TeacherWork(environment={"id": "CartPole-v1"}, seed=seed, training={}) for seed in range(3)]
    (tmp_path / "empty").mkdir()
    for work in works:
        Store(str(tmp_path)).put(work.key, tmp_path / "empty", {"score": float(work.seed)})
    for number, work in enumerate(works):
        engine.submit(number, work, str(tmp_path))
    assert dict(engine.next() for _ in works) == {seed: {"score": float(seed)} for seed in range(3)}


def test_what_cannot_be_done_is_an_error_and_the_next_is_done(engine: Engine, tmp_path: Path) -> None:
    engine.submit(7, UNKNOWN, str(tmp_path))
    number, outcome = engine.next()
    assert number == 7 and isinstance(outcome, Exception)
    test_what_is_done_already_is_answered_at_once(engine, tmp_path)


def test_a_process_that_is_killed_is_told_and_replaced(tmp_path: Path) -> None:
    engine = LocalEngine(1)
    try:
        (process,) = engine._workers._processes.values()
        engine.submit(0, UNKNOWN, str(tmp_path))
        process.kill()
        number, outcome = engine.next()
        assert number == 0 and isinstance(outcome, WorkerDiedError)
        test_what_is_done_already_is_answered_at_once(engine, tmp_path)
    finally:
        engine.end()


def test_nobody_works_on_when_the_driver_is_killed(tmp_path: Path) -> None:
    code = """
import sys, time
from edgedqn.pipeline.sweeps.engines import LocalEngine
engine = LocalEngine(2)
print(*[process.pid for process in engine._workers._processes.values()], flush=True)
time.sleep(60)
"""
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert driver.stdout is not None
    workers = [int(pid) for pid in driver.stdout.readline().split()]
    driver.terminate()
    driver.wait()
    for _ in range(50):
        alive = [pid for pid in workers if Path(f"/proc/{pid}").exists()]
        if not alive:
            break
        time.sleep(0.1)
    assert len(workers) == 2 and not alive
    driver.stdout.close()


def test_a_cluster_that_is_not_there_is_refused() -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=r"expected the --address of a running Ray cluster"):
        RayEngine("127.0.0.1:1")


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs the extra `cluster`: pip install 'edgedqn\[cluster\]'"):
        RayEngine(None)


def test_work_uses_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEDQN_CORES", "8")
    (tmp_path / "empty").mkdir()
    work = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={})
    Store(str(tmp_path)).put(work.key, tmp_path / "empty", {})
    jobs.perform(work.kind, work.to_json(), str(tmp_path))
    assert os.environ["EDGEDQN_CORES"] == "1"
