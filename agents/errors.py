"""The exceptions that mean: the input was bad, not our code; and what is said of any."""


class InputError(ValueError):
    """Something the user gave us cannot be used.

    Its message is one line for a person: what was wrong, what was expected, what was got. The command line prints it and
    exits with 2; any other exception is a fault of ours and exits with 1.
    """


class DivergedError(InputError):
    """Learning went astray: a loss became NaN or infinite, or values grew beyond what the rewards allow.

    Nothing is repaired; what was learned since the last checkpoint is lost, the checkpoint is not.
    """


def require(condition: bool, message: str) -> None:
    """Raises InputError with this message where the condition does not hold."""
    if not condition:
        raise InputError(message)


def one_line(error: BaseException) -> str:
    """The error as a reason for a person: its message in one line, or its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
