"""What each command does: `cli` has parsed the arguments and imports the one module that is asked for.

Results go to stdout, all else to stderr; each function returns an exit code. Read `parser`, `device_arguments` and `options`
(the words), `runs` and `import_agent` (with TensorFlow), then `files`, `libraries`, `inspect`, `lists` and `doctor` (without).
`streams` and `modules` are about the process: where it writes, and where it looks for modules.
"""

import json
from argparse import Namespace
from collections.abc import Mapping

SCHEMA = 1  # of what `--json` prints

# What the command line ends with.
DONE = 0
FAULT = 1  # of ours
BAD_INPUT = 2
NOT_PASSED = 3  # done, but no int8 file passed its gate
REGRESSED = 3  # done, but `bench --fail-on-regression` found something worse than before
INTERRUPTED = 130


def print_json(arguments: Namespace, found: Mapping[str, object]) -> None:
    """Prints the one object of `--json` to the command's results, the stdout that nothing else is printed to then."""
    print(json.dumps(found), file=arguments.results, flush=True)
