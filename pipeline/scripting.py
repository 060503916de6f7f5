"""What a script calls. TensorFlow is loaded, quietly and with one thread, when a function here is called."""

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from edgedqn.pipeline.native import load_tensorflow, quiet

if TYPE_CHECKING:
    from edgedqn.compression.recipe import Recipe
    from edgedqn.pipeline.config import RunConfig
    from edgedqn.pipeline.job import RunResult

P = ParamSpec("P")
R = TypeVar("R")

# Until 0.3: the order in which `run` took its arguments, and those of them that RunConfig has now.
OLD_ORDER = (
    *("out", "seed", "recipes", "steps", "force"),
    *("training", "latency", "strip", "manifest", "tolerance", "float_io", "output", "sparse"),
)
OLD_KEYWORDS = frozenset(OLD_ORDER[5:])


def _accepts_old_form(run: Callable[P, R]) -> Callable[P, R]:
    """Until 0.3: `run` also takes what it took in 0.1, with a DeprecationWarning."""

    @wraps(run)
    def either(*arguments: Any, **keywords: Any) -> Any:
        given = dict(zip(("env", *OLD_ORDER), arguments, strict=False)) | keywords
        if "env_id" in given:
            given["env"] = given.pop("env_id")
        old = {name: given.pop(name) for name in OLD_KEYWORDS & set(given)}
        if len(arguments) > 1 or old or "env_id" in keywords:
            warnings.warn(
                "This form of `run` ends with EdgeDQN 0.3: expected run(env, *, out, seed, steps, recipes, config, force) "
                f"with a RunConfig of training, export, gate and latency. Got {[*map(repr, arguments[1:]), *keywords]}.",
                DeprecationWarning,
                stacklevel=2,
            )
        return _run(old=old, **given)

    return either


@_accepts_old_form
def run(
    env: str,
    *,
    out: str | Path | None = None,
    seed: int = 0,
    steps: int | None = None,
    recipes: "Sequence[str | Recipe] | None" = None,
    config: "RunConfig | None" = None,
    force: bool = False,
) -> "RunResult":
    """Trains an agent, compresses it by each recipe, exports, measures and reports; goes on where an earlier call stopped.

    Args:
      env: a gymnasium id, or `module:Id`.
      out: the run folder; `runs/<environment>-seed<seed>` by default.
      seed: of all randomness, >= 0.
      steps: environment steps of the training; the preset's by default.
      recipes: names, TOML files, or recipes of your own; those of the run, or else `qat-int8` and `prune-qat-int8`, by default.
        `ptq-int8` is always shown beside them.
      config: how to train, export, prove and time; what it leaves out stays as the run has it, or is the default.
      force: do every stage again.
    Raises:
      InputError: something of this cannot be used; nothing was written.
    """
    return _run(env=env, out=out, seed=seed, steps=steps, recipes=recipes, config=config, force=force)


def _run(*, env: str, **settings: Any) -> "RunResult":
    with quiet():
        load_tensorflow()
        from edgedqn.pipeline.job import run_all

        return run_all(env, **settings)
