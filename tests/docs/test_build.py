"""The documentation site is built whole, without a network; its page of the command line is what the parser says."""

import importlib.util
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from edgedqn.pipeline.commands.parser import COMMANDS

DOCS = Path(__file__).parents[2] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="looks at the checkout, not at the package")
FROM_THE_NETWORK = re.compile(r'<(?:script|link|img|iframe|source)[^>]*?(?:src|href)="?https?:|url\(["\']?https?:|@import')


@pytest.fixture(scope="module")
def build() -> ModuleType:
    """docs/build.py as a module."""
    spec = importlib.util.spec_from_file_location("build_docs", DOCS / "build.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pages_of(navigation: list[object]) -> set[str]:
    """Every page that is named in a navigation."""
    found: set[str] = set()
    for entry in navigation:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            found |= pages_of(value) if isinstance(value, list) else {str(value)}
    return found


def test_all_pages_are_built_and_load_nothing_from_the_network(tmp_path: Path) -> None:
    pytest.importorskip("zensical", reason="the extra `docs` is not installed")
    command = [sys.executable, str(DOCS / "build.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    site = tmp_path / "site"
    named = pages_of(tomllib.loads((DOCS / "zensical.toml").read_text())["project"]["nav"])
    assert {page.with_suffix("").as_posix() for page in map(Path, named)} == {
        page.relative_to(site).with_suffix("").as_posix() for page in site.rglob("*.html") if page.name != "404.html"
    }
    texts = [path.read_text() for path in site.rglob("*") if path.suffix in (".html", ".css")]
    assert [found[0] for text in texts if (found := FROM_THE_NETWORK.search(text))] == []
    assert "not run: needs a board" in (site / "uno.html").read_text()
    assert "The main job" in (site / "api.html").read_text() and "TrainingConfig" in (site / "api.html").read_text()


def test_every_command_and_option_is_on_its_page(build: ModuleType) -> None:
    page = build.command_line_page()
    assert re.findall(r"^## edgedqn (\w+)$", page, re.MULTILINE) == list(COMMANDS)
    for command, (_, arguments) in COMMANDS.items():
        section = page.split(f"## edgedqn {command}\n")[1].split("\n## ")[0]
        assert [option for option in arguments if option.startswith("--") and f"`{option}" not in section] == []
    assert "(default: 10,000)" in page and "%%" not in page
