"""The documentation site in a browser, opened from files without a network: legible on all screens, no fault for axe-core."""

import json
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[3] / "docs"
pytestmark = pytest.mark.skipif(not DOCS.exists(), reason="looks at the checkout, not at the package")
ARTIFACTS = Path(__file__).parents[3] / "build" / "device-lab"
PAGES = ("index", "start", "recipes", "deploy/microcontroller", "measured/importing")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("zensical", reason="the extra `docs` is not installed")
    folder = tmp_path_factory.mktemp("docs")
    subprocess.run([sys.executable, str(DOCS / "build.py"), str(folder)], capture_output=True, timeout=600, check=True)
    return folder / "site"


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize(("width", "dark"), [(360, True), (800, False), (1400, False)])
def test_it_is_legible(site: Path, page: Any, name: str, width: int, dark: bool) -> None:
    page.open((site / f"{name}.html").as_uri(), width=width, height=1200, dark=dark)
    page.screenshot(ARTIFACTS / f"site-{name.replace('/', '-')}-{width}-{'dark' if dark else 'light'}.png")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    scheme = page.evaluate("document.body.getAttribute('data-md-color-scheme')")
    assert scheme == ("slate" if dark else "default")
    page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text() + "\n;undefined")
    found = json.loads(page.evaluate("axe.run().then(found => JSON.stringify(found.violations))"))
    assert [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in ("serious", "critical")] == []
    assert {address for address in page.requests if not address.startswith(("file:", "data:"))} == set()


def test_the_search_finds_a_page_without_a_server(site: Path, page: Any) -> None:
    page.open((site / "index.html").as_uri(), width=1400)
    page.evaluate("document.querySelector('.md-search__button').click()")
    box = "[...document.querySelectorAll('*')].map(each => each.shadowRoot).find(root => root?.querySelector('input'))"
    page.evaluate(wait_for(f"{box} && ({box}.querySelector('input').focus(), true)"))
    page.call("Input.insertText", text="gate")
    assert page.evaluate(wait_for(f"""{box}.querySelector('a[href*="how/gate"]')"""))


def wait_for(condition: str) -> str:
    """A promise that this becomes true."""
    return f"new Promise(done => {{ const look = () => ({condition}) ? done(true) : setTimeout(look, 50); look() }})"
