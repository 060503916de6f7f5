"""Builds the documentation site into build/site/, without a network: `python docs/build.py [FOLDER]`, which is `make docs`.

Into build/docs/ go the pages, the page of the command line, which is made of the parser, those of the notebooks, and the
package under its real name, of which the API's page is made. zensical makes the site of them; a broken link ends it.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from edgedqn.agents.files import write_text
from edgedqn.pipeline.commands.parser import COMMANDS, build_parser

DOCS = Path(__file__).parent
ROOT = DOCS.parent
ROOMS = ("agents", "benchmarks", "compression", "export", "pipeline")
OF_ROOT = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
IGNORED = shutil.ignore_patterns("*.py", "*.lock", "__pycache__", "zensical.toml")


def command_line_page() -> str:
    """The page of all commands, in Markdown."""
    parser = build_parser()
    (commands,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    lines = ["# Command line", "", f"{parser.description} {parser.epilog}", ""]
    lines += ["| command | what it does |", "|---|---|"]
    lines += [f"| [`{name}`](#edgedqn-{name}) | {_cell(summary)} |" for name, (summary, _) in COMMANDS.items()]
    for name in COMMANDS:
        lines += ["", *_command(f"edgedqn {name}", commands.choices[name])]
    return "\n".join(lines) + "\n"


def _command(title: str, parser: argparse.ArgumentParser) -> Iterator[str]:
    yield from (f"## {title}", "", parser.description or "", "")
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help and action.dest != "help"]
        if actions:
            yield from (f"| {_cell(group.title or '')} | |", "|---|---|")
            yield from (f"| {_call(action)} | {_cell(_help(parser, action))} |" for action in actions)
            yield ""
    if parser.epilog:
        yield parser.epilog


def _call(action: argparse.Action) -> str:
    """How it is written, such as `--seed N`."""
    formatter = argparse.HelpFormatter("")
    if not action.option_strings:
        return f"`{formatter._metavar_formatter(action, action.dest)(1)[0]}`"
    default = action.dest.upper()
    given = "" if action.nargs == 0 else f" {formatter._format_args(action, default)}"
    return _cell(" or ".join(f"`{option}{given}`" for option in action.option_strings))


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    return argparse.HelpFormatter(parser.prog)._expand_help(action)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def notebook_page(path: Path) -> str:
    """A notebook in Markdown, its code in fences; what it prints is seen where it is run."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    where = f"`notebooks/{path.name}`; progress bars need `pip install ipywidgets`."
    return "\n\n".join((parts[0], where, *parts[1:])) + "\n"


def prepare(build: Path) -> None:
    """What zensical reads."""
    shutil.rmtree(build, ignore_errors=True)
    pages, code = build / "pages", build / "code" / "edgedqn"
    shutil.copytree(DOCS, pages, ignore=IGNORED)
    for report in (pages / "results").rglob("*.md"):  # what a run wrote, not pages
        report.unlink()
    shutil.copy(DOCS / "zensical.toml", build)
    write_text(pages / "reference" / "cli.md", command_line_page())
    (pages / "notebooks").mkdir()
    for notebook in (ROOT / "notebooks").glob("*.ipynb"):
        write_text(pages / "notebooks" / f"{notebook.stem}.md", notebook_page(notebook))
    for name in OF_ROOT:  # their links are those of the root
        write_text(pages / name, (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "]("))
    house = pages / "house.md"
    write_text(house, house.read_text(encoding="utf-8").replace("](../CONTRIBUTING.md)", "](CONTRIBUTING.md)"))
    shutil.copytree(ROOT / "api", code)
    for room in ROOMS:
        shutil.copytree(ROOT / room, code / room)
        write_text(code / room / "__init__.py", "")


def main(build: Path) -> int:
    """Builds in `build/docs`, and leaves the site in `build/site`."""
    source, site = build / "docs", build / "site"
    prepare(source)
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict", "-f", str(source / "zensical.toml")]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        shutil.rmtree(site, ignore_errors=True)
        (source / "site").rename(site)
    return code


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "build"))
