"""The words of the command line."""

import pytest

from edgedqn.pipeline import commands
from edgedqn.pipeline.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "CartPole-v1", "--steps", "0"], "--steps: expected a whole number of 1 or more, got '0'"),
        (["run", "CartPole-v1", "--steps", "-5"], "--steps: expected a whole number of 1 or more, got '-5'"),
        (["run", "CartPole-v1", "--seed", "-1"], "--seed: expected a whole number of 0 or more, got '-1'"),
        (["evaluate", "x.tflite", "--episodes", "0"], "--episodes: expected a whole number of 1 or more, got '0'"),
        (["bench", "x.tflite", "--threads", "0"], "--threads: expected a whole number of 1 or more, got '0'"),
        (["bench", "x.tflite", "--threads", "two"], "--threads: expected a whole number of 1 or more, got 'two'"),
        (
            ["run", "CartPole-v1", "--stepz", "5"],
            "unexpected argument '--stepz'. Nearest: --steps, --n-step, --strip. `edgedqn run --help` lists all.\n",
        ),
        (["rum"], "invalid choice: 'rum' (choose from"),
        (["evalute"], "). Nearest: evaluate.\n"),
        (["run", "CartPole-v1", "--manifest", "embeded"], ". Nearest: embedded, beside.\n"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_bad_arguments_are_refused_with_what_was_expected(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert said in err and out == ""
    assert err.startswith("edgedqn: ") and err.count("\n") == 1


def test_the_exit_codes_are_what_the_help_says() -> None:
    names = ("DONE", "FAULT", "BAD_INPUT", "NOT_PASSED", "REGRESSED", "INTERRUPTED")
    assert [getattr(commands, name) for name in names] == [0, 1, 2, 3, 3, 130]
