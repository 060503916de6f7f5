"""`report.html`: one page that opens without a network, for a person to judge a run by; and `report.md` for a pull request."""

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files

from edgedqn.agents.playing.statistics import Interval
from edgedqn.benchmarks.json_value import Json
from edgedqn.benchmarks.report.charts import (
    Chart,
    KernelZeros,
    histogram_chart,
    latency_chart,
    range_chart,
    size_chart,
    sparsity_chart,
)
from edgedqn.benchmarks.report.table import (
    ABSENT,
    MORE_COLUMNS,
    device_lines,
    in_digits,
    kilobytes,
    markdown_table,
    render_markdown,
    slow_note,
)
from edgedqn.benchmarks.report.vega import page_script
from edgedqn.benchmarks.rows import Benchmark, BenchmarkRow, Ratio, best_passing

FILES = files("edgedqn.benchmarks.report.files")

HOW = """Every file was timed in one run, block by block in random order, so that drift cancels: one <code>invoke()</code>
alone, and the whole step from observation to action. A speed-up is the median of paired ratios with its 95 % bootstrap
interval; below 1 the file is slower than the baseline. Each file was played in the environment itself, on the same reset seeds
as the baseline. The gate asks whether it may have lost more than the tolerance. <i>agree</i> is the share of states where file
and float network choose alike, <i>by gap</i> the same weighted by what the choice costs, <i>ties</i> the share where the file
cannot tell its two best actions apart. The <i>twin</i> of a file with integer ends has float ones around the same
integers: what a Linux board takes through Python, where it is faster. A <i>cold start</i> is from the file's bytes to the
first action. KB is 1,000 bytes."""

CAPTIONS = {
    "size": "What has to fit into flash against what it earns: the baseline's mean return and, from there, the difference on "
    "the same episodes. The dashed line is where the gate's tolerance is used up.",
    "latency": "One thread unless stated below. The step contains everything between observation and action, in Python. A name "
    "stands at its file's invoke().",
    "histogram": "Each bar is a fortieth of the span up to the 99th percentile.",
    "sparsity": "Counted in the file's own bytes, kernel by kernel in the order they run.",
    "range": "An int8 output has 255 steps. Of Q-values, which span the whole return, few are left between the best two "
    "actions; clipped action gaps spend them there.",
    "learning": "Training episodes act at random now and then; the greedy policy, which is what the files hold, does not. The "
    "chosen checkpoint was played again, ten times as long, and may so lie beside the score that it got while training.",
}
PRE = '<pre tabindex="0" role="region" aria-label="Command">'  # it scrolls, so a keyboard must reach it
FILM = "The float network and {name} on the same reset seed, {seed}. They return {left:g} and {right:g} as far as is shown."
SHORT = ("cpu", "architecture", "python", "ai-edge-litert", "xnnpack", "threads")


@dataclass(frozen=True)
class Film:
    """Two policies on one reset seed, side by side.

    Attributes:
      gif: the file's bytes.
      name: of the row on the right; on the left is the baseline.
      seed: of the reset.
      returns: of both episodes, as far as they were filmed.
    """

    gif: bytes
    name: str
    seed: int
    returns: tuple[float, float]


def render_report(
    benchmark: Benchmark,
    run: Json | None = None,
    *,
    command: str | None = None,
    margin: float | None = None,
    learning: Chart | None = None,
    kernels: Mapping[str, Sequence[KernelZeros]] | None = None,
    film: Film | str | None = None,
) -> str:
    """The page.

    Args:
      benchmark: what was measured.
      run: the object of `run.json`, for the environment, the seed, the versions and the stages.
      command: what makes the run again, as typed.
      margin: the gate's, in reward units, drawn beside the baseline's return.
      learning: the agent's learning curve, as `learning_chart` makes it.
      kernels: of each file, as `sparsity_chart` takes them.
      film: of the float network and the best file, or why there is none.
    Returns:
      HTML that asks for nothing outside itself. The same arguments give the same text.
    Raises:
      InputError: vl-convert-python, which brings Vega-Lite along, is not installed.
    """
    rows, baseline, run = benchmark.rows, benchmark.baseline, run or {}
    title = _title(run)
    charts = {
        "size": size_chart(rows, baseline, margin),
        "latency": latency_chart(rows, baseline, margin),
        "histogram": histogram_chart(rows),
        "sparsity": sparsity_chart(kernels or {}),
        "range": range_chart(rows),
    }
    drawn = {name: chart for name, chart in charts.items() if chart is not None}
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="summary">{escape(summary(rows, baseline))}</p>',
        "<h2>All files</h2>",
        f'<div class="wide" role="region" aria-label="Table of all files" tabindex="0">{_table(rows, baseline)}</div>',
        _reasons(rows),
        f'<p role="note">{note}</p>' if (note := slow_note(rows)) else "",
        *_devices(benchmark),
        *(["<h2>Plots</h2>", *(_chart(name, chart) for name, chart in drawn.items())] if drawn else []),
        *([f"<h2>Side by side</h2>{_film(film)}"] if film else []),
        *([f"<h2>Training</h2>{_chart('learning', learning)}"] if learning else []),
        f'<h2>How it was measured</h2><p class="soft">{HOW}</p>',
        "<h2>Machine</h2>",
        _facts(benchmark.machine.to_json()),
        *_run_sections(run),
        *([f"<h2>How to reproduce</h2>{PRE}<code>{escape(command)}</code></pre>"] if command else []),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{(FILES / 'page.css').read_text()}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + f'\n</main>\n<script type="module">{page_script() if drawn or learning else ""}</script>\n'
        f'<script type="module">{(FILES / "page.js").read_text()}</script>\n'
        "</body>\n</html>\n"
    )


def render_report_markdown(benchmark: Benchmark, run: Json | None = None, command: str | None = None) -> str:
    """The same in short, as Markdown: summary, tables, machine, how to reproduce. Arguments as for `render_report`."""
    rows, machine = benchmark.rows, benchmark.machine.to_json()
    measured = "; ".join(f"{key} {machine[key]}" for key in SHORT if machine[key] is not None)
    parts = [f"# {_title(run or {})}", summary(rows, benchmark.baseline), render_markdown(rows)]
    parts += [f"Measured on: {measured}."] if measured else []
    for device in benchmark.devices:
        parts += [f"On {device.name}:", markdown_table(device_lines(device, rows))]
    parts += [f"    {command}"] if command else []
    return "\n\n".join(parts) + "\n"


def _title(run: Json) -> str:
    return f"EdgeDQN: {run['env_id']}, seed {run['seed']}" if run else "EdgeDQN benchmark"


def _chart(name: str, chart: Chart) -> str:
    text = json.dumps(chart, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    data = f'<script type="application/json" id="chart-{name}">{text}</script>'
    return _figure(f'{data}<div class="chart" data-chart="chart-{name}"></div>', CAPTIONS[name])


def _film(film: Film | str) -> str:
    if isinstance(film, str):
        return f'<p class="soft">No film: {escape(film)}</p>'
    image = base64.b64encode(film.gif).decode("ascii")
    left, right = film.returns
    told = FILM.format(name=film.name, seed=film.seed, left=left, right=right)
    alternative = escape(f"Two episodes side by side: the float network on the left, {film.name} on the right.", quote=True)
    # Nothing moves before somebody asks for it.
    return (
        f"<details><summary>Play the film</summary>"
        f'{_figure(f"""<img loading="lazy" alt="{alternative}" src="data:image/gif;base64,{image}">""", told)}</details>'
    )


def summary(rows: Sequence[BenchmarkRow], baseline: str) -> str:
    """Which file to ship and what it saves, or that there is none; where it is slower, that too."""
    best = best_passing(rows)
    if best is None:
        if all(row.episode_return is None for row in rows):
            return "Nothing was played, so no file was put to the gate: size and speed alone say nothing of the policy."
        return f"No file passed its gate: none is proven to play like {baseline}."
    base = next(row for row in rows if row.name == baseline)
    assert base.episode_return and best.return_delta and base.size_bytes and best.size_bytes  # or nothing had passed
    assert best.speedup and best.step_speedup
    name, size, base_size = best.name, best.size_bytes, base.size_bytes
    return (
        f"{name} passed its gate: {baseline} returns {in_digits(base.episode_return.mean)}, and {name} on the same "
        f"episodes {_difference(best.return_delta)}. It takes {kilobytes(size)} KB instead of {kilobytes(base_size)} KB, "
        f"{_share(size / base_size)} of the size. One invoke() is {_speed(best.speedup)}; the whole step, from observation "
        f"to action, is {_speed(best.step_speedup)}{_of_twin(best)}."
    )


def _difference(delta: Interval) -> str:
    if delta.low == delta.high == 0:
        return "exactly as much"
    how = "less" if delta.mean < 0 else "more"
    between = f"{in_digits(delta.low)} and {in_digits(delta.high)}"
    return f"{in_digits(abs(delta.mean))} {how} (the difference is between {between} at 95 %)"


def _of_twin(row: BenchmarkRow) -> str:
    twin = row.twin_step_speedup
    return f", and through its twin with float ends {_speed(twin)}" if twin else ""


def _share(share: float) -> str:
    return f"{share:.0%}" if share >= 0.095 else f"{share:.1%}"


def _figure(content: str, caption: str) -> str:
    return f"<figure>{content}<figcaption>{escape(caption)}</figcaption></figure>"


def _speed(ratio: Ratio) -> str:
    if ratio.low <= 1 <= ratio.high:
        return f"about as fast ({ratio.median:.2f}x, between {ratio.low:.2f} and {ratio.high:.2f})"
    return f"{ratio.median:.2f} times as fast" if ratio.median > 1 else f"slower, at {ratio.median:.2f} times the speed"


def _table(rows: Sequence[BenchmarkRow], baseline: str) -> str:
    head = "".join(f'<th scope="col"><button type="button">{escape(title)}</button></th>' for title, _ in MORE_COLUMNS)
    largest = max((row.size_bytes or 0 for row in rows), default=0)
    body = []
    for row in rows:
        cells = []
        for title, cell in MORE_COLUMNS:
            text = escape(cell(row))
            value = f'data-value="{_sorted_by(title, cell(row))}"'
            if title == "name":
                note = ' <span class="soft">(baseline)</span>' if row.name == baseline else ""
                cells.append(f'<th scope="row" {value}>{text}{note}</th>')
            elif title == "gate":
                cells.append(f'<td {value} class="{text}">{text}</td>' if text != ABSENT else f"<td {value}>-</td>")
            elif title == "KB" and row.size_bytes:
                width = 100 * row.size_bytes / largest
                cells.append(f'<td {value} class="bar" style="background-size:{width:.1f}% 70%">{text}</td>')
            else:
                cells.append(f"<td {value}>{text}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="sortable">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>'


def _sorted_by(title: str, text: str) -> str:
    """A number where the cell begins with one, else its text, and nothing where nothing is known."""
    if text == ABSENT:
        return ""
    number = re.match(r"[-+]?[\d,]*\.?\d+", text) if title not in ("name", "gate") else None
    return number[0].replace(",", "") if number else escape(text, quote=True)


def _devices(benchmark: Benchmark) -> list[str]:
    sections = []
    for device in benchmark.devices:
        head, *body = device_lines(device, benchmark.rows)
        titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
        lines = (
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
            for name, *cells in body
        )
        name = escape(device.name)
        sections.append(
            f'<h2>On {name}</h2><div class="wide" role="region" aria-label="Table of {name}" tabindex="0">'
            f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table></div>"
            f"{_facts(device.machine)}"
        )
    return sections


def _reasons(rows: Iterable[BenchmarkRow]) -> str:
    items = [
        f"<li><b>{escape(row.name)}</b> ({escape(row.gate or row.status)}): {escape(row.reason)}</li>"
        for row in rows
        if row.reason
    ]
    return f"<h2>What did not work out</h2><ul>{''.join(items)}</ul>" if items else ""


def _run_sections(run: Json) -> list[str]:
    sections = []
    if versions := run.get("versions"):
        sections += ["<h2>Versions</h2>", _facts(versions)]
    if stages := run.get("stages"):
        took = {
            stage["name"]: stage["status"] if stage["seconds"] is None else f"{stage['status']}, {stage['seconds']:.1f} s"
            for stage in stages
        }
        sections += ["<h2>Stages</h2>", _facts(took)]
    return sections


def _facts(facts: Mapping[str, object]) -> str:
    lines = [
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape("unknown" if value is None else str(value))}</td></tr>'
        for key, value in facts.items()
    ]
    return f'<table class="facts"><tbody>{"".join(lines)}</tbody></table>'
