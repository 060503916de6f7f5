"""What each command does: `cli` has parsed the arguments and imports the one module that is asked for.

Results go to stdout, all else to stderr; each function returns an exit code. Read `parser` and `options` (the words), `runs`
and `import_agent` (with TensorFlow), then `files`, `inspect` and `doctor` (without).
"""

SCHEMA = 1  # of what `--json` prints

# What the command line ends with.
DONE = 0
FAULT = 1  # of ours
BAD_INPUT = 2
NOT_PASSED = 3  # done, but no int8 file passed its gate
REGRESSED = 3  # done, but `bench --fail-on-regression` found something worse than before
INTERRUPTED = 130
