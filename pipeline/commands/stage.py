"""`train`, `compress`, `export` and `report`: one kind of stage of a run."""

import json
from argparse import Namespace

from edgedqn.agents.errors import InputError
from edgedqn.compression.recipes import RECIPES
from edgedqn.compression.report import StageReport
from edgedqn.pipeline.commands import SCHEMA
from edgedqn.pipeline.commands.run import asked_changes, create_job
from edgedqn.pipeline.config import Changes
from edgedqn.pipeline.exit_codes import DONE
from edgedqn.pipeline.job import Job


def train(arguments: Namespace) -> int:
    """Trains the float agent."""
    return _do(create_job(arguments, Changes()), arguments)


def compress(arguments: Namespace) -> int:
    """Runs recipes on the agent, or lists those that there are."""
    if arguments.list:
        return _list_recipes(arguments)
    if arguments.path is None:
        raise InputError("Expected a run folder, or --list. Got neither.")
    return _do(Job.open(arguments.path, asked_changes(arguments)), arguments)


def export(arguments: Namespace) -> int:
    """Writes the files."""
    return _do(Job.open(arguments.path, asked_changes(arguments)), arguments)


def report(arguments: Namespace) -> int:
    """Writes the page."""
    return _do(Job.open(arguments.path), arguments)


def _do(job: Job, arguments: Namespace) -> int:
    with job.locked():
        job.do((arguments.command,), force=arguments.force)
    reports = job.reports() if arguments.command == "compress" else {}
    if arguments.json:
        done = job.folder.description.stages
        stages = [stage.to_json() for stage in done if stage.name.partition("/")[0] == arguments.command]
        found = {"schema": SCHEMA, "run": str(job.folder.path), "stages": stages}
        of_recipes = {name: [each.to_json() for each in of_recipe] for name, of_recipe in reports.items()}
        print(json.dumps({**found, "reports": of_recipes} if reports else found))
    else:
        for name, of_recipe in reports.items():
            print(name)
            print(*map(_line, of_recipe), sep="\n")
        print(f"{arguments.command} done: {job.folder.path}")
    return DONE


def _line(report: StageReport) -> str:
    """One stage of a recipe in a line."""
    findings = report.findings
    shown = [f"return {report.mean_return:.4g}", f"agreement {report.agreement:.1%}"]
    if findings.sparsity_reached:
        shown.append(", ".join(f"zeros {share:.0%}" for share in findings.sparsity_reached))
    if findings.clusters_reached:
        shown.append(", ".join(f"values {count}" for count in findings.clusters_reached))
    if findings.attempts is not None:
        shown.append(f"{len(findings.attempts)} tried" + (f", hidden {list(findings.size.hidden)}" if findings.size else ""))
        shown += ["none passed"] if findings.passed is False else []
    shown += [f"{findings.clipped_fraction:.2%} clipped"] if findings.clipped_fraction is not None else []
    shown += [f"skipped: {'; '.join(findings.skipped)}"] if findings.skipped else []
    return f"  {report.stage:<15} {report.seconds:6.1f} s  {', '.join(shown)}"


def _list_recipes(arguments: Namespace) -> int:
    if arguments.json:
        print(json.dumps({"schema": SCHEMA, "recipes": [recipe.to_json() for recipe in RECIPES.values()]}))
        return DONE
    width = max(map(len, RECIPES))
    for recipe in RECIPES.values():
        print(f"{recipe.name:<{width}}  {recipe.summary}")
    return DONE
