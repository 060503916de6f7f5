"""`play` of files; films and windows are tested in `viewing`."""

import subprocess
from collections.abc import Callable
from pathlib import Path

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
Refused = Callable[..., None]


def test_a_file_alone_imports_nothing_from_the_current_folder(
    assert_refused: Refused, edgedqn: CommandLine, own_file: Path, tmp_path: Path
) -> None:
    assert_refused(edgedqn("play", own_file, "--gif", "film.gif"), "No module named 'own'", "--env own:Base-v0 does")
    assert not (tmp_path / "imported").exists()
    assert_refused(edgedqn("play", own_file, "--gif", "film.gif", "--env", "own:Base-v0"), "cannot be rendered as 'rgb_array'")
    assert (tmp_path / "imported").exists()


def test_what_belongs_to_a_page_and_what_to_a_film_is_told_apart(assert_refused: Refused, edgedqn: CommandLine) -> None:
    assert_refused(edgedqn("play", "x.tflite", "--port", "80"), "Expected --browser beside --port")
    assert_refused(edgedqn("play", "x.tflite", "--browser", "--gif", "a.gif"), "Expected no --gif beside --browser")
