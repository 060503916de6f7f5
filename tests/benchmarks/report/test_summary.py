"""What a run came to, in words and numbers: honest, and silent about what was not measured."""

from typing import Any

from edgedqn.benchmarks.report.summary import Gain, gains, in_a_sentence, summary
from edgedqn.benchmarks.rows import BenchmarkRow

LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "mean": 1.5, "n": 10, "timer_us": 0.04}


def row(
    name: str = "float32", size: int = 20_000, gate: str | None = None, speed: float = 1.0, step: float = 1.0, **fields: Any
) -> BenchmarkRow:
    values = {
        "name": name, "file": f"{name}.tflite", "status": "ok", "size_bytes": size, "gzip_bytes": size // 2,
        "weights": 10, "nonzero_weights": 5, "latency_us": LATENCY, "step_latency_us": LATENCY,
        "speedup": {"median": speed, "ci95": [speed - 0.01, speed + 0.01]},
        "step_speedup": {"median": step, "ci95": [step - 0.01, step + 0.01]},
        "return": {"mean": 498.0, "ci95": [497.0, 499.0], "episodes": 300}, "return_delta": {"mean": 0.0, "ci95": [0.0, 0.0]},
        "action_agreement": 1.0, "gap_weighted_agreement": 1.0, "tie_rate": 0.0, "gate": gate,
    }  # fmt: skip
    return BenchmarkRow.from_json(values | fields)


NO_RETURN: dict[str, Any] = {"return": None}


def test_the_summary_is_honest_where_it_is_slower() -> None:
    said = summary([row(), row("qat-int8", 5_000, "pass", speed=2.7, step=0.9)], "float32")
    expected = "qat-int8 passed its gate: on the same 300 episodes float32 returns 498.0, and qat-int8 exactly as much."
    assert said.startswith(expected)
    assert "5.00 KB instead of 20.0 KB, 25% of the size" in said
    assert "One invoke() is 2.70 times as fast" in said
    assert "is slower, at 0.90 times the speed" in said
    twin = row("q", 500, "pass", twin_step_latency_us=LATENCY, twin_step_speedup={"median": 1.9, "ci95": [1.8, 2.0]})
    said = summary([row(), twin], "float32")
    assert "2.5% of the size" in said
    assert said.endswith("the whole step, from observation to action, is 1.90 times as fast.")  # of what is loaded
    assert "about as fast (1.00x" in summary([row(), row("q", 5_000, "pass")], "float32")


def test_the_summary_compares_the_same_episodes() -> None:
    fields: dict[str, Any] = {
        "return": {"mean": 499.0, "ci95": [498, 500], "episodes": 100},
        "return_delta": {"mean": -1.7, "ci95": [-6.8, 3.6]},
    }
    said = summary([row(), row("q", 5_000, "pass", **fields)], "float32")
    both = "on the same 100 episodes float32 returns 500.7, and q 499.0, 1.70 less"
    assert f"{both} (the difference is between -6.80 and 3.60 at 95 %)." in said
    assert "498" not in said, "of other episodes"


def test_the_summary_says_when_nothing_passed_or_was_played() -> None:
    assert summary([row(), row("q", 5_000, "undecided")], "float32").startswith("No int8 file passed its gate")
    unplayed = row("float32", **NO_RETURN)
    assert summary([unplayed], "float32").startswith("Nothing was played")


def test_the_four_numbers_stand_beside_what_they_were() -> None:
    twin = {"twin_step_latency_us": LATENCY | {"p50": 0.5}, "twin_step_speedup": {"median": 2.1, "ci95": [2.0, 2.2]}}
    q = row("q", 1_552, "pass", 6.3, 1.9, **twin)
    assert gains([row(size=272_000), q], "float32") == [
        Gain("size", "1.55 KB", "175 times smaller than 272.0 KB"),
        Gain("speed of one invoke()", "6.30x", "1.00 µs in place of 1.00"),
        Gain("speed of a step, in Python", "2.10x", "0.50 µs in place of 1.00"),
        Gain("return", "498.0", "498.0 before, on the same 300 episodes; passed its gate"),
    ]
    assert gains([row(), row("q", 5_000, "fail")], "float32") == []


def test_a_sentence_says_what_lies_in_device() -> None:
    rows = [row(size=272_000), row("q", 1_552, "pass", 6.3, 1.94)]
    times = "6.3 times as fast (one invoke(); the whole step in Python 1.9 times as fast)"
    expected = f"1.6 KB in place of 272 KB, 175 times smaller, {times}"
    assert in_a_sentence(rows, "float32") == f"{expected}, 498.0 of 498.0 on 300 episodes"
    assert in_a_sentence([row(), row("q", 5_000, "fail")], "float32") is None


def test_the_sentence_leaves_out_what_was_not_measured_and_hides_no_loss() -> None:
    untimed = row("q", 5_000, "pass", speedup=None, step_speedup=None)
    assert (
        in_a_sentence([row(), untimed], "float32")
        == "5.0 KB in place of 20.0 KB, 4.0 times smaller, 498.0 of 498.0 on 300 episodes"
    )
    fields: dict[str, Any] = {
        "return": {"mean": -105.2, "ci95": [-106, -104], "episodes": 1_200},
        "return_delta": {"mean": -1.2, "ci95": [-2, 0]},
    }
    slow = row("q", 40_000, "pass", 0.8, 1.0, **fields)
    assert in_a_sentence([row(), slow], "float32") == (
        "40.0 KB in place of 20.0 KB, 2.0 times larger, 0.80 times as fast (one invoke(); the whole step in Python about as "
        "fast), a return of -105.2 after -104.0 on 1,200 episodes"
    )
