import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.files import locked_folder
from edgedqn.agents.playing.processes import WorkerDiedError
from edgedqn.pipeline.sweeps.engines import Engine, LocalEngine, RayEngine, perform
from edgedqn.pipeline.sweeps.jobs import TeacherResult, TeacherWork
from edgedqn.pipeline.sweeps.store import Store

UNKNOWN = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={"algorithm": "no such"})


@pytest.fixture(autouse=True)
def cores_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker keeps to one core for good; the tests that come after these do not."""
    monkeypatch.setenv("EDGEDQN_CORES", "8")


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


class RayError(Exception):
    """Of a Ray in this process."""


class RayTaskError(RayError):
    cause = ValueError("It cannot be done.")


@pytest.mark.parametrize(
    ("raised", "told", "notes"),
    [
        (
            RayError("The node is out of\n memory."),
            "Who did it is gone: expected an answer. Got: The node is out of memory.",
            [],
        ),
        (RayTaskError("in `its_function`"), "It cannot be done.", ["in `its_function`"]),
    ],
)
def test_why_ray_has_no_answer_is_kept(raised: Exception, told: str, notes: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    ray = SimpleNamespace(exceptions=SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError))
    ray.remote = lambda **options: lambda function: SimpleNamespace(remote=lambda call: "a task")
    ray.wait = lambda tasks, num_returns: (tasks, [])
    ray.get = lambda task: (_ for _ in ()).throw(raised)
    monkeypatch.setattr("edgedqn.pipeline.sweeps.engines.join_cluster", lambda address: ray)
    engine = RayEngine(None)
    engine.submit(3, UNKNOWN, "memory://nowhere")
    number, error = engine.next()
    assert number == 3 and str(error) == told and getattr(error, "__notes__", []) == notes


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs the extra `cluster`: pip install 'edgedqn\[cluster\]'"):
        RayEngine(None)


def test_work_uses_one_core(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    work = TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={})
    Store(str(tmp_path)).put(work.key, tmp_path / "empty", {})
    perform(work.kind, work.to_json(), str(tmp_path))
    assert os.environ["EDGEDQN_CORES"] == "1"


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").mkdir()
    Store(str(tmp_path)).put(UNKNOWN.key, tmp_path / "empty", {"score": 3.0})
    monkeypatch.setattr(TeacherWork, "do", lambda *_: pytest.fail("It was done."))
    assert perform("teacher", UNKNOWN.to_json(), str(tmp_path)) == {"score": 3.0}


class Ended(BaseException):
    """In the place of a signal."""


def test_where_it_was_killed_it_goes_on_and_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[list[str]] = []
    ends: list[BaseException | None] = [Ended(), None, InputError("It cannot be done.")]

    def do(work: TeacherWork, store: Store, folder: Path) -> TeacherResult:
        found.append(sorted(path.name for path in folder.iterdir()))
        (folder / "checkpoint").touch()
        assert Path(tempfile.mkdtemp()).is_relative_to(folder.parent)
        if (end := ends.pop(0)) is not None:
            raise end
        return TeacherResult(1.0)

    monkeypatch.setattr(TeacherWork, "do", do)
    url, scratch = str(tmp_path / "sweep"), tmp_path / "sweep" / "scratch"
    with pytest.raises(Ended):
        perform("teacher", UNKNOWN.to_json(), url)
    assert list(scratch.iterdir()) and not Path(tempfile.gettempdir()).is_relative_to(scratch)
    perform("teacher", UNKNOWN.to_json(), url)
    other = replace(UNKNOWN, seed=1)
    with pytest.raises(InputError):
        perform("teacher", other.to_json(), url)
    assert found == [[], ["checkpoint"], []] and not list(scratch.iterdir())


def test_elsewhere_than_here_temporary_files_go_where_the_driver_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def do(work: TeacherWork, store: Store, folder: Path) -> TeacherResult:
        assert folder.is_relative_to(tmp_path)
        return TeacherResult(1.0)

    monkeypatch.setattr(TeacherWork, "do", do)
    assert perform("teacher", UNKNOWN.to_json(), "memory://elsewhere", str(tmp_path))["score"] == 1.0
    assert not list(tmp_path.iterdir())


def test_what_another_is_thought_to_do_is_done_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "sweep" / "scratch" / UNKNOWN.key
    place.mkdir(parents=True)
    monkeypatch.setattr(TeacherWork, "do", lambda work, store, folder: TeacherResult(float(folder.is_relative_to(place))))
    with locked_folder(place):
        assert perform("teacher", UNKNOWN.to_json(), str(tmp_path / "sweep"))["score"] == 0.0


def test_a_session_of_the_callers_is_not_ended(cluster: Any) -> None:
    ray = pytest.importorskip("ray")
    ray.init(address=cluster.address, log_to_driver=False, configure_logging=False)
    try:
        RayEngine(cluster.address).end()
        assert ray.is_initialized()
    finally:
        ray.shutdown()
