"""Who waits is told: a line for each stage, one every half minute where there is no terminal, nothing where nobody asked."""

import io
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgedqn.pipeline.viewing import progress
from edgedqn.pipeline.viewing.progress import GREEN, LineBar, NoBar, StageLines, in_colour, is_quiet, left_of


class Terminal(io.StringIO):
    """A stream that shows colours."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_stage_is_a_line_with_what_it_took_and_about_what_is_left() -> None:
    told = io.StringIO()
    lines = StageLines(told)
    lines.begin(["fragility", "compress/qat-int8", "bench"], ["train"])
    for name in ("fragility", "compress/qat-int8"):
        with lines.stage(name) as remarks:
            remarks.append("return 3\nIt is fragile." if name == "fragility" else "")
            time.sleep(0.05)
    lines.skipped(["qat-int8, verification in tflite_micro: not installed"])
    kept, first, below, second, heading, reason = told.getvalue().splitlines()
    assert kept == "Done before, and kept: train."
    assert re.fullmatch(r"\[1/3\] fragility          done in [\d.]+ s, return 3; [\d.]+ s so far, about [\d.]+ s left", first)
    assert re.fullmatch(r"\[2/3\] compress/qat-int8  done in [\d.]+ s; [\d.]+ s so far, about [\d.]+ s left", second)
    assert below == "  It is fragile."
    assert (heading, reason) == ("Skipped:", "  qat-int8, verification in tflite_micro: not installed")


def test_one_that_fails_says_so_and_nobody_hears_where_nobody_asked(capsys: pytest.CaptureFixture[str]) -> None:
    told = io.StringIO()
    for lines in (StageLines(told), StageLines()):
        lines.begin(["train"], [])
        with pytest.raises(ZeroDivisionError), lines.stage("train"):
            raise ZeroDivisionError
    assert told.getvalue().count("\n") == 1 and "[1/1] train  failed after " in told.getvalue()
    assert capsys.readouterr() == ("", "")


def test_one_that_a_person_stops_did_not_fail() -> None:
    told = io.StringIO()
    with pytest.raises(KeyboardInterrupt), StageLines(told).stage("train"):
        raise KeyboardInterrupt
    assert re.fullmatch(r"\[0/0\] train  stopped after [\d.]+ s\n", told.getvalue())


def test_a_long_stage_says_that_it_goes_on_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "INTERVAL_S", 0.02)
    for told, goes_on in ((io.StringIO(), True), (Terminal(), False)):
        lines = StageLines(told)
        lines.begin(["bench", "report"], [])
        with lines.stage("bench"):
            deadline = time.monotonic() + (30 if goes_on else 0.1)
            while not told.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
        first, *others = told.getvalue().splitlines()
        assert bool(others) == goes_on and first.startswith("[1/2] bench   ") and ("running for" in first) == goes_on


def test_what_is_left_is_judged_by_what_was_done() -> None:
    pending = ["train", "compress/ptq-int8", "compress/qat-int8", "compress/auto-int8", "bench"]
    assert left_of(pending, {"train": 300.0}) is None  # says nothing of the others
    assert left_of(pending, {"train": 300.0, "compress/ptq-int8": 9.0}) is None
    assert left_of(pending, {"train": 300.0, "compress/qat-int8": 80.0}, "bench") == pytest.approx(2 * (0.3 + 40))
    assert left_of(["bench"], {"bench": 1.0}) is None


def test_a_bar_off_a_terminal_is_a_line_every_half_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in LineBar(range(3), desc="play", unit=" episodes", disable=None):
        pass
    assert capsys.readouterr() == ("", "")  # it took less
    monkeypatch.setattr(progress, "INTERVAL_S", 0)
    with LineBar(total=1_000, desc="train", unit=" steps", disable=None, miniters=1) as bar:
        for _ in range(2):
            time.sleep(0.01)
            bar.update(250)
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith("  train: 0 of 1,000 steps, 0.0 s")
    assert last.startswith("  train: 500 of 1,000 steps, ") and last.endswith(" s left")
    with LineBar(range(3), disable=True) as silent, NoBar(range(3), disable=None) as none:
        assert list(silent) == list(none) == [0, 1, 2]
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("coloured")
def test_colours_are_where_the_terminal_has_them_and_its_reader_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    table = "name   gate  KB\npass-1  pass  9\n"
    assert in_colour(table, Terminal()) == f"name   gate  KB\npass-1  {GREEN}pass\033[0m  9\n"
    assert in_colour(table, io.StringIO()) == table
    monkeypatch.setenv("NO_COLOR", "1")
    assert in_colour(table, Terminal()) == table
    told = Terminal()
    lines = StageLines(told)
    lines.begin(["bench"], [])
    with lines.stage("bench"):
        pass
    assert "\033" not in told.getvalue()


def test_quiet_is_asked_for_or_tqdms_own_switch(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, quiet in (("1", True), ("0", False), ("", False)):
        monkeypatch.setenv("TQDM_DISABLE", value)
        assert is_quiet(False) == quiet and is_quiet(True)


@pytest.mark.parametrize("option", [[], ["--quiet"]])
def test_a_command_line_tells_of_its_stages_on_stderr_alone(
    option: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TQDM_DISABLE", "0")
    command = [
        sys.executable,
        "-c",
        "from edgedqn.pipeline.cli import console; console()",
        "train",
        "CartPole-v1",
        "--steps",
        "1500",
    ]
    answer = subprocess.run([*command, "--out", "run", *option], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout == "train done: run\n"
    assert answer.stderr.count("[1/1] train  done in ") == (not option) and (answer.stderr == "") == bool(option)
