"""`--fit` and `--rate`; a bundle's arguments are tested with what they do."""

import pytest

from edgedqn.pipeline.cli import main


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--fit", "due"], "expected uno, mega, nano33, pico, esp32c3, or FLASH,RAM,CYCLES"),
        (["--rate", "100"], "Expected --fit beside --rate"),
        (["--fit", "uno", "--rate", "0"], "Expected a rate of 0.001 to 1,000,000 steps per second"),
    ],
)
def test_a_board_that_nobody_knows_is_refused_before_anything_is_measured(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "absent.tflite", *arguments]) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1
