"""The files of libraries that `library` and `forms` write, as templates: `$name` stands for a value, `$$` for a dollar sign."""

from collections.abc import Mapping
from importlib import resources
from string import Template


def fill(name: str, values: Mapping[str, object]) -> str:
    """The text of a file of this folder with its values filled in; KeyError where one is missing."""
    return Template((resources.files(__name__) / name).read_text(encoding="utf-8")).substitute(values)
