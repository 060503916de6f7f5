"""Until 0.3: where `run` was. It is `edgedqn.run` now."""

import warnings
from typing import TYPE_CHECKING

from edgedqn.pipeline import scripting

if TYPE_CHECKING:
    from edgedqn.pipeline.scripting import run as run


def __getattr__(name: str) -> object:
    if name != "run":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn("edgedqn.pipeline.run.run ends with EdgeDQN 0.3: expected edgedqn.run.", DeprecationWarning, stacklevel=2)
    return scripting.run
