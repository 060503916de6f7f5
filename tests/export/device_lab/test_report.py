"""The report in a real browser, opened as a file without a network: drawn, sorted, legible, without a fault for axe-core."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.report.charts import KernelZeros
from edgedqn.benchmarks.report.learning_curve import learning_chart
from edgedqn.benchmarks.report.page import FileDetails, Film, Rung, render_report
from edgedqn.benchmarks.rows import Benchmark, Stress, Stressed, StressTest

ARTIFACTS = Path(__file__).parents[3] / "build" / "device-lab"
HISTOGRAM = {"from_us": 1.0, "to_us": 3.0, "counts": [6, 3, 0, 1]}
LATENCY = {"p50": 1.0, "p90": 2.0, "p99": 3.0, "mean": 1.5, "n": 10, "timer_us": 0.04, "histogram": HISTOGRAM}
DRAWN_TIMES = """new Promise(done => {{
    const look = () => document.documentElement.dataset.drawn >= {} ? done() : setTimeout(look, 10);
    look();
}})"""
DRAWN = DRAWN_TIMES.format(1)
PIXEL = b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff,\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
STILL = PIXEL.replace(b"\xff\xff\xff", b"\xff\x00\x00")
COMMAND = "edgedqn run my_company.simulators.conveyor:SortingLine-v3 --seed 0 --recipes qat-int8 shrink-qat-int8 auto-int8"
LONG = "prune-cluster-quantize-distil-int8"
MANY = (
    *("float32", "ptq-int8", "auto-int8", LONG, "qat-int8", "prune-qat-int8", "prune98-qat-int8", "int16x8", "shrink-qat-int8"),
    *(
        "cluster-qat-int8",
        "prune-cluster-qat-int8",
        "student-qat-int8",
        "qat-td-int8",
        "qat-float-output",
        "dynamic",
        "float16",
    ),
    *("threshold", "prune-int8", "prune-td-int8", "a-recipe-of-somebody-s-own-with-a-long-name"),
)
# Of all texts of a plot: those that meet another one, and those that are cut off.
MET = """[...document.querySelectorAll('.chart svg')].flatMap(svg => {
    const whole = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll('text')].filter(text => text.textContent && getComputedStyle(text).opacity !== '0');
    const boxes = texts.map(text => [text.textContent, text.getBoundingClientRect()]);
    const met = ([, a], [, b]) =>
        a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
    const pairs = boxes.flatMap((a, i) => boxes.slice(i + 1).filter(b => met(a, b)).map(b => [a[0], b[0]]));
    const cut = boxes.filter(([, a]) => a.left < whole.left - 1 || a.right > whole.right + 1 || a.top < whole.top - 1
        || a.bottom > whole.bottom + 1).map(([text]) => [text, 'cut off']);
    return [...pairs, ...cut];
})"""
NAMES = "[...document.querySelectorAll('table.sortable tbody th')].map(cell => cell.firstChild.textContent.trim())"


def row(name: str, gate: str | None, size: int, mean: float, speed: float) -> dict[str, Any]:
    return {
        "name": name,
        "file": f"models/{name}.tflite",
        "recipe": name,
        "status": "ok",
        "size_bytes": size,
        "gzip_bytes": size // 2,
        "weights": 100,
        "nonzero_weights": 50,
        "latency_us": LATENCY | {"p50": 3 / speed},
        "step_latency_us": LATENCY | {"p50": 3 / speed + 3},
        "twin_step_latency_us": LATENCY | {"p50": 3 / speed + 1} if gate else None,
        "twin_step_speedup": {"median": 1.9, "ci95": [1.8, 2.0]} if gate else None,
        "sha256": name,
        "speedup": {"median": speed, "ci95": [speed - 0.01, speed + 0.01]},
        "step_speedup": {"median": 1.1, "ci95": [1.0, 1.2]},
        "return": {"mean": mean, "ci95": [mean - 4, mean + 4], "episodes": 300},
        "return_delta": {"mean": mean - 500, "ci95": [mean - 505, mean - 495]},
        "output_range": {"low": -128.0, "high": 127.0, "median_gap": 40.0},
        "gate": gate,
    }


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """A page with all that a page can have, its names and its command as long as they get."""
    rows = [
        row("float32", None, 271_184, 500, 1),
        row("ptq-int8", "fail", 82_672, 136, 2.5),
        row("auto-int8", "pass", 704, 499, 6),
    ]
    failed = {"name": LONG, "file": "f", "status": "failed", "reason": "A NaN."}
    tried = Rung(
        name="round",
        taken=True,
        verdict="pass",
        mean_return=499.0,
        agreement=0.98,
        tie_rate=0.01,
        size_bytes=704,
        lacking="agreement by gap in 98.0% of the states",
    )
    files = {
        "float32": FileDetails([KernelZeros((256, 4), 0.0, None)]),
        "auto-int8": FileDetails([KernelZeros((2, 4), 0.9, 0.9)], [tried]),
    }
    device = {
        "machine": {"cpu": "Cortex-A72", "architecture": "aarch64"},
        "rows": [{**rows[2], "file": "device/policy.tflite"}],
    }
    machine = {"cpu": "AMD EPYC", "pinned_cores": [0, 1]}
    benchmark = Benchmark.from_json({"machine": machine, "baseline": "float32", "rows": [*rows, failed], "devices": [device]})
    stages = [{"name": f"compress/{LONG}", "status": "done", "seconds": 31.2}]
    run = {"env_id": "my_company.simulators.conveyor:SortingLine-v3", "seed": 0, "stages": stages, "versions": {"numpy": "2.4"}}
    (tmp_path / "training.csv").write_text("env_steps,episode_return\n10,1.0\n30,2.0\n")
    path = tmp_path / "page" / "report.html"
    path.parent.mkdir()
    film = Film(gif=PIXEL, still=STILL, name="auto-int8", seed=31, returns=(500.0, 499.0))
    curve = learning_chart(tmp_path)
    page = render_report(benchmark, run, command=COMMAND, margin=9.6, learning=curve, files=files, film=film)
    path.write_text(page)
    return path


@pytest.fixture
def crowded(tmp_path: Path) -> Callable[[int], Path]:
    """Pages of so many files, each with all plots."""

    def make(count: int) -> Path:
        names = MANY[:count]
        rows = [
            row(name, "pass" if i % 3 else "fail" if i else None, 700 + 1_500 * i**2, 500 - 3 * (i % 5), 6 - 0.25 * i)
            for i, name in enumerate(names)
        ]
        found = Benchmark.from_json({"machine": {"cpu": "AMD EPYC"}, "baseline": "float32", "rows": rows})
        more = Interval(3.0, 2.0, 5.0)
        test = StressTest(
            episodes=300,
            note="What goes wrong.",
            stresses=tuple(
                Stress(
                    what,
                    tuple(
                        Stressed(name=name, mean_return=490.0, loss=more, excess=more if name != "float32" else None)
                        for name in names
                    ),
                )
                for what in ("noise 1%", "noise 3%", "noise 10%", "delay 1 step", "stuck 5%", "stuck 20%")
            ),
        )
        kernels = [KernelZeros((4, 256), 0.8, 0.8), KernelZeros((256, 256), 0.25, None), KernelZeros((256, 2), 0.0, None)]
        steps = "".join(f"{100 * i},{i}\n" for i in range(1, 600))
        (tmp_path / "training.csv").write_text(f"env_steps,episode_return\n{steps}")
        page = render_report(
            replace(found, stress=test),
            {"env_id": "CartPole-v1", "seed": 0, "stages": [], "versions": {"numpy": "2.4"}},
            command=f"edgedqn run CartPole-v1 --recipes {' '.join(names[1:])}",
            margin=9.6,
            learning=learning_chart(tmp_path),
            files={name: FileDetails(kernels, archive="device.zip" if name == "auto-int8" else None) for name in names},
            film=Film(gif=PIXEL, still=STILL, name="auto-int8", seed=31, returns=(500.0, 499.0)),
        )
        path = tmp_path / f"report-{count}.html"
        path.write_text(page)
        return path

    return make


def opened(page: Any, path: Path, **how: Any) -> None:
    """Goes there and waits until everything is drawn."""
    page.open(path.as_uri(), **how)
    page.evaluate(DRAWN)


def test_it_draws_without_a_network_and_a_word_of_complaint(report: Path, page: Any) -> None:
    opened(page, report)
    assert page.evaluate("document.querySelectorAll('.chart svg').length") == 7
    assert page.evaluate("[...document.querySelectorAll('.chart svg')].every(svg => svg.querySelector('path, line, rect'))")
    assert {address for address in page.requests if not address.startswith(("file:", "data:"))} == set()
    assert page.complaints == []


def test_the_table_sorts_by_number_and_what_is_unknown_comes_last(report: Path, page: Any) -> None:
    opened(page, report)
    assert page.evaluate(NAMES) == ["float32", "ptq-int8", "auto-int8", LONG]
    click = "[...document.querySelectorAll('th button')].find(button => button.textContent === 'KB')"
    page.evaluate(f"{click}.click()")
    assert page.evaluate(NAMES) == ["float32", "ptq-int8", "auto-int8", LONG]
    assert page.evaluate(f"{click}.closest('th').getAttribute('aria-sort')") == "descending"
    page.evaluate(f"{click}.click()")
    assert page.evaluate(NAMES) == ["auto-int8", "ptq-int8", "float32", LONG]
    assert page.evaluate(f"{click}.closest('th').getAttribute('aria-sort')") == "ascending"


def test_its_colours_turn_in_the_night_and_it_is_drawn_again_on_a_turned_phone(report: Path, page: Any) -> None:
    opened(page, report, width=390, height=800)
    ink = "getComputedStyle(document.querySelector('.chart svg text')).fill"
    day, narrow = page.evaluate(ink), page.evaluate("document.querySelector('.chart svg').clientWidth")
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert page.evaluate(ink) != day
    page.call("Emulation.setDeviceMetricsOverride", width=800, height=390, deviceScaleFactor=1, mobile=False)
    page.evaluate(DRAWN_TIMES.format(2))
    assert page.evaluate("document.querySelector('.chart svg').clientWidth") > narrow
    assert page.evaluate("document.querySelectorAll('.chart svg').length") == 7
    assert page.complaints == []


def test_a_chart_that_cannot_be_drawn_is_told_and_the_others_are_drawn(report: Path, page: Any) -> None:
    report.write_text(report.read_text().replace('"type":"rect"', '"type":"no such mark"', 1))
    opened(page, report)
    assert page.evaluate("document.querySelectorAll('.chart svg').length") == 6
    assert page.evaluate("[...document.querySelectorAll('.chart')].some(each => each.textContent.startsWith('Zeros in each'))")


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


@pytest.mark.parametrize("count", [3, 8, 20])
def test_no_label_meets_another_and_the_plots_use_the_width(crowded: Callable[[int], Path], page: Any, count: int) -> None:
    path = crowded(count)
    for width in (360, 800, 1400):
        for dark in (False, True):
            opened(page, path, width=width, height=1800, dark=dark)
            page.screenshot(ARTIFACTS / f"report-{count}-files-{width}-{'dark' if dark else 'light'}.png")
            assert page.evaluate(MET) == [], (width, dark)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            # On a wide screen two stand side by side.
            used = page.evaluate(
                "Math.min(...[...document.querySelectorAll('.chart svg')].map(svg => svg.clientWidth)) / innerWidth"
            )
            assert used > (0.8 if width < 1200 else 0.4), (width, dark)
    assert page.complaints == []


def test_the_tables_first_column_stays_when_it_scrolls(crowded: Callable[[int], Path], page: Any) -> None:
    opened(page, crowded(8), width=360)
    found = page.evaluate(
        """(() => {
        const wide = document.querySelector('.wide'), name = wide.querySelector('tbody th');
        const before = name.getBoundingClientRect().left;
        wide.scrollLeft = 300;
        return [wide.scrollLeft, name.getBoundingClientRect().left - before, name.clientWidth / wide.clientWidth];
    })()"""
    )
    assert found[0] == 300 and found[1] == 0 and found[2] < 0.5


def test_the_film_starts_by_itself_unless_somebody_wants_nothing_to_move(crowded: Callable[[int], Path], page: Any) -> None:
    path = crowded(3)
    shown = "document.querySelector('.film img').currentSrc.split(',')[1]"
    moving, still = (base64.b64encode(content).decode() for content in (PIXEL, STILL))
    click = "document.querySelector('.film button').click()"
    for quiet, first, other in ((False, moving, still), (True, still, moving)):
        opened(page, path, still=quiet)
        assert page.evaluate(shown) == first
        page.evaluate(f"{click}; new Promise(done => setTimeout(done, 100))")
        assert page.evaluate(shown) == other


@pytest.mark.parametrize(("count", "width"), [(3, 1400), (20, 1400), (20, 360)])
def test_it_prints_on_one_page_dark_or_not(crowded: Callable[[int], Path], page: Any, count: int, width: int) -> None:
    opened(page, crowded(count), width=width, dark=True)
    pdf = base64.b64decode(page.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])
    (ARTIFACTS / f"report-{count}-files-{width}.pdf").write_bytes(pdf)
    assert pdf.count(b"/Type /Page\n") == 1


def test_the_four_numbers_and_the_zip_stand_on_top(crowded: Callable[[int], Path], page: Any) -> None:
    opened(page, crowded(3))
    numbers = page.evaluate("[...document.querySelectorAll('.gains b')].map(each => each.textContent)")
    assert numbers == ["2.20 KB", "5.75x", "1.90x", "497.0"]
    assert page.evaluate("document.querySelector('a[download]').getAttribute('href')") == "device.zip"
