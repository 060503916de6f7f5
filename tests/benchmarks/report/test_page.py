"""The page stands alone, says what is true, and escapes what it is given."""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from edgedqn.agents.playing.fragility import Fragility, Loss
from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.cores.budget import find_budget
from edgedqn.benchmarks.cores.fit import Fit, FitTest
from edgedqn.benchmarks.machine import Machine
from edgedqn.benchmarks.report.learning_curve import learning_chart
from edgedqn.benchmarks.report.page import DeviceCost, FileDetails, Film, Rung, render_report, render_report_markdown
from edgedqn.benchmarks.report.vega import FILES
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Device, Stress, Stressed, StressTest

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


def failed(name: str, reason: str) -> BenchmarkRow:
    return BenchmarkRow(name=name, file="f", status="failed", reason=reason)


def benchmark(*rows: BenchmarkRow, devices: Sequence[dict[str, Any]] = ()) -> Benchmark:
    return Benchmark(Machine(cpu="A <fast> one"), "float32", rows, tuple(map(Device.from_json, devices)))


RUN = {
    "env_id": "CartPole-v1",
    "seed": 3,
    "versions": {"numpy": "2.4.6"},
    "stages": [
        {"name": "train", "status": "done", "seconds": 31.25},
        {"name": "bench", "status": "skipped", "seconds": None},
        {"name": "report", "status": "running", "seconds": 0.0},
    ],
}


class Page(HTMLParser):
    """Collects the elements, and checks that each that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, Any]]] = []
        self.ids: list[str | None] = []
        self.charts: dict[str, Any] = {}
        self.feed(text)
        assert self.open == []

    def handle_data(self, data: str) -> None:
        _, attributes = self.elements[-1] if self.elements else ("", {})
        if self.open and self.open[-1] == "script" and attributes.get("type") == "application/json":
            self.charts[attributes["id"]] = json.loads(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.ids += [value for key, value in attrs if key == "id"]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone() -> None:
    text = render_report(
        benchmark(row(), row("qat-int8", 8_000, "pass", 1.5)), RUN, command="edgedqn run CartPole-v1", margin=9.6
    )
    page = Page(text)
    tags = [tag for tag, _ in page.elements]
    assert not {"link", "img", "iframe"} & set(tags)
    assert set(page.charts) == {"chart-return", "chart-size", "chart-latency"}
    for _, attributes in page.elements:
        assert not {"src", "href", "xlink:href"} & set(attributes)
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert len(page.ids) == len(set(page.ids))
    places = {attributes["data-chart"] for tag, attributes in page.elements if attributes.get("class") == "chart"}
    assert places == set(page.charts)
    assert len(text) < 3_000_000


def test_the_learning_curve_is_shown_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "training.csv").write_text("env_steps,episode_return\n10,1.0\n30,2.0\n")
    page = Page(render_report(benchmark(row()), learning=learning_chart(tmp_path)))
    curve = learning_chart(tmp_path)
    assert curve is not None and page.charts["chart-learning"] == curve.spec
    assert len(page.ids) == len(set(page.ids))
    assert "<h2>Training</h2>" not in render_report(benchmark(row()))


def test_a_screen_reader_gets_the_plots_and_the_tables_heads() -> None:
    page = Page(render_report(benchmark(row(), row("qat-int8", 8_000, "pass")), margin=9.6))
    assert "the gate allows a loss of 9.6" in page.charts["chart-return"]["description"]
    assert "qat-int8 invoke 1.00 µs" in page.charts["chart-latency"]["description"]
    scopes = [attributes["scope"] for tag, attributes in page.elements if tag == "th"]
    assert {"col", "row"} == set(scopes)
    assert "prefers-color-scheme: dark" in (FILES / "page.css").read_text()
    assert ("html", {"lang": "en"}) in page.elements


def test_the_same_rows_give_the_same_page() -> None:
    given = benchmark(row(), row("qat-int8", 8_000, "fail"))
    pages = [render_report(given, RUN, command="x", margin=1.0) for _ in range(2)]
    assert pages[0] == pages[1]


def test_everything_given_is_escaped() -> None:
    evil = "<script>alert('$1 \\g<0>')</script>"
    run = {"env_id": evil, "seed": 0, "versions": {evil: evil}, "stages": [{"name": evil, "status": evil, "seconds": 1.0}]}
    text = render_report(benchmark(row(), row(evil, 9, "pass"), failed("b", evil)), run, command=evil)
    assert "<script>alert" not in text
    assert "A &lt;fast&gt; one" in text
    points = Page(text).charts["chart-size"]["data"]["values"]
    assert points[0]["name"] == evil


def test_failed_rows_are_shown_with_their_reason() -> None:
    text = render_report(benchmark(row(), failed("broken", "The file was changed after its export.")))
    assert "<b>broken</b> (failed): The file was changed after its export." in text
    assert '<td data-value="failed" class="text failed">failed</td>' in text
    assert "What did not work out" not in render_report(benchmark(row()))


def test_run_and_command_are_told() -> None:
    text = render_report(benchmark(row()), RUN, command="edgedqn run CartPole-v1 --seed 3")
    assert "<h1>EdgeDQN: CartPole-v1, seed 3</h1>" in text
    assert "<code>edgedqn run CartPole-v1 --seed 3</code>" in text
    assert "done, 31.2 s" in text
    assert "<td>skipped</td>" in text and "<td>running" not in text, "it is what is being written"
    assert "How to reproduce" not in render_report(benchmark(row()))


def test_a_device_has_its_own_table_with_nothing_unescaped() -> None:
    rows = [row(sha256="aa"), row("qat-int8", 8_000, "pass", 1.5, sha256="bb")]
    measured = {
        "name": "qat-int8",
        "file": "<policy>.tflite",
        "sha256": "bb",
        "recipe": "qat-int8",
        "size_bytes": 8_000,
        "latency_us": LATENCY,
        "step_latency_us": LATENCY,
    }
    device = {"machine": {"cpu": "<b>Cortex", "architecture": "aarch64"}, "rows": [measured]}
    text = render_report(benchmark(*rows, devices=[device]))
    Page(text)
    assert "<h2>On &lt;b&gt;Cortex (aarch64)</h2>" in text and "&lt;policy&gt;.tflite" in text and "<b>Cortex" not in text
    assert "<h2>On " not in render_report(benchmark(*rows))


def test_cells_sort_by_their_number_and_what_is_unknown_by_nothing() -> None:
    text = render_report(benchmark(row(), row("8-bit", 8_000, "pass", 1.5), failed("broken", "why")))
    assert '<th scope="row" data-value="8-bit">' in text
    assert '<td data-value="1.50">1.50x [1.49, 1.51]</td>' in text
    assert '<td data-value="498.0">' in text
    assert '<td data-value="">-</td>' in text
    head = [attributes for tag, attributes in Page(text).elements if tag == "button"]
    assert head and all(attributes["type"] == "button" for attributes in head)


def test_a_film_is_there_with_its_first_picture_for_who_wants_nothing_to_move() -> None:
    film = Film(gif=b"GIF89a", still=b"GIF89a still", name="qat-int8", seed=31, returns=(500.0, 499.5))
    text = render_report(benchmark(row(), row("qat-int8", 8_000, "pass")), film=film)
    (image,) = (attributes for tag, attributes in Page(text).elements if tag == "img")
    (source,) = (attributes for tag, attributes in Page(text).elements if tag == "source")
    shown = [base64.b64decode(address.removeprefix("data:image/gif;base64,")) for address in (image["src"], source["srcset"])]
    assert shown == [film.gif, film.still] and source["media"] == "(prefers-reduced-motion: reduce)"
    assert image["alt"] == "Two episodes side by side: the float network on the left, qat-int8 on the right."
    assert "They return 500 and 499.5 as far as is shown." in text
    assert "<picture>" not in render_report(benchmark(row()))
    assert "No film of the policy: &lt;why&gt;" in render_report(benchmark(row()), film="<why>")


def test_the_zip_of_a_bundle_is_linked_where_there_is_one() -> None:
    rows = benchmark(row(), row("qat-int8", 8_000, "pass"))
    text = render_report(rows, files={"float32": FileDetails(), "qat-int8": FileDetails(archive="device.zip")})
    assert '<a href="device.zip" download>' in text and "Download" not in render_report(rows)


def test_each_plot_says_what_is_to_be_seen_in_it() -> None:
    text = render_report(benchmark(row(), row("qat-int8", 8_000, "pass")))
    assert "<figcaption><b>1 of 1 files passed the gate.</b> Each file stands" in text
    assert "<b>qat-int8 is the smallest int8 file that passed: 8.00 KB, 40.0% of float32.</b>" in text


def test_a_pull_request_reads_the_same_in_short() -> None:
    text = render_report_markdown(
        benchmark(row(), row("a|b", 8_000, "pass"), failed("broken", "why")), RUN, command="edgedqn run X"
    )
    assert text.startswith("# EdgeDQN: CartPole-v1, seed 3\n\na|b passed its gate")
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 5
    assert "Measured on: cpu A <fast> one." in text
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1
    assert "- `broken`: why" in text
    assert text.endswith("    edgedqn run X\n")


def test_a_pull_request_reads_what_devices_measured() -> None:
    rows = [row(sha256="aa"), row("qat-int8", 8_000, "pass", 1.5, sha256="bb")]
    of_file = {"name": "qat-int8", "file": "policy.tflite", "sha256": "bb", "recipe": "qat-int8", "size_bytes": 8_000}
    measured = of_file | {"latency_us": LATENCY, "step_latency_us": LATENCY}
    device = {"machine": {"cpu": "Cortex-A72", "architecture": "aarch64"}, "rows": [measured]}
    text = render_report_markdown(benchmark(*rows, devices=[device]))
    assert "On Cortex-A72 (aarch64):\n\n| name | file |" in text
    assert "| qat-int8 | policy.tflite | 1.00 |" in text


def test_what_mistakes_and_stress_cost_has_a_table_each() -> None:
    share = Interval(0.05, 0.01, 0.09)
    loss = Loss(mistakes="random actions", size=0.005, disagreement=0.004, mean_return=54.0, share=share, episodes=221)
    noise = replace(loss, mistakes="noise", size=0.3, disagreement=0.011)
    found = Fragility(mean_return=56.8, random_return=2.9, median_gap=0.06, env_steps=10, losses=(loss, noise))
    own, more = Interval(1.0, 0.5, 1.5), Interval(3.0, 2.5, 3.5)
    files = (
        Stressed(name="float32", mean_return=498.0, loss=own, excess=None),
        Stressed(name="<q>", mean_return=490.0, loss=own, excess=more),
    )
    test = StressTest(episodes=300, note="What goes wrong.", stresses=(Stress("noise 1%", files),))
    stressed = replace(benchmark(row()), stress=test)
    text = render_report(stressed, fragility=found)
    page = Page(text)
    assert found.summary in text and "there it returns 56.8, and acting at random 2.9." in text
    assert "<td>1.0 to 9.0%</td><td>221</td>" in text
    assert "&lt;q&gt; at noise 1% (3 more)" in text and "What goes wrong." in text
    assert page.charts["chart-stress"]["data"]["values"][1]["name"] == "<q>"
    assert "+3.00 [+2.50, +3.50]" in render_report_markdown(stressed)
    empty = render_report(benchmark(row()))
    assert "Under stress" not in empty and "How fragile" not in empty and "What fits" not in empty


def test_what_fits_a_board_has_a_table_and_a_limit_is_part_of_the_summary() -> None:
    files = (Fit(name="float32", reason="<float> ends"), Fit(name="qat-int8", reason="flash: 9 of 8 bytes"))
    fits = FitTest(budget=find_budget("uno"), is_limit=True, files=files)
    found = replace(benchmark(row(), row("qat-int8", 8_000, "pass", 1.5)), fits=(fits,))
    text = render_report(found)
    assert "<h2>What fits uno</h2>" in text and '<td class="wrapped">&lt;float&gt; ends</td>' in text
    assert text.count('<td class="text">no</td>') == 2
    assert "No int8 file passed its gate and fits uno" in text
    assert "| qat-int8 | no | - | - | - | - | flash: 9 of 8 bytes |" in render_report_markdown(found)
    estimated = render_report(replace(found, fits=(replace(fits, budget=find_budget("pico", 50.0)),)))
    assert (
        "<h2>What fits pico at 50 Hz</h2>" in estimated
        and "an <i>estimate</i>, of" in estimated
        and "*" not in estimated.partition("What fits")[2].partition("</p>")[0]
    )


def test_the_ladder_of_a_file_says_what_was_taken_and_what_the_others_lacked() -> None:
    lacking = "agreement by gap in 90.0% of the <states>"
    below = Rung(
        name="round",
        taken=False,
        verdict="fail",
        mean_return=31.25,
        agreement=0.9,
        tie_rate=0.031,
        size_bytes=8_100,
        lacking=lacking,
    )
    taken = replace(below, name="fine_tune", taken=True, lacking="")
    text = render_report(benchmark(row(), row("qat-int8", 8_000, "pass")), files={"qat-int8": FileDetails((), [below, taken])})
    assert "<b>fine_tune</b>" in text and "<b>round</b>" not in text
    assert all(shown in text for shown in ("31.25", "90.0%", "3.1%", "8.1", "of the &lt;states&gt;"))
    assert "What was changed" not in render_report(benchmark(row()))


def test_a_cost_on_a_small_device_says_how_it_is_known() -> None:
    known = "estimate of Vela"
    cost = DeviceCost(device="<NPU>", step="1,234 cycles", flash_bytes=5_678, ram_bytes=90, known=known, is_estimate=True)
    rows, files = benchmark(row(), row("qat-int8", 8_000, "pass")), {"qat-int8": FileDetails(costs=[cost])}
    line = ["qat-int8", "<NPU>", "1,234 cycles *estimate*", "5,678 *estimate*", "90 *estimate*", known]
    assert f"| {' | '.join(line)} |" in render_report_markdown(rows, files=files)
    cells = re.findall(r'<td(?: class="(.*?)")?>(.*?)</td>', render_report(rows, files=files).partition("On small devices")[2])
    assert cells[:5] == [
        ("wrapped", "&lt;NPU&gt;"),
        ("wrapped", "1,234 cycles <i>estimate</i>"),
        ("", "5,678 <i>estimate</i>"),
        ("", "90 <i>estimate</i>"),
        ("wrapped", known),
    ]
    assert "On small devices" not in render_report(rows) + render_report_markdown(rows)
