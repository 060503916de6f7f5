"""`report.html`: one page that opens without a network, for a person to judge a run by; and `report.md` for a pull request."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent

from edgedqn.agents.files import Json
from edgedqn.agents.playing.fragility import Fragility
from edgedqn.benchmarks.report.charts import Chart, KernelZeros, draw_charts, stress_chart
from edgedqn.benchmarks.report.summary import gains, summary
from edgedqn.benchmarks.report.table import (
    ABSENT,
    MORE_COLUMNS,
    device_lines,
    fit_heading,
    fit_lines,
    fit_title,
    markdown_table,
    render_markdown,
    slow_note,
    stress_heading,
    stress_lines,
    stress_summary,
)
from edgedqn.benchmarks.report.templates import render_page
from edgedqn.benchmarks.rows import Benchmark

SHORT = ("cpu", "architecture", "python", "ai-edge-litert", "xnnpack", "threads")


@dataclass(frozen=True, kw_only=True)
class Film:
    """Two policies on one reset seed, side by side.

    Attributes:
      gif: the file's bytes.
      still: its first picture, as a GIF, for who wants nothing to move.
      name: of the row on the right; on the left is the baseline.
      seed: of the reset.
      returns: of both episodes, as far as they were filmed.
    """

    gif: bytes
    still: bytes
    name: str
    seed: int
    returns: tuple[float, float]

    @property
    def addresses(self) -> tuple[str, str]:
        """Of both files, as they stand in a page."""
        moving, still = (f"data:image/gif;base64,{b64encode(content).decode('ascii')}" for content in (self.gif, self.still))
        return moving, still


@dataclass(frozen=True, kw_only=True)
class Rung:
    """A candidate that a ladder tried.

    Attributes:
      name: of the rung.
      taken: whether it became the file.
      verdict: of the judge, who played it on reset seeds that prove nothing.
      mean_return: there, in reward units.
      agreement: with the float agent in fresh states, weighted by gap, in [0, 1].
      tie_rate: in those states.
      size_bytes: of the candidate as a file.
      lacking: why it was not enough to end there; empty where it was.
    """

    name: str
    taken: bool
    verdict: str
    mean_return: float
    agreement: float
    tie_rate: float
    size_bytes: int
    lacking: str


@dataclass(frozen=True, kw_only=True)
class DeviceCost:
    """What a step costs on a device that is not here.

    Attributes:
      device: which, and what runs on it.
      step: how much a step takes, with its unit.
      flash_bytes: of code and constants.
      ram_bytes: of buffers or stack.
      known: how: emulated, or whose estimate.
      is_estimate: whether all figures are estimates, which are marked as such.
    """

    device: str
    step: str
    flash_bytes: int
    ram_bytes: int
    known: str
    is_estimate: bool = False


@dataclass(frozen=True)
class FileDetails:
    """Of one file: its kernels, in the order they run, the rungs of the ladder that made it, if one did, its costs, and where
    the zip of its bundle is, relative to the page, if there is one."""

    kernels: Sequence[KernelZeros] = ()
    rungs: Sequence[Rung] = ()
    costs: Sequence[DeviceCost] = ()
    archive: str | None = None


def render_report(
    benchmark: Benchmark,
    run: Json | None = None,
    *,
    command: str | None = None,
    margin: float | None = None,
    learning: Chart | None = None,
    files: Mapping[str, FileDetails] | None = None,
    film: Film | str | None = None,
    fragility: Fragility | None = None,
) -> str:
    """The page.

    Args:
      benchmark: what was measured.
      run: the object of `run.json`, for the environment, the seed, the versions and the stages.
      command: what makes the run again, as typed.
      margin: the gate's, in reward units, drawn beside the baseline's return.
      learning: the agent's learning curve, as `learning_chart` makes it.
      files: what is known of each file besides, by the name of its row.
      film: of the float network and the best file, or why there is none.
      fragility: what mistakes cost the float agent.
    Returns:
      HTML that asks for nothing outside itself. The same arguments give the same text.
    Raises:
      InputError: Jinja2, or vl-convert-python, which brings Vega-Lite along, is not installed.
    """
    rows, baseline = benchmark.rows, benchmark.baseline
    files = files or {}
    charts = draw_charts(rows, baseline, margin=margin, kernels={name: each.kernels for name, each in files.items()})
    charts |= {"learning": learning, "stress": stress_chart(benchmark.stress)}
    drawn = {name: chart for name, chart in charts.items() if chart is not None}
    return render_page(
        "page",
        {name: chart.spec for name, chart in drawn.items()},
        seen={name: chart.seen for name, chart in drawn.items()},
        title=_title(run or {}),
        summary=summary(rows, baseline, benchmark.fits),
        gains=gains(rows, baseline, benchmark.fits),
        archive=next((each.archive for each in files.values() if each.archive), None),
        columns=[title for title, _ in MORE_COLUMNS],
        table=[(row, [(title, cell(row), _sorted_by(title, cell(row))) for title, cell in MORE_COLUMNS]) for row in rows],
        baseline=baseline,
        largest=max((row.size_bytes or 0 for row in rows), default=0),
        note=slow_note(rows),
        devices=[(device, device_lines(device, rows)) for device in benchmark.devices],
        stress=benchmark.stress and (benchmark.stress, stress_summary(benchmark.stress), stress_lines(benchmark.stress)),
        fits=[(fit_title(test), fit_heading(test), fit_lines(test)) for test in benchmark.fits],
        film=film,
        fragility=fragility,
        ladders=[(name, each.rungs) for name, each in files.items() if each.rungs],
        costs=_cost_lines(files),
        machine=benchmark.machine.to_json(),
        versions=(run or {}).get("versions"),
        stages=(run or {}).get("stages", ()),
        command=command,
    )


def render_report_markdown(
    benchmark: Benchmark,
    run: Json | None = None,
    *,
    command: str | None = None,
    files: Mapping[str, FileDetails] | None = None,
) -> str:
    """The same in short, as Markdown: summary, tables, machine, how to reproduce. Arguments as for `render_report`."""
    rows, machine = benchmark.rows, benchmark.machine.to_json()
    measured = "; ".join(f"{key} {machine[key]}" for key in SHORT if machine[key] is not None)
    parts = [f"# {_title(run or {})}", summary(rows, benchmark.baseline, benchmark.fits), render_markdown(rows)]
    parts += [f"Measured on: {measured}."] if measured else []
    for device in benchmark.devices:
        parts += [f"On {device.name}:", markdown_table(device_lines(device, rows))]
    if (test := benchmark.stress) is not None:
        parts += [stress_heading(test), markdown_table(stress_lines(test)), stress_summary(test), test.note]
    for fit in benchmark.fits:
        parts += [fit_heading(fit), markdown_table(fit_lines(fit), text=(1, 6))]
    if costs := _cost_lines(files or {}):
        parts += ["On small devices, none of them here:", markdown_table(costs, text=(1, 2, 5))]
    parts += [indent(command, "    ")] if command else []
    return "\n\n".join(parts) + "\n"


def _cost_lines(files: Mapping[str, FileDetails]) -> list[list[str]]:
    """The cells of the table of device costs, its head first; empty without any."""
    lines = []
    for name, details in files.items():
        for each in details.costs:
            marked = " *estimate*" if each.is_estimate else ""
            taken = [f"{figure}{marked}" for figure in (each.step, f"{each.flash_bytes:,}", f"{each.ram_bytes:,}")]
            lines.append([name, each.device, *taken, each.known])
    return [["file", "device", "it takes", "flash, bytes", "RAM, bytes", "known by"], *lines] if lines else []


def _title(run: Json) -> str:
    return f"EdgeDQN: {run['env_id']}, seed {run['seed']}" if run else "EdgeDQN benchmark"


def _sorted_by(title: str, text: str) -> str:
    """A number where the cell begins with one, else its text, and nothing where nothing is known."""
    if text == ABSENT:
        return ""
    number = re.match(r"[-+]?[\d,]*\.?\d+", text) if title not in ("name", "gate") else None
    return number[0].replace(",", "") if number else text
