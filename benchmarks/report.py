"""`report.html`: one page that opens without a network, for a person to judge a run by."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from edgedqn.benchmarks.plots import latency_plot, return_plot, size_plot
from edgedqn.benchmarks.rows import Row, best_passing
from edgedqn.benchmarks.table import COLUMNS, device_lines, device_name

STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --soft: #5a6675; --page: #fff; --line: #d5dbe3; --bar: #cfe0f5;
  --pass: #1b7a3d; --fail: #b3263c; --open: #8a5a00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #a3aebc; --page: #14181e; --line: #353e4a; --bar: #254263;
  --pass: #6fce8f; --fail: #ff8a98; --open: #f0b95c; } }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--page); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
.summary { font-size: 1.1rem; } .soft, figcaption { color: var(--soft); font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th:first-child { text-align: left; } .facts td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.pass, .fail, .failed, .undecided { font-weight: 600; }
.pass { color: var(--pass); } .fail, .failed { color: var(--fail); } .undecided { color: var(--open); }
.bar { background: linear-gradient(var(--bar), var(--bar)) no-repeat left; }
figure { margin: 1rem 0; } svg { display: block; width: 100%; height: auto; max-width: 40rem; color: var(--ink); }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: 6px; }
"""

HOW = """Every file was timed in one run, block by block in random order, so that drift cancels: one <code>invoke()</code>
alone, and the whole step from observation to action. A speed-up is the median of paired ratios with its 95 % bootstrap
interval; below 1 the file is slower than the baseline. Each file was played in the environment itself, on the same reset seeds
as the baseline. The gate asks whether it may have lost more than the tolerance. <i>agree</i> is the share of states where file
and float network choose alike, <i>by gap</i> the same weighted by what the choice costs, <i>ties</i> the share where the file
cannot tell its two best actions apart. KB is 1,000 bytes."""

LEARNING = """Training episodes act at random now and then; the greedy policy, which is what the files hold, does not. The
checkpoint that was chosen was played again, ten times as long, and may so lie beside the score that it got while training."""


def render_report(
    benchmark: Mapping[str, Any],
    run: Mapping[str, Any] | None = None,
    command: str | None = None,
    margin: float | None = None,
    learning: str = "",
) -> str:
    """The page.

    Args:
      benchmark: the object of `benchmark.json`.
      run: the object of `run.json`, for the environment, the seed, the versions and the stages.
      command: what makes the run again, as typed.
      margin: the gate's, in reward units, drawn beside the baseline's return.
      learning: the agent's learning curve, as `learning_curve` draws it.
    Returns:
      HTML that asks for nothing outside itself and runs no script. The same arguments give the same text.
    Raises:
      InputError: matplotlib is not installed.
    """
    rows, baseline, run = benchmark["rows"], benchmark["baseline"], run or {}
    title = f"EdgeDQN: {run['env_id']}, seed {run['seed']}" if run else "EdgeDQN benchmark"
    plots = (
        (return_plot(rows, baseline, margin), "The dashed line, where there is one, is where the gate's tolerance is used up."),
        (size_plot(rows), "What has to fit into flash, and what has to go over the air."),
        (latency_plot(rows), "One thread unless stated below. The step contains everything between observation and action."),
    )
    figures = [_figure(svg, caption) for svg, caption in plots if svg]
    sections = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="summary">{escape(summary(rows, baseline))}</p>',
        "<h2>All files</h2>",
        f'<div class="wide" role="region" aria-label="Table of all files" tabindex="0">{_table(rows, baseline)}</div>',
        _reasons(rows),
        *_devices(benchmark),
        *(["<h2>Plots</h2>", *figures] if figures else []),
        *([f"<h2>Training</h2>{_figure(learning, LEARNING)}"] if learning else []),
        f'<h2>How it was measured</h2><p class="soft">{HOW}</p>',
        "<h2>Machine</h2>",
        _facts(benchmark["machine"].items()),
        *_run_sections(run),
        *([f"<h2>How to reproduce</h2><pre><code>{escape(command)}</code></pre>"] if command else []),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main>\n</body>\n</html>\n"
    )


def summary(rows: Sequence[Row], baseline: str) -> str:
    """Which file to ship and what it saves, or that there is none; where it is slower, that too."""
    best = best_passing(rows)
    if best is None:
        if all(row["return"] is None for row in rows):
            return "Nothing was played, so no file was put to the gate: size and speed alone say nothing of the policy."
        return f"No file passed its gate: none is proven to play like {baseline}."
    base = next(row for row in rows if row["name"] == baseline)
    size, base_size = best["size_bytes"], base["size_bytes"]
    return (
        f"{best['name']} passed its gate: it returns {best['return']['mean']:.1f} where {baseline} returns "
        f"{base['return']['mean']:.1f}. It takes {size / 1_000:.1f} KB instead of {base_size / 1_000:.1f} KB, "
        f"{size / base_size:.0%} of the size. One invoke() is {_speed(best['speedup'])}; the whole step, from observation "
        f"to action, is {_speed(best['step_speedup'])}."
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _speed(ratio: Mapping[str, Any]) -> str:
    median, (low, high) = ratio["median"], ratio["ci95"]
    if low <= 1 <= high:
        return f"about as fast ({median:.2f}x, between {low:.2f} and {high:.2f})"
    return f"{median:.2f} times as fast" if median > 1 else f"slower, at {median:.2f} times the speed"


def _table(rows: Sequence[Row], baseline: str) -> str:
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title, _ in COLUMNS)
    largest = max((row["size_bytes"] or 0 for row in rows), default=0)
    body = []
    for row in rows:
        cells = []
        for title, cell in COLUMNS:
            text = escape(cell(row))
            if title == "name":
                note = ' <span class="soft">(baseline)</span>' if row["name"] == baseline else ""
                cells.append(f'<th scope="row">{text}{note}</th>')
            elif title == "gate":
                cells.append(f'<td class="{text}">{text}</td>' if text != "-" else "<td>-</td>")
            elif title == "KB" and row["size_bytes"]:
                cells.append(
                    f'<td class="bar" style="background-size:{100 * row["size_bytes"] / largest:.1f}% 70%">{text}</td>'
                )
            else:
                cells.append(f"<td>{text}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{chr(10).join(body)}\n</tbody>\n</table>"


def _devices(benchmark: Mapping[str, Any]) -> list[str]:
    sections = []
    for device in benchmark.get("devices", []):
        head, *body = device_lines(device, benchmark["rows"])
        titles = "".join(f'<th scope="col">{escape(title)}</th>' for title in head)
        lines = (
            f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
            for name, *cells in body
        )
        name = escape(device_name(device))
        sections.append(
            f'<h2>On {name}</h2><div class="wide" role="region" aria-label="Table of {name}" tabindex="0">'
            f"<table>\n<thead><tr>{titles}</tr></thead>\n<tbody>\n{chr(10).join(lines)}\n</tbody>\n</table></div>"
            f"{_facts(device['machine'].items())}"
        )
    return sections


def _reasons(rows: Iterable[Row]) -> str:
    items = [
        f"<li><b>{escape(row['name'])}</b> ({escape(row['gate'] or row['status'])}): {escape(row['reason'])}</li>"
        for row in rows
        if row["reason"]
    ]
    return f"<h2>What did not work out</h2><ul>{''.join(items)}</ul>" if items else ""


def _run_sections(run: Mapping[str, Any]) -> list[str]:
    sections = []
    if versions := run.get("versions"):
        sections += ["<h2>Versions</h2>", _facts(versions.items())]
    if stages := run.get("stages"):
        told = (
            (stage["name"], stage["status"] if stage["seconds"] is None else f"{stage['status']}, {stage['seconds']:.1f} s")
            for stage in stages
        )
        sections += ["<h2>Stages</h2>", _facts(told)]
    return sections


def _facts(pairs: Iterable[tuple[str, Any]]) -> str:
    lines = [
        f'<tr><th scope="row">{escape(str(key))}</th><td>{escape("unknown" if value is None else str(value))}</td></tr>'
        for key, value in pairs
    ]
    return f'<table class="facts"><tbody>{"".join(lines)}</tbody></table>'
