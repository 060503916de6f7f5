"""Writes the tables and plots of what compression came to, in the pages of docs/, from the results in docs/results/.

python docs/results/compression_page.py

What stands between `<!-- name -->` and `<!-- end -->` in them is replaced.
"""

import re
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from compared_recipes import COMPARED
from each_run import fingerprint

from edgedqn.agents.files import read_json, write_text

HERE = Path(__file__).parent
PAGES, PLOTS = [HERE.parents[1] / "README.md", *sorted(HERE.parent.rglob("*.md"))], HERE / "compression"
ENVIRONMENTS = ("CartPole-v1", "MountainCar-v0", "Acrobot-v1", "LunarLander-v3", "MinAtar/Breakout-v1")
LADDER = {
    "ptq-int8": "after training (PTQ)",
    "qat-q-values": "QAT",
    "qat-scaled-q-values": "QAT, scaled input",
    "qat-int8": "the ladder",
}
PRECISIONS = {
    "float32": "float32",
    "threshold": "weights below 0.05 zeroed once",
    "float16": "float16",
    "dynamic": "int8 weights, float activations",
    "ptq-int8": "int8, naive",
    "qat-int8": "int8",
    "qat-float-output": "int8, float output",
    "int16x8": "int8 weights, int16 activations",
}
VARIANTS = {
    "gaps-width-2": "clipped gaps, width 2, KL + square, temperature 0.25 (default)",
    "gaps-width-1": "... width 1",
    "gaps-width-4": "... width 4",
    "advantages": "advantages, KL + square",
    "q-values": "Q-values, KL + square",
    "one-hot": "one-hot actions, cross-entropy",
    "gaps-kl": "clipped gaps, KL alone",
    "gaps-square": "... square alone",
    "gaps-cross-entropy": "... cross-entropy with the best action",
    "gaps-cold": "... temperature 0.1",
    "gaps-warm": "... temperature 1",
}
ALLOCATIONS = {"prune98-uniform": "uniform", "prune98-qat-int8": "ERK"}
SMALL = ("shrink-qat-int8", "student-qat-int8", "auto-int8")
Runs = dict[str, dict[str, dict[str, dict[str, Any]]]]  # environment -> seed -> file -> row


def main_table(runs: Runs) -> str:
    """One line per environment: what the issue of compression asks."""
    titles = (
        "environment",
        "float32",
        "`ptq-int8` (naive)",
        "`qat-int8`",
        "98 % zeros",
        "smallest that passed",
        "neurons removed",
    )
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for env_id, seeds in runs.items():
        cells = [_each(seeds, lambda rows: f"{rows['float32']['return']['mean']:.1f}")]
        cells.append(_each(seeds, lambda rows: _scored(rows.get("ptq-int8"))))
        cells.append(_each(seeds, lambda rows: _scored(rows.get("qat-int8"))))
        cells.append(_each(seeds, lambda rows: _scored(rows.get("prune98-qat-int8"), at_5=True)))
        cells.append(_each(seeds, _smallest))
        cells.append(_each(seeds, _removed))
        lines.append(f"| {env_id} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ladder_table(runs: Runs, files: dict[str, str]) -> str:
    """Return, gate, agreement by gap and ties of some files, seed by seed."""
    lines = ["| environment | file | return, gate | by gap | ties |", "|---|---|---|---|---|"]
    for env_id, seeds in runs.items():
        for name, what in files.items():
            if any(name in rows for rows in seeds.values()):
                cells = (
                    _each(seeds, lambda rows, name=name: _scored(rows.get(name))),
                    _each(seeds, lambda rows, name=name: _percent(rows, name, "gap_weighted_agreement")),
                    _each(seeds, lambda rows, name=name: _percent(rows, name, "tie_rate")),
                )
                lines.append(f"| {env_id} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def files_table(runs: Runs) -> str:
    """Every file of the first seed."""
    lines = [
        "| environment | file | return [95 %] | gate | by gap | ties | bytes | zeros of each kernel | values | layers |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for env_id, seeds in runs.items():
        rows = next(iter(seeds.values()))
        for name, row in rows.items():
            low, high = row["return"]["ci95"]
            layers = " ".join(str(shape[0]) for shape in row["kernel_shapes"])
            zeros = " ".join(f"{share:.0%}" for share in row["kernel_sparsity"])
            if row["sparsity_asked"]:
                zeros += f" ({' '.join(f'{share:.0%}' for share in row['sparsity_asked'])} asked)"
            values = " ".join(map(str, row["kernel_distinct_values"]))
            if row["clusters_asked"]:
                values += f" ({row['clusters_asked']} asked)"
            cells = (
                env_id,
                f"`{name}`",
                f"{row['return']['mean']:.1f} [{low:.1f}, {high:.1f}]",
                (row["gate"] or "baseline") + _earlier(row),
                _percent(rows, name, "gap_weighted_agreement"),
                _percent(rows, name, "tie_rate"),
                f"{row['size_bytes']:,}",
                zeros,
                values,
                layers,
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def precisions_table(runs: Runs) -> str:
    """What number formats keep and cost."""
    lines = [
        "| environment | file | return, gate | by gap | ties | bytes | invoke | speed-up |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for env_id, seeds in runs.items():
        for name, what in PRECISIONS.items():
            cells = (
                _each(seeds, lambda rows, name=name: _scored(rows[name])),
                _each(seeds, lambda rows, name=name: _percent(rows, name, "gap_weighted_agreement")),
                _each(seeds, lambda rows, name=name: _percent(rows, name, "tie_rate")),
                _each(seeds, lambda rows, name=name: f"{rows[name]['size_bytes']:,}"),
                _each(seeds, lambda rows, name=name: f"{rows[name]['latency_us']['p50']:.2f} µs"),
                _each(seeds, lambda rows, name=name: f"{rows[name]['speedup']['median']:.2f}x"),
            )
            lines.append(f"| {env_id} | {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ablation_table(runs: Runs) -> str:
    """The distillation targets: of the seeds, the mean return, how many pass, agreement by gap and ties."""
    lines = [f"| target | {' | '.join(runs)} |", f"|---|{'---|' * len(runs)}"]
    for name, what in VARIANTS.items():
        found = [[of_seed[name] for of_seed in seeds.values() if name in of_seed] for seeds in runs.values()]
        if not all(found):  # not run yet
            continue
        cells = []
        for rows in found:
            mean = {key: statistics.mean(row[key] for row in rows) for key in ("gap_weighted_agreement", "tie_rate")}
            passed = sum(row["gate"] == "pass" for row in rows)
            cells.append(
                f"{statistics.mean(row['return']['mean'] for row in rows):.1f}, {passed} of {len(rows)}, "
                f"{mean['gap_weighted_agreement']:.1%}, {mean['tie_rate']:.1%}"
            )
        lines.append(f"| {what} | {' | '.join(cells)} |")
    return "\n".join(lines)


def demo_table(rows: list[dict[str, Any]]) -> str:
    """What `make demo` made. The step is the one that `EdgePolicy.load` takes: the twin's, where there is one."""
    titles = (
        "file",
        "return [95 %]",
        "gate",
        "by gap",
        "ties",
        "KB",
        "gzip KB",
        "zeros",
        "invoke µs, speed-up",
        "step µs, speed-up",
    )
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for row in rows:
        low, high = row["return"]["ci95"]
        gate = f"**{row['gate']}**" if row["gate"] else "baseline"
        step = "twin_step" if row.get("twin_step_latency_us") else "step"
        cells = (
            f"`{row['name']}`",
            f"{row['return']['mean']:.1f} [{low:.1f}, {high:.1f}]",
            gate,
            f"{row['gap_weighted_agreement']:.1%}",
            f"{row['tie_rate']:.1%}",
            f"{row['size_bytes'] / 1000:.1f}",
            f"{row['gzip_bytes'] / 1000:.1f}",
            f"{1 - row['nonzero_weights'] / row['weights']:.1%}",
            _timed(row["latency_us"], row["speedup"]),
            _timed(row[f"{step}_latency_us"], row[f"{step}_speedup"]),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _timed(latency: dict[str, float], speedup: dict[str, Any] | None) -> str:
    if speedup is None or speedup["median"] == 1:
        return f"{latency['p50']:.2f}"
    low, high = speedup["ci95"]
    return f"{latency['p50']:.2f}, {speedup['median']:.2f}x [{low:.2f}, {high:.2f}]"


def seconds_table(environments: dict[str, dict[str, float]]) -> str:
    """How long each recipe takes, on the agents of one training seed."""
    lines = [f"| recipe | {' | '.join(environments)} |", f"|---|{'---|' * len(environments)}"]
    for name in next(iter(environments.values())):
        cells = [f"{seconds[name]:.1f}" for seconds in environments.values()]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines)


def gate_table(agents: dict[str, Any]) -> str:
    """How often each verdict falls on policies whose loss is known."""
    lines = ["| agent | candidate | its loss | pass | fail | undecided |", "|---|---|---|---|---|---|"]
    for env_id, agent in agents.items():
        for name, found in agent["candidates"].items():
            counts = " | ".join(str(found[verdict]) for verdict in ("pass", "fail", "undecided"))
            lines.append(f"| {env_id} | {name} | {found['loss']:.1%} | {counts} |")
    return "\n".join(lines)


def plot(runs: Runs, files: dict[str, str], path: Path) -> None:
    """How much return each file gains or loses against the float agent: a dot per seed, a line at their mean."""
    import matplotlib.pyplot as plt

    shown = {env_id: seeds for env_id, seeds in runs.items() if any(set(files) <= set(rows) for rows in seeds.values())}
    figure, axes = plt.subplots(1, len(shown), figsize=(2.6 * len(shown), 2.9), layout="constrained", squeeze=False)
    for ax, (env_id, seeds) in zip(axes[0], shown.items(), strict=True):
        for x, name in enumerate(files):
            values = [rows[name]["return_delta"]["mean"] for rows in seeds.values() if name in rows]
            ax.plot([x] * len(values), values, "o", color="#2f7ed8", alpha=0.7)
            ax.plot([x - 0.25, x + 0.25], [statistics.mean(values)] * 2, color="#d1495b")
        ax.axhline(0, color="#888888", linewidth=0.8)
        ax.set_title(env_id, fontsize=9)
        ax.set_xticks(range(len(files)), files.values(), rotation=30, ha="right", fontsize=7)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("return against float32")
    path.parent.mkdir(exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _each(seeds: dict[str, dict[str, dict[str, Any]]], cell: Callable[[dict[str, dict[str, Any]]], str]) -> str:
    return ", ".join(cell(rows) for rows in seeds.values())


def _scored(row: dict[str, Any] | None, at_5: bool = False) -> str:
    if row is None:
        return "-"
    verdict = row["gate"]
    if verdict is None:  # the baseline
        return f"{row['return']['mean']:.1f}"
    if at_5 and verdict != "pass":
        verdict += f" ({row['gate_at_5_percent']} at 5 %)"
    mean = f"{row['return']['mean']:.1f} {verdict}"
    return (mean if row["gate"] == "pass" else f"**{mean}**") + _earlier(row)


def _earlier(row: dict[str, Any]) -> str:
    """A dagger, where the recipe is not any more what it was when this was made."""
    return "" if row.get("made_by") in (None, fingerprint(COMPARED[row["name"]])) else " †"


def _smallest(rows: dict[str, dict[str, Any]]) -> str:
    passed = [row for name, row in rows.items() if name != "float32" and row["gate"] == "pass"]
    best = min(passed, key=lambda row: row["size_bytes"], default=None)
    return "none" if best is None else f"{best['size_bytes']:,} B (`{best['name']}`){_earlier(best)}"


def _removed(rows: dict[str, dict[str, Any]]) -> str:
    row = rows.get("shrink-qat-int8")
    return "-" if row is None else f"{row['neurons_removed']:.1%} {row['gate']}{_earlier(row)}"


def _percent(rows: dict[str, dict[str, Any]], name: str, key: str) -> str:
    return f"{rows[name][key]:.1%}" if name in rows and rows[name][key] is not None else "-"


def read(name: str) -> Runs:
    """The results of one script, as far as it has been run."""
    path = HERE / f"{name}.json"
    environments = read_json(path, 1)["environments"] if path.exists() else {}
    return {
        env_id: {seed: {row["name"]: row for row in rows} for seed, rows in sorted(seeds.items())}
        for env_id, seeds in sorted(environments.items(), key=lambda item: ENVIRONMENTS.index(item[0]))
    }


def main() -> None:
    runs = read("compression")
    tables = {
        "main": main_table(runs),
        "ladder": ladder_table(runs, LADDER),
        "allocation": ladder_table(runs, ALLOCATIONS),
        "files": files_table(runs),
        "precisions": precisions_table(read("precisions")),
        "ablation": ablation_table(read("distillation_ablation")),
        "seconds": seconds_table(read_json(HERE / "recipe_seconds.json", 1)["environments"]),
        "demo": demo_table(read_json(HERE / "demo_benchmark.json", 1)["rows"]),
        "gate": gate_table(read_json(HERE / "gate_power.json", 1)["agents"]),
    }
    texts = {path: path.read_text() for path in PAGES}
    for name, table in tables.items():
        pattern = rf"(<!-- {name} -->\n).*?(<!-- end -->)"
        for path in (path for path, text in texts.items() if f"<!-- {name} -->" in text):
            texts[path] = re.sub(pattern, lambda m, t=table: f"{m[1]}\n{t}\n\n{m[2]}", texts[path], flags=re.S)
            write_text(path, texts[path])
    plot(runs, LADDER, PLOTS / "ladder.png")
    plot(runs, ALLOCATIONS, PLOTS / "allocation.png")


if __name__ == "__main__":
    main()
