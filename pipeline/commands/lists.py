"""`recipes` and `environments`: what there is to choose from, at once. Needs neither TensorFlow nor NumPy."""

import shutil
from argparse import Namespace
from importlib.util import find_spec
from textwrap import wrap

from edgedqn.agents.training.presets import PRESETS
from edgedqn.agents.training.reference_scores import REFERENCE_SCORES, ReferenceScore
from edgedqn.compression.recipe_list import DEFAULT_RECIPES, RECIPE_LIST
from edgedqn.pipeline.commands import DONE, SCHEMA, print_json

# What an environment comes from, besides gymnasium: the beginning of its id, the extra, and the module that it brings.
EXTRAS = (("LunarLander", "box2d", "Box2D"), ("MinAtar/", "minatar", "minatar"), ("ALE/", "atari", "ale_py"))


def recipes(arguments: Namespace) -> int:
    """Lists the recipes that come with EdgeDQN."""
    if arguments.json:
        found = [
            {"name": name, "summary": each.summary, "control": each.control, "default": name in DEFAULT_RECIPES}
            for name, each in RECIPE_LIST.items()
        ]
        print_json(arguments, {"schema": SCHEMA, "recipes": found})
        return DONE
    width = max(map(len, RECIPE_LIST))
    columns = max(30, shutil.get_terminal_size((120, 24)).columns - width - 2)
    for name, each in RECIPE_LIST.items():
        told = f"{each.summary}{' [default]' if name in DEFAULT_RECIPES else ''}"
        first, *others = wrap(told, columns)
        print(f"{name:<{width}}  {first}", *(f"{'':<{width + 2}}{line}" for line in others), sep="\n")
    print("\n[default]: what `edgedqn run` takes by itself. A file NAME.toml is a recipe of your own.")
    return DONE


def environments(arguments: Namespace) -> int:
    """Lists the environments that there are presets for, with their scores."""
    if arguments.json:
        found = [
            {
                "env_id": env_id,
                "env_steps": preset.steps,
                "mean_return": None if (score := REFERENCE_SCORES.get(env_id)) is None else round(score.mean, 3),
                "returns_of_seeds": None if score is None else list(score.means),
                "extra": (extra := _extra(env_id)) and extra[0],
                "installed": extra is None or find_spec(extra[1]) is not None,
            }
            for env_id, preset in PRESETS.items()
        ]
        print_json(arguments, {"schema": SCHEMA, "environments": found})
        return DONE
    lines = [("environment", "steps", "mean return", "training seeds", "needs")]
    lines += [
        (env_id, f"{preset.steps:,}", *_shown(REFERENCE_SCORES.get(env_id)), _needs(env_id))
        for env_id, preset in PRESETS.items()
    ]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for env_id, steps, mean, seeds, needs in lines:
        cells = (env_id.ljust(widths[0]), steps.rjust(widths[1]), mean.rjust(widths[2]), seeds.ljust(widths[3]), needs)
        print("  ".join(cells).rstrip())
    print("\nAny other environment of gymnasium trains with the default for its observations; `module:Id` is one of your own.")
    return DONE


def _shown(score: ReferenceScore | None) -> tuple[str, str]:
    """The mean, and between which returns the seeds lie."""
    if score is None:
        return "-", "not measured"
    digits = 2 if abs(score.mean) < 20 else 1
    return f"{score.mean:.{digits}f}", f"{len(score.means)}, {min(score.means):.{digits}f} to {max(score.means):.{digits}f}"


def _extra(env_id: str) -> tuple[str, str] | None:
    return next(((extra, module) for start, extra, module in EXTRAS if env_id.startswith(start)), None)


def _needs(env_id: str) -> str:
    """How to install what is missing; empty where it is there."""
    extra = _extra(env_id)
    return f"pip install 'edgedqn[{extra[0]}]'" if extra and find_spec(extra[1]) is None else ""
