"""Many runs as one experiment: what a file says, or the same run with many training seeds."""

import itertools
import re
from argparse import Namespace
from pathlib import Path

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import Json
from edgedqn.compression.recipes import RECIPES
from edgedqn.pipeline.commands import BAD_INPUT, DONE, NOT_PASSED, SCHEMA, print_json
from edgedqn.pipeline.commands.files import asked_budget, print_bundle
from edgedqn.pipeline.commands.runs import asked_changes, asked_settings, asked_source
from edgedqn.pipeline.config import CONTROL
from edgedqn.pipeline.sweeps import many_seeds
from edgedqn.pipeline.sweeps.experiment import copy_best, fitting, run_experiment, store_of
from edgedqn.pipeline.sweeps.results import best_of, read_fronts, render

URL = re.compile(r"[a-z][a-z0-9+.-]+:/")  # as a path, which has lost a slash
OF_BEST = ("env", "bundle", "fit", "rate")  # options of `sweep --best`
ALONE = ("algorithm", "fit", "rate", "force", "resume")  # options of one run


def sweep(arguments: Namespace) -> int:
    """Does what is not done yet of a sweep, and shows what came of it; or copies the best of one that is done."""
    if arguments.best is not None:
        return _copy_best(arguments)
    given = [f"--{name}" for name in OF_BEST if getattr(arguments, name) is not None]
    require(not given, f"Expected --best beside {', '.join(given)}. Got none.")
    result = run_experiment(
        arguments.path,
        out=arguments.out,
        workers=arguments.workers,
        engine=arguments.engine,
        address=arguments.address,
        storage=arguments.storage,
        retry_failed=arguments.retry_failed,
    )
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, "sweep": result.store.url, **result.to_json()})
    else:
        print(render(result, result.store.folder))
    if all(found.error for found in result.found.values()):  # which was printed
        return BAD_INPUT
    passed = all(any(each.passed for each in front) for front in result.proven.values())
    return DONE if passed else NOT_PASSED


def _copy_best(arguments: Namespace) -> int:
    """Reads what a sweep came to, and does nothing of it."""
    require(not arguments.retry_failed, "--best takes what there is: expected no --retry-failed beside it. Got both.")
    store = store_of(arguments.path, arguments.out)
    fronts = read_fronts(store)
    env_id = arguments.env or next(iter(fronts), "")
    require(arguments.env is not None or len(fronts) == 1, f"Expected --env, one of {', '.join(fronts)}. Got none.")
    require(arguments.bundle is not None, "Expected --bundle DIR, where the best is to go. Got none.")
    require(env_id in fronts, f"The sweep has no {env_id}: expected --env, one of {', '.join(fronts)}.")
    if (budget := asked_budget(arguments)) is not None:
        passed = any(each.passed for each in fronts[env_id])
        fronts[env_id] = fitting(store, fronts[env_id], budget)
        expected = f"Nothing to take for {env_id}: expected a file that fits {budget.board}"
        require(bool(fronts[env_id]) or not passed, f"{expected}. Got none among those that passed.")
    best = best_of(fronts, env_id, arguments.best)
    print_bundle(arguments.bundle, copy_best(store, best, arguments.bundle), arguments)
    return DONE


def run_seeds(arguments: Namespace) -> int:
    """The main job with each of many training seeds, in as many processes as are asked for."""
    given = [f"--{name}" for name in ALONE if getattr(arguments, name, None)]
    require(not given, f"Many seeds are many runs: expected no {', '.join(given)} beside --seeds.")
    require(arguments.seed == 0, f"Expected --seed or --seeds. Got both, {arguments.seed} and {list(arguments.seeds)}.")
    source = asked_source(arguments)
    out = arguments.out or Path("runs") / f"{source.id.replace(':', '-').replace('/', '-')}-seeds"
    expected = "expected a folder of this machine, or a sweep file, which takes a URL and a --storage"
    require(URL.match(str(out)) is None, f"--seeds keeps its record in --out: {expected}. Got {out}.")
    result = run_experiment(_as_sweep(arguments), out=str(out), workers=arguments.workers, retry_failed=arguments.retry_failed)
    found = result.found[source.id]
    if found.error:
        raise InputError(found.error)
    files = many_seeds.across(found)
    proofs = itertools.chain.from_iterable(found.proofs.values())
    errors = [*(trial.error for trial in found.trials if trial.error), *(proof.error for proof in proofs if proof.error)]
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, "runs": str(out), **many_seeds.to_json(files, errors)})
    else:
        print("\n".join([many_seeds.render(files), *errors, f"All files: {out}"]))
    controls = {each.name for each in RECIPES.values() if each.control}
    passed = any(each.gates == ("pass",) * len(arguments.seeds) for each in files if each.name not in controls)
    return DONE if passed else NOT_PASSED


def _as_sweep(arguments: Namespace) -> Json:
    """What a file would say: every recipe once, with every seed, and all proven."""
    changes = asked_changes(arguments)
    recipes = [each.to_json() for each in changes.recipes if each.name != CONTROL]
    expected = "Expected another recipe, or none, for the default ones"
    require(bool(recipes) or not changes.recipes, f"{CONTROL} is shown beside the others anyway. {expected}. Got it alone.")
    asked = {
        "environments": [asked_source(arguments).to_json()],
        "seeds": list(arguments.seeds),
        "sampler": "grid",
        "prove": "all",
        "batch": max(1, len(recipes) or 3),
        "teacher": {"settings": asked_settings(arguments)},
        "export": {name: value for name, value in changes.export.items() if value is not None},
        "tolerance": changes.tolerance,
        "gate_episodes": changes.gate_episodes,
        "recipes": [{"recipe": each} for each in recipes],
    }
    return {name: value for name, value in asked.items() if value not in (None, {}, [])}
