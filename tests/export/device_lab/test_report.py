"""The report in a real browser, opened as a file without a network: drawn, sorted, legible, without a fault for axe-core."""

import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from edgedqn.benchmarks.report import render_report
from edgedqn.benchmarks.rows import ROW_KEYS

ARTIFACTS = Path(__file__).parents[3] / "build" / "device-lab"
LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "histogram": {"from_us": 1.0, "to_us": 3.0, "counts": [6, 3, 0, 1]}}
DRAWN = """new Promise(done => {
    const look = () => document.documentElement.dataset.drawn ? done() : setTimeout(look, 10);
    look();
})"""
NAMES = "[...document.querySelectorAll('table.sortable tbody th')].map(cell => cell.firstChild.textContent.trim())"


def row(name: str, gate: str | None, size: int, mean: float, speed: float) -> dict[str, Any]:
    found = {
        "name": name,
        "status": "ok",
        "size_bytes": size,
        "gzip_bytes": size // 2,
        "weights": 100,
        "nonzero_weights": 50,
        "latency_us": LATENCY | {"p50": 3 / speed},
        "step_latency_us": LATENCY | {"p50": 3 / speed + 3},
        "speedup": {"median": speed, "ci95": [speed - 0.01, speed + 0.01]},
        "step_speedup": {"median": 1.1, "ci95": [1.0, 1.2]},
        "return": {"mean": mean, "ci95": [mean - 4, mean + 4], "episodes": 300},
        "return_delta": {"mean": mean - 500, "ci95": [mean - 505, mean - 495]},
        "output_range": {"low": -128.0, "high": 127.0, "median_gap": 40.0},
        "gate": gate,
    }
    return dict.fromkeys(ROW_KEYS) | found


@pytest.fixture
def report(tmp_path: Path) -> Path:
    rows = [
        row("float32", None, 271_184, 500, 1),
        row("ptq-int8", "fail", 82_672, 136, 2.5),
        row("auto-int8", "pass", 704, 499, 6),
    ]
    failed = dict.fromkeys(ROW_KEYS) | {"name": "broken", "status": "failed", "reason": "The policy computed a NaN."}
    kernels = {
        "float32": [{"shape": (256, 4), "zeros": 0.0, "asked": None}],
        "auto-int8": [{"shape": (2, 4), "zeros": 0.9, "asked": 0.9}],
    }
    benchmark = {"schema": 1, "machine": {"cpu": "AMD EPYC"}, "baseline": "float32", "rows": [*rows, failed]}
    path = tmp_path / "page" / "report.html"
    path.parent.mkdir()
    path.write_text(render_report(benchmark, command="edgedqn run CartPole-v1", margin=9.6, kernels=kernels))
    return path


def opened(page: Any, path: Path, **how: Any) -> float:
    """Seconds until everything is drawn."""
    start = time.monotonic()
    page.open(path.as_uri(), **how)
    page.evaluate(DRAWN)
    return time.monotonic() - start


def test_it_draws_without_a_network_and_a_word_of_complaint(report: Path, page: Any) -> None:
    opened(page, report)
    assert page.evaluate("document.querySelectorAll('.chart svg').length") == 5
    assert page.evaluate("[...document.querySelectorAll('.chart svg')].every(svg => svg.querySelector('path, line, rect'))")
    assert {address for address in page.requests if not address.startswith(("file:", "data:"))} == set()
    assert page.complaints == []


def test_the_table_sorts_by_number_and_what_is_unknown_comes_last(report: Path, page: Any) -> None:
    opened(page, report)
    assert page.evaluate(NAMES) == ["float32", "ptq-int8", "auto-int8", "broken"]
    click = "[...document.querySelectorAll('th button')].find(button => button.textContent === 'KB')"
    page.evaluate(f"{click}.click()")
    assert page.evaluate(NAMES) == ["float32", "ptq-int8", "auto-int8", "broken"]
    assert page.evaluate(f"{click}.closest('th').getAttribute('aria-sort')") == "descending"
    page.evaluate(f"{click}.click()")
    assert page.evaluate(NAMES) == ["auto-int8", "ptq-int8", "float32", "broken"]
    assert page.evaluate(f"{click}.closest('th').getAttribute('aria-sort')") == "ascending"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize(("device", "width"), [("desk", 1100), ("phone", 390)])
def test_it_is_legible_on_a_desk_and_on_a_phone_by_day_and_by_night(
    report: Path, page: Any, dark: bool, device: str, width: int
) -> None:
    opened(page, report, width=width, height=1800, dark=dark)
    page.screenshot(ARTIFACTS / f"report-{device}-{'dark' if dark else 'light'}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text() + "\n;undefined")
    found = json.loads(page.evaluate("axe.run().then(found => JSON.stringify(found.violations))"))
    serious = [(each["id"], each["help"]) for each in found if each["impact"] in ("serious", "critical")]
    assert serious == []
    assert page.complaints == []
