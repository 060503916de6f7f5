"""A package of three environments is surveyed for real, and gone on with; what children write is read."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip("tensorflow", reason="trains")

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.peers import environments_survey
from edgedqn.benchmarks.peers.environment_limits import MISSING, NO_NUMBERS, Sight
from edgedqn.benchmarks.peers.environments_survey import SOURCES, Runner, Source, fault, main, refusal
from edgedqn.benchmarks.peers.environments_tables import Results, render_tables

PACKAGE = """
import os, sys
import gymnasium
for name in ("Aborts", "Pole", "Words"):
    gymnasium.register(f"{name}-v0", entry_point=f"{__name__}:{name.lower()}")

def pole(**_):
    return gymnasium.make("CartPole-v1").unwrapped

def words(**_):
    return gymnasium.wrappers.TransformObservation(pole(), lambda _: "", gymnasium.spaces.Text(3))

def aborts(**_):
    if "tensorflow" in sys.modules:
        os.abort()
    return pole()
"""
TRACEBACK = """\
Traceback (most recent call last):
  File "/home/x/lib/python3.11/site-packages/edgedqn/pipeline/cli.py", line 64, in main
    raise
  File "/home/x/lib/python3.11/site-packages/edgedqn/agents/playing/spec.py", line 12, in spec_of
    return f()
  File "/home/x/lib/python3.11/site-packages/minigrid/core.py", line 5, in f
ValueError: no such file /home/x/lib/python3.11/site-packages/minigrid/patterns/a.png
and more
"""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with an installed package, which is the only one to be surveyed."""
    (tmp_path / "my_surveyed_package.py").write_text(PACKAGE)
    about = tmp_path / "my_surveyed_package-3.4.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-surveyed-package\nVersion: 3.4\n")
    (about / "RECORD").write_text("my_surveyed_package.py,,\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(environments_survey, "SOURCES", (Source("surveyed", "my_surveyed_package"),))
    return tmp_path


def test_each_environment_comes_to_its_outcome_once(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = place / "found.json"
    assert main(["--results", str(results), "--processes", "2"]) == 0
    aborts, pole, words = Results.load(results).findings
    assert (aborts.outcome, aborts.reason) == ("fault", "ended by SIGABRT")
    assert (pole.sight.id, pole.outcome, pole.reason) == ("my_surveyed_package:Pole-v0", "file", None)
    assert (words.outcome, words.sight.limit) == ("refused", NO_NUMBERS)
    assert words.reason is not None and "Text(" in words.reason

    there = results.read_text()
    assert main(["--results", str(results)]) == 0
    assert results.read_text() == there, "what is done was tried again"

    earlier = Results.load(results)
    gone = replace(pole, sight=replace(pole.sight, id="my_surveyed_package:Gone-v0"))
    Results({}, earlier.packages, (replace(aborts, reason="?"), replace(pole, seconds=-1.0), words, gone)).save(results)
    assert main(["--results", str(results), "--again", "fault"]) == 0
    again = Results.load(results).findings
    assert [(each.reason, each.seconds == -1.0) for each in again[:2]] == [("ended by SIGABRT", False), (None, True)]
    assert len(again) == 3

    capsys.readouterr()
    assert main(["--results", str(results), "--table"]) == 0
    assert capsys.readouterr().out == render_tables(Results.load(results))


def test_time_that_is_over_and_what_is_not_installed_are_told(place: Path) -> None:
    source, sight = environments_survey.SOURCES[0], Sight(id="CartPole-v1")
    found = Runner(sys.executable, 0.1).learn(source, sight)
    assert (found.outcome, found.reason) == ("timeout", "not done after 0.1 s")
    absent = Sight(id="no_such_package:Any-v0", limit=MISSING)
    assert Runner(sys.executable, 120).learn(source, absent).outcome == "missing dependency"
    with pytest.raises(InputError, match=r"absent cannot be listed: expected it installed for .*No module named 'no_such"):
        Runner(sys.executable, 0.1).list(Source("absent", "no_such_package"))


def test_of_a_traceback_the_exception_and_our_place_are_shown_without_folders() -> None:
    assert fault(1, TRACEBACK) == "ValueError: no such file .../a.png (agents/playing/spec.py:12)"
    assert fault(1, "") == "" and fault(-11, TRACEBACK) == "ended by SIGSEGV"


def test_a_refusal_is_the_last_line_of_ours_and_no_traceback_beside_it() -> None:
    assert refusal("edgedqn: a warning\nfrom elsewhere\nedgedqn: bad input\n") == "bad input"
    assert refusal("nothing of ours\n") is None
    assert refusal(f"edgedqn: bad input\n{TRACEBACK}") is None
    long = refusal(f"edgedqn: {'x' * 999}")
    assert long is not None and len(long) == environments_survey.LONGEST_REASON


def test_vector_rewards_are_tried_with_the_wrapper_and_without() -> None:
    assert [each.wrapper for each in SOURCES if each.module == "mo_gymnasium"] == ["mo_gymnasium.wrappers:LinearReward", None]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--processes", "0"], "Got --processes 0"), (["--table", "--results", "no/such.json"], "no/such")],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
