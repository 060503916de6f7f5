from pathlib import Path

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.rows import BenchmarkRow
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.sweeps.jobs import FileResult, FileWork, ProofWork, TeacherWork
from edgedqn.pipeline.sweeps.page import parts_of
from edgedqn.pipeline.sweeps.results import Proven, SweepResult
from edgedqn.pipeline.sweeps.store import Store
from edgedqn.pipeline.sweeps.sweep_file import Sweep
from edgedqn.pipeline.sweeps.trials import Found, Proof, Tried

WORK = FileWork(
    teacher=TeacherWork(environment={"id": "CartPole-v1"}, seed=0, training={}), recipe=RECIPES["qat-int8"].to_json()
)


def tried(number: int, verdict: str) -> Tried:
    result = FileResult(
        verdict=verdict,
        reason="",
        kept=0.9,
        size_bytes=700 + number,
        multiply_accumulates=10,
        arena_bytes=None,
        sha256="ab",
        over_random=500.0,
    )
    return Tried(number, {"recipe": "qat-int8", "a.width": [number], "a.fixed": 3}, (WORK,), (result,))


def test_each_environment_has_its_part(tmp_path: Path) -> None:
    trials = (
        tried(0, "pass"),
        tried(1, "fail"),
        tried(2, "pass"),
        Tried(3, {"recipe": "qat-int8", "a.width": [9]}, (), error="No."),
    )
    value = {"name": "qat-int8", "file": "models/qat-int8.tflite", "status": "ok", "gate": "pass"}
    row = BenchmarkRow.from_json({**value, "return_delta": Interval(-5.0, -10.0, 0.0).to_json()})
    proofs = {0: (Proof(ProofWork(file=WORK), (row,)),)}
    found = {
        "CartPole-v1": Found("CartPole-v1", {}, trials, proofs, {"return": {"a.width": 1.0}}),
        "Acrobot-v1": Found("Acrobot-v1", {}, error="No agent."),
    }
    front = Proven(
        trial=0,
        settings={},
        passed=True,
        returns=(495.0,),
        floats=(500.0,),
        size_bytes=700,
        runs=("work/a",),
        files=("models/qat-int8.tflite",),
    )
    sweep = Sweep.from_json({"environments": list(found), "trials": 4})
    result = SweepResult(Store(str(tmp_path)), sweep, found, {"CartPole-v1": (front,), "Acrobot-v1": ()})
    cart, acrobot = parts_of(result)
    assert [trial.outcome for trial in cart.trials] == ["proven", "did not pass", "passed", "could not be done"]
    assert cart.trials[0].settings == {"a.width": "[0]", "a.fixed": "3"}  # the last trial has no a.fixed
    assert cart.trials[0].interval == Interval(0.99, 0.98, 1.0) and cart.trials[0].runs == ("work/a",)
    assert cart.trials[0].values == {"return": 0.9, "bytes": 700}
    assert cart.importances == {"return": {"a.width": 1.0}}
    assert "takes 700 bytes and returns 495.0 of 500.0: trial 0." in cart.summary
    assert (acrobot.summary, acrobot.trials) == ("No agent.", ())
