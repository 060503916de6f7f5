"""The sources that `bundle` and `plain_c` write, as templates: `$name` stands for a value, all else is written as it is.

`memory.h`, `dense.c` and `convolution.c` are parts of other files.
"""

from collections.abc import Mapping
from importlib import resources
from string import Template


def fill(name: str, values: Mapping[str, object] | None = None) -> str:
    """The text of a file of this folder with its values filled in; KeyError where one is missing."""
    return Template((resources.files(__name__) / name).read_text(encoding="utf-8")).substitute(values or {})
