"""The pages' templates: Jinja2 over `files/`, with the style and the scripts that all pages share."""

import json
from collections.abc import Mapping

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.report.vega import FILES, VegaLite, page_script


def render_page(template: str, charts: Mapping[str, VegaLite], **values: object) -> str:
    """The page of `files/TEMPLATE.html`, which extends `base.html`, with charts by name. The same values give the same text.

    Raises:
      InputError: Jinja2, or vl-convert-python, which brings Vega-Lite along, is not installed.
    """
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise InputError("The page needs Jinja2: expected the extra `train`, pip install 'edgedqn[train]'.") from error
    environment = Environment(
        loader=FunctionLoader(lambda name: (FILES / name).read_text(encoding="utf-8")),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"{template}.html").render(
        charts={name: embedded(chart) for name, chart in charts.items()},
        style=(FILES / "page.css").read_text(encoding="utf-8"),
        drawing=page_script() if charts else "",
        script=(FILES / "page.js").read_text(encoding="utf-8"),
        **values,
    )


def embedded(chart: VegaLite) -> str:
    """As JSON within a script of a page."""
    return json.dumps(chart, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
