"""What each command does: `cli` has parsed the arguments and imports the one module that is asked for.

Results go to stdout, all else to stderr; each function returns an exit code. Read `parser` and `options` (the words), then with
TensorFlow `run` (a run as a whole), `stage` (one kind of stage), `import_agent`, `agent` (a float agent is played), and without
it `bench`, `bundle`, `evaluate`, `play` (all of a .tflite), `inspect`, `doctor`.
"""

SCHEMA = 1  # of what `--json` prints
