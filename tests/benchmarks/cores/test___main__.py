import json
from dataclasses import asdict
from pathlib import Path

import pytest

from edgedqn.benchmarks.cores import __main__ as command
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.footprint import measure


def test_prints_the_footprint_of_each_core(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    core = CORES["rv32imac"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    found = measure(core, policy)
    command.main([str(policy), "--core", "rv32imac", "--json"])
    assert json.loads(capsys.readouterr().out) == {"schema": 1, "cores": {"rv32imac": asdict(found)}}
    command.main([str(policy), "--core", "rv32imac"])
    assert f"| rv32imac | {' | '.join(found.cells())} | instructions |" in capsys.readouterr().out


def test_says_why_a_core_has_no_figures(policy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (policy / "policy.c").write_text("no C")
    command.main([str(policy), "--core", "cortex-m0"])
    assert capsys.readouterr().out.splitlines()[2].startswith("| cortex-m0 | ")


@pytest.mark.parametrize(("arguments", "reason"), [([], "No policy.c in"), (["--core", "z80"], "invalid choice: 'z80'")])
def test_refuses_in_one_line(arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main([str(tmp_path), *arguments])
    assert ended.value.code == 2 and reason in capsys.readouterr().err
