"""The one exception that means: the input was bad, not our code."""


class InputError(ValueError):
    """Something the user gave us cannot be used.

    Its message is one line for a person: what was wrong, what was expected, what was got. The command line prints it and
    exits with 2; any other exception is a fault of ours and exits with 1.
    """
