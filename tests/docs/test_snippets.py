"""Every command and snippet of the documentation, page by page, in the order of the page.

A fenced block is run, unless its title begins with `not run: `, which a reader sees and which says why. A block with another
title is a file of that name. Trainings are short ones of a small network: `STEPS` and `SMALL` say how short.
"""

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from itertools import groupby
from pathlib import Path
from shutil import copytree

import pytest

pytest.importorskip("tensorflow", reason="the extra `train` is not installed")

from edgedqn.agents.training.config import TrainingConfig
from edgedqn.agents.training.presets import PRESETS
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.compression.recipes import recipe
from edgedqn.pipeline.cli import main
from edgedqn.pipeline.config import RunConfig
from edgedqn.pipeline.scripting import run

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="the wheel has no docs; the checkout's suite runs this")
OF_DEVELOPERS = {"house.md", "decisions.md"}
ELSEWHERE = {"uno.md"}  # test_uno.py
FENCE = re.compile(r'^```(\w*)(?: title="([^"]*)")?\n(.*?)^```$', re.DOTALL | re.MULTILINE)
DIRECTIVE = re.compile(r"^::: .*\n( {4}.*\n)*", re.MULTILINE)  # what mkdocstrings puts there
NOT_RUN = re.compile(r"not run: \w+")

STEPS = 3_000  # of trainings, at most
# In place of the presets that pages name, so that these train a small network for a short time.
SMALL = {
    "CartPole-v1": TrainingConfig(
        steps=STEPS, hidden=(16, 16), batch_size=32, learning_rate=2e-3, evaluation_interval=1_000, evaluation_episodes=2
    ),
    "FrozenLake-v1": replace(PRESETS["FrozenLake-v1"], steps=STEPS),
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, and what is in it."""

    language: str
    title: str
    text: str

    @property
    def is_run(self) -> bool:
        return not self.title.startswith("not run: ")


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in FENCE.findall(page.read_text())]


PAGES = sorted(path for path in DOCS.rglob("*.md") if path.name not in OF_DEVELOPERS and "results" not in path.parts)
RUN = [path for path in PAGES if path.name not in ELSEWHERE and any(block.is_run for block in blocks(path))]


def name(page: Path) -> str:
    return page.relative_to(DOCS).as_posix()


@pytest.fixture(autouse=True, scope="module")
def small_presets() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patched:
        for env_id, config in SMALL.items():
            patched.setitem(PRESETS, env_id, config)
        yield


@pytest.fixture(scope="module")
def demo(small_presets: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make demo` leaves, of a small agent and with one recipe, which is that of the run then. Read only."""
    latency = LatencyConfig(blocks=4, invokes_per_block=50, patience_s=0)
    out = tmp_path_factory.mktemp("demo") / "run"
    return run("CartPole-v1", out=out, recipes=["qat-int8"], config=RunConfig(latency=latency)).folder


@pytest.fixture
def place(tmp_path: Path, demo: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a run in it, as the current one; modules of it are imported, and forgotten afterwards."""
    copytree(demo, tmp_path / "runs" / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_offline", "true")
    yield tmp_path
    for module in [key for key, value in sys.modules.items() if str(getattr(value, "__file__", "")).startswith(str(tmp_path))]:
        del sys.modules[module]


def run_shell(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lines of a shell: `edgedqn` in this process, which has loaded TensorFlow, all between two of those in one shell."""
    for own, lines in groupby(script.replace("\\\n", "").splitlines(), lambda line: line.startswith("edgedqn ")):
        for line in lines if own else []:
            arguments = shlex.split(re.sub(r"--steps \d+", f"--steps {STEPS}", line), comments=True)[1:]
            code = main(arguments)
            assert code == 0 or (code == 3 and arguments[0] in ("run", "bench", "sweep")), f"{line}: exit code {code}"
        text = "\n".join(lines)
        if target := re.match(r"cd (\S+)", text):
            monkeypatch.chdir(target[1])
            text = text[target.end() :]
        environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": ":".join(sys.path)}
        done = subprocess.run(["bash", "-ec", text], env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, f"{text}: {done.stdout}{done.stderr}"


def run_block(block: Block, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if block.title:
        (folder / block.title).write_text(re.sub(r"\bsteps = \d+", f"steps = {STEPS}", block.text))
    if block.language == "toml":
        assert tomllib.loads(block.text)
        if "[[stages]]" in block.text:
            assert recipe(block.title).name == Path(block.title).stem
    elif block.language == "python" and not block.title:
        exec(compile(block.text, block.title, "exec"), {"__name__": "__main__"})
    elif block.language == "sh":
        monkeypatch.chdir(folder)
        run_shell(block.text, monkeypatch)
    else:
        assert block.title, f"neither run nor a file: {block}"


@pytest.mark.parametrize("page", RUN, ids=name)
def test_a_page_runs(page: Path, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in filter(lambda each: each.is_run, blocks(page)):
        with redirect_stdout(StringIO()):
            run_block(block, place, monkeypatch)
        monkeypatch.chdir(place)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_what_is_not_run_says_why_and_all_code_is_fenced(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n```") + text.startswith("```") == 2 * len(blocks(page)), "a fence that is not understood"
    assert all(block.language for block in blocks(page))
    assert all(NOT_RUN.match(block.title) for block in blocks(page) if not block.is_run)
    text = DIRECTIVE.sub("", FENCE.sub("", text))
    assert not re.search(r"^ {4}\S", text, re.MULTILINE), "an indented block is never run"


def test_the_readme_names_the_commands_that_there_are() -> None:
    readme, makefile = (DOCS.parent / "README.md").read_text(), (DOCS.parent / "Makefile").read_text()
    targets = re.findall(r"^    make (\w+)", readme, re.MULTILINE)
    assert targets == ["demo", "test"] and all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets)
