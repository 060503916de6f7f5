"""The table lines up, whatever is missing."""

from dataclasses import replace
from typing import Any

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.cores.fit import Fit, FitTest
from edgedqn.benchmarks.machine import Machine
from edgedqn.benchmarks.report.table import (
    fit_heading,
    fit_title,
    render_fits,
    render_markdown,
    render_stress,
    render_table,
    slow_note,
    stress_summary,
)
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Stress, Stressed, StressTest

LATENCY = {"p50": 1.234, "p90": 2, "p99": 3, "mean": 1.5, "n": 10, "timer_us": 0.04}
FAILED = BenchmarkRow(name="a-rather-long-name", file="f", status="failed", reason="The file was changed.")


def full(**fields: Any) -> Any:
    values = {
        "name": "qat-int8", "file": "models/qat-int8.tflite", "status": "ok", "size_bytes": 8_200, "gzip_bytes": 5_149,
        "weights": 1_000, "nonzero_weights": 200, "latency_us": LATENCY, "step_latency_us": LATENCY | {"p50": 9.876},
        "speedup": {"median": 2.5, "ci95": [2.4, 2.6]}, "step_speedup": {"median": 0.9, "ci95": [0.88, 0.91]},
        "return": {"mean": 498.26, "ci95": [497.0, 499.04], "episodes": 300}, "return_delta": {"mean": -0.5, "ci95": [-1, 0]},
        "action_agreement": 0.981, "gap_weighted_agreement": 0.9984, "tie_rate": 0.002, "gate": "pass",
    }  # fmt: skip
    return BenchmarkRow.from_json(values | fields)


def cells(line: str) -> list[Any]:
    return [cell.strip() for cell in line.split("  ") if cell.strip()]


def test_a_row_in_the_units_a_person_reads() -> None:
    assert cells(render_table([full()]).splitlines()[2]) == [
        "qat-int8", "498.3 [497.0, 499.0]", "-0.50", "pass", "98.1%", "99.8%", "0.2%", "8.20", "5.15", "80.0%",
        "1.23", "2.50x [2.40, 2.60]", "9.88", "0.90x [0.88, 0.91]",
    ]  # fmt: skip


def test_columns_line_up_and_what_is_missing_is_a_dash() -> None:
    head, rule, *lines, reason = render_table([full(), FAILED, full(gate=None)]).splitlines()
    assert reason == "a-rather-long-name: The file was changed."
    assert {len(line) for line in [head, rule, *lines]} == {len(rule)}
    assert cells(lines[1]) == ["a-rather-long-name", "-", "-", "failed", *["-"] * 10]
    assert cells(lines[2])[3] == "-"
    assert not any(line != line.rstrip() for line in lines)


def test_figures_of_a_core_at_full_speed_need_no_note() -> None:
    steady = LATENCY | {"full_speed": 0.96}
    assert slow_note([full(latency_us=steady), full(), FAILED]) is None
    assert slow_note([]) is None


def test_figures_of_a_slow_core_are_to_be_taken_again() -> None:
    rows = [full(), full(step_latency_us=LATENCY | {"full_speed": 0.4})]
    note = slow_note(rows)
    assert note is not None
    assert note.startswith("The core was slower than it can be in 60% of the rounds")
    for text in (render_table(rows), render_markdown(rows)):
        assert text.splitlines()[-1] == note


def test_small_returns_and_small_files_have_a_digit_more() -> None:
    small = full(size_bytes=704, gzip_bytes=13_531, **{"return": {"mean": 0.744, "ci95": [0.7, 0.79], "episodes": 300}})
    shown = cells(render_table([small]).splitlines()[2])
    assert (shown[1], shown[7], shown[8]) == ("0.74 [0.70, 0.79]", "0.70", "13.5")


def test_what_fits_a_board_stands_with_what_does_not_and_why() -> None:
    small = Fit(name="small", flash_bytes=3_000, ram_bytes=101, cycles=6_400, rate_hz=2_500.0)
    fits = FitTest(budget=find_budget("uno", 100.0), is_limit=False, files=(small, Fit(name="float32", reason="float ends")))
    heading, head, _, *lines = render_fits(Benchmark(Machine(cpu="one"), "float32", (), fits=(fits,))).splitlines()
    assert "160,000 cycles per step, 100 steps per second" in heading and "measured in simavr" in heading
    assert head.split() == ["file", "fits", "flash", "RAM", "cycles", "highest", "rate,", "Hz", "why", "not"]
    assert [line.split() for line in lines] == [
        ["small", "yes", "3,000", "101", "6,400", "2,500.0"],
        ["float32", "no", "-", "-", "-", "-", "float", "ends"],
    ]
    assert [fit_title(replace(fits, budget=each)) for each in (fits.budget, find_budget("1,2,3"))] == [
        "What fits uno at 100 Hz",
        "What fits 1,2,3",
    ]
    assert "*estimate*" in fit_heading(replace(fits, budget=find_budget("pico")))


def test_stress_stands_file_by_file_and_says_who_is_more_brittle() -> None:
    def stress(what: str, excess: Interval) -> Stress:
        own = Interval(1.0, 0.5, 1.5)
        return Stress(
            what,
            (
                Stressed(name="float32", mean_return=498.0, loss=own, excess=None),
                Stressed(name="q", mean_return=9.0, loss=own, excess=excess),
            ),
        )

    bad, fine = stress("noise 1%", Interval(3.0, 2.5, 3.5)), stress("delay 1 step", Interval(0.5, -1.0, 2.0))
    both, mild = (StressTest(episodes=300, note="So.", stresses=stresses) for stresses in ((bad, fine), (fine,)))
    found = render_stress(Benchmark(Machine(cpu="one"), "float32", (), stress=both))
    heading, head, _, none, first, second, told, note = found.splitlines()
    assert heading == "Under stress, mean return of 300 episodes each:" and note == "So."
    assert head.split() == ["stress", "float32", "q", "loses", "more", "[95", "%]"]
    assert none.split() == ["none", "499.0", "10.0", "-"]
    assert first.split() == ["noise", "1%", "498.0", "9.00", "+3.00", "[+2.50,", "+3.50]"]
    assert second.startswith("delay 1 step") and len(second) == len(first)
    assert told == "More brittle than float32, beyond chance (one in 40 comparisons is that by chance): q at noise 1% (3 more)."
    assert stress_summary(mild) == "No file loses more than float32 beyond chance."
    assert render_stress(Benchmark(Machine(cpu="one"), "float32", ())) == ""
    many = Stress("noise 1%", tuple(replace(bad.files[1], name=f"q{i}", excess=Interval(i, i, i)) for i in range(1, 7)))
    told = stress_summary(StressTest(episodes=300, note="", stresses=(replace(many, files=(bad.files[0], *many.files)),)))
    assert "q6 at noise 1% (6 more); q5" in told and "q2" not in told and told.endswith("and 2 files more.")
