"""Both sides in turns: the arithmetic and the table, on seconds that are written down; and the other side, trained for real."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("tensorflow", reason="trains")
from edgedqn.benchmarks.peers import time_to_score
from edgedqn.benchmarks.peers.time_to_score import main, race, ratio_of, render

pytestmark = pytest.mark.skipif(importlib.util.find_spec("stable_baselines3") is None, reason="needs the extra `peers`")


def fake_run(side: str, env_id: str, seed: int) -> dict[str, Any]:
    """SB3 takes 30, 40, 50 s, and does not arrive with seed 2; ours 4, 5, 6."""
    peer = side == "stable_baselines3"
    seconds = 30.0 + 10 * seed if peer else 4.0 + seed
    return {"reached": not (peer and seed == 2), "seconds": seconds, "env_steps": 512, "cpu_share": 1.0, "looks": []}


def test_the_sides_take_turns_and_what_the_file_has_is_not_done_again(tmp_path: Path) -> None:
    asked, file = [], tmp_path / "times.json"

    def run(side: str, env_id: str, seed: int) -> dict[str, Any]:
        asked.append((side, seed))
        return fake_run(side, env_id, seed)

    first = race(["CartPole-v1"], [0, 1], file=file, run=run)
    assert asked == [("edgedqn", 0), ("stable_baselines3", 0), ("edgedqn", 1), ("stable_baselines3", 1)]
    assert json.loads(file.read_text()) == json.loads(json.dumps(first))
    asked.clear()
    race(["CartPole-v1"], [1, 2], file=file, run=run)
    assert asked == [("edgedqn", 2), ("stable_baselines3", 2)]
    assert set(json.loads(file.read_text())["runs"]["CartPole-v1"]["edgedqn"]) == {"0", "1", "2"}
    asked.clear()
    first["runs"]["CartPole-v1"]["edgedqn"]["1"]["cpu_share"] = 0.9
    file.write_text(json.dumps(first))
    race(["CartPole-v1"], [1], file=file, run=run)
    assert asked == [("edgedqn", 1)]  # something else was going on


def test_the_ratio_is_that_of_the_medians_and_the_table_says_who_never_arrived() -> None:
    report = race(["CartPole-v1", "Acrobot-v1"], [0, 1, 2], file=None, run=fake_run)
    median, low, high = ratio_of(report["runs"]["CartPole-v1"])
    assert (median, low, high) == (8.0, 5.0, 12.5)  # 40 / 5; at worst 30 / 6, at best 50 / 4
    *_, last = render(report).splitlines()
    assert last == "| Acrobot-v1 | -80 | 5.0 [4.0, 6.0] | 40.0 [30.0, 50.0], 1 of 3 never | 8.0 [5.0, 12.5] |"
    for run in report["runs"]["Acrobot-v1"]["stable_baselines3"].values():
        run["reached"] = False
    assert "| > 40.0 [30.0, 50.0], 3 of 3 never | > 8.0 [5.0, 12.5] |" in render(report)
    report["runs"]["CartPole-v1"]["edgedqn"]["1"]["cpu_share"] = 0.5
    assert render(report).endswith("measures again: CartPole-v1, edgedqn, seed 1: 0.50.")


def test_the_other_side_really_trains() -> None:
    """Its process, with a zoo of few steps: it is told to go on until twice those, or until 475."""
    code = "from edgedqn.benchmarks.peers import time_to_score_job as job; from dataclasses import replace\n"
    code += "goal = job.GOALS['CartPole-v1']; job.GOALS['CartPole-v1'] = replace(goal, zoo=replace(goal.zoo, steps=1_024))\n"
    code += "import json; print(json.dumps(job.measure('stable_baselines3', 'CartPole-v1', 10)))"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    found = json.loads(answer.stdout)
    assert [steps for steps, *_ in found["looks"]] == [1_024, 1_536, 2_048]
    assert not found["reached"] and found["env_steps"] == 2_048


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["CartPole-v9"],
            "Expected environments of CartPole-v1, Acrobot-v1, MountainCar-v0, LunarLander-v3. Got 'CartPole-v9'.",
        ),
        (["CartPole-v1", "--seeds", "-1"], "Expected --seeds of 0 or more. Got -1."),
        (["CartPole-v1", "--json", "no/such/folder.json"], "existing folder"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time_to_score, "run_in_process", pytest.fail)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1 and captured.out == ""
