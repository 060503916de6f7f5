"""Many runs as one experiment."""

from argparse import Namespace

from edgedqn.agents.errors import require
from edgedqn.pipeline.commands import DONE, NOT_PASSED, SCHEMA, print_json
from edgedqn.pipeline.commands.files import print_bundle
from edgedqn.pipeline.sweeps.experiment import copy_best, run_experiment
from edgedqn.pipeline.sweeps.results import render


def sweep(arguments: Namespace) -> int:
    """Does what is not done yet of a sweep, and shows what came of it."""
    result = run_experiment(
        arguments.path,
        out=arguments.out,
        workers=arguments.workers,
        engine=arguments.engine,
        address=arguments.address,
        storage=arguments.storage,
    )
    if arguments.best is not None:
        environments = result.sweep.environments
        env_id = arguments.env or environments[0]
        require(
            arguments.env is not None or len(environments) == 1, f"Expected --env, one of {', '.join(environments)}. Got none."
        )
        require(arguments.bundle is not None, "Expected --bundle DIR, where the best is to go. Got none.")
        print_bundle(arguments.bundle, copy_best(result, result.best(env_id, arguments.best), arguments.bundle), arguments)
        return DONE
    if arguments.json:
        print_json(arguments, {"schema": SCHEMA, "sweep": result.store.url, **result.to_json()})
    else:
        print(render(result, result.store.folder))
    passed = all(any(each.passed for each in front) for front in result.proven.values())
    return DONE if passed else NOT_PASSED
