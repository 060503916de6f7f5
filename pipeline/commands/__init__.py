"""What each command does: `cli` has parsed the arguments and imports the one module that is asked for.

Results go to stdout, all else to stderr; each function returns an exit code. Read `parser` and `options` (the words), `runs`
and `import_agent` (with TensorFlow), then `files`, `inspect` and `doctor` (without).
"""

SCHEMA = 1  # of what `--json` prints
