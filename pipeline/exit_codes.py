"""What the command line ends with."""

DONE = 0
FAULT = 1  # of ours
BAD_INPUT = 2
NOT_PASSED = 3  # done, but no requested recipe passed its gate
REGRESSED = 3  # done, but `bench --fail-on-regression` found something worse than before
INTERRUPTED = 130
