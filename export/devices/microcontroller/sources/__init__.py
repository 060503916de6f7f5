"""The sources of a bundle, as templates: `$name` stands for a value, all else is written as it is.

`memory.h`, `dense.c` and `convolution.c` are parts of other files.
"""

import re
from collections.abc import Mapping
from importlib import resources
from string import Template


def fill(name: str, values: Mapping[str, object] | None = None) -> str:
    """The text of a file of this folder with its values filled in; KeyError where one is missing."""
    return Template((resources.files(__name__) / name).read_text(encoding="utf-8")).substitute(values or {})


def harmless(text: str) -> str:
    """What ends no comment, line or text of any language here: what environments' ids are not made of becomes `_`."""
    return re.sub(r"[^\w.:/-]", "_", text, flags=re.ASCII)


def c_float(value: float) -> str:
    """A C literal of the float32 nearest to this: nine digits tell any two of them apart."""
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"
