from dataclasses import replace
from pathlib import Path

from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.pipeline.sweeps.results import Proven
from edgedqn.pipeline.sweeps.timing import timed

QUICK = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0.0)


def test_the_files_of_a_front_are_timed_together(done: Path) -> None:
    run = next((done / "work").glob("proof-*/"))
    (file,) = (path for path in (run / "models").glob("student-*.tflite") if ".twin" not in path.name)
    place = str(run.relative_to(done))
    front = Proven(
        trial=0,
        settings={},
        passed=True,
        returns=(1.0,),
        floats=(1.0,),
        size_bytes=1,
        runs=(place,),
        files=(f"models/{file.name}",),
    )
    again, unproven = replace(front, trial=1), replace(front, trial=2, runs=(), files=())
    found = timed([front, again, unproven], done, config=QUICK)
    assert [each.trial for each in found] == [0, 1, 2]
    assert found[0].latency_us is not None and 0 < found[0].latency_us == found[1].latency_us
    assert found[0].step_speedup is not None and found[2].latency_us is None
    assert timed([unproven], done) == (unproven,)
