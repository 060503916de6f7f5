import itertools
import zipfile
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.libraries import bundle
from edgedqn.export.devices.libraries.bundle import make_library
from edgedqn.export.devices.libraries.forms import FORMS
from edgedqn.export.devices.libraries.library import LibraryDetails
from edgedqn.export.edge_policy import PolicyFileError


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("ecosystem", "folder", "archive"),
    [
        ("arduino", "EdgeDQN_CartPole_v1", "EdgeDQN_CartPole_v1-1.2.3.zip"),
        ("platformio", "EdgeDQN_CartPole_v1", "EdgeDQN_CartPole_v1-1.2.3.zip"),
        ("esp-idf", "edgedqn_cartpole_v1", "edgedqn_cartpole_v1_1.2.3.zip"),
        ("zephyr", "edgedqn_cartpole_v1", "edgedqn_cartpole_v1-1.2.3.zip"),
        ("cmake", "EdgeDQN_CartPole_v1", "EdgeDQN_CartPole_v1-1.2.3.zip"),
    ],
)
def test_the_same_policy_gives_the_same_library_and_the_same_zip(
    cartpole: Path, tmp_path: Path, ecosystem: str, folder: str, archive: str
) -> None:
    details = LibraryDetails(version="1.2.3", license="MIT")
    one, two = (make_library(cartpole, tmp_path / each, ecosystem, details=details, zipped=True) for each in ("one", "two"))
    assert tuple(one) == (tmp_path / "one" / folder, tmp_path / "one" / archive)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    files = contents(one.folder)
    assert all(b"\r" not in content and content.endswith(b"\n") for content in files.values())
    with zipfile.ZipFile(one.zip or "") as packed:
        members = packed.infolist()
        assert {each.filename: packed.read(each) for each in members} == {f"{folder}/{name}": files[name] for name in files}
    assert [each.filename for each in members] == sorted(each.filename for each in members)
    assert {(each.date_time, each.external_attr) for each in members} == {((1980, 1, 1, 0, 0, 0), 0o644 << 16)}
    assert two == make_library(cartpole, tmp_path / "two", ecosystem, details=details, zipped=True)  # in its own place


def test_a_library_is_whole_or_absent(cartpole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(path: Path, text: str) -> None:
        if path.name == "policy_settings.h":
            raise KeyboardInterrupt
        path.write_text(text)

    before = contents(make_library(cartpole, tmp_path, "arduino").folder)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(bundle, "write_text", stop)
        make_library(cartpole, tmp_path, "arduino", details=LibraryDetails(version="9.0.0"))
    assert [path.name for path in tmp_path.iterdir()] == ["EdgeDQN_CartPole_v1"]
    assert contents(tmp_path / "EdgeDQN_CartPole_v1") == before


def test_what_somebody_put_there_is_in_the_way(cartpole: Path, tmp_path: Path) -> None:
    place = make_library(cartpole, tmp_path, "arduino").folder
    (place / "src" / "mine.h").touch()
    with pytest.raises(InputError, match=r"EdgeDQN_CartPole_v1 is in the way: .* Got src/mine\.h\."):
        make_library(cartpole, tmp_path, "arduino")
    elsewhere = place.rename(tmp_path / "elsewhere")
    place.symlink_to(elsewhere)
    with pytest.raises(InputError, match="is in the way"):
        make_library(cartpole, tmp_path, "arduino")
    assert (elsewhere / "src" / "mine.h").exists()


@pytest.mark.parametrize(("first", "second"), [*itertools.permutations(FORMS, 2)])
def test_libraries_of_two_ecosystems_do_not_share_a_folder(first: str, second: str, cartpole: Path, tmp_path: Path) -> None:
    place = make_library(cartpole, tmp_path, first).folder
    if FORMS[first].is_lowercase == FORMS[second].is_lowercase:
        with pytest.raises(InputError, match=f"holds a library for {FORMS[first].name}. .* one for {FORMS[second].name} "):
            make_library(cartpole, tmp_path, second)
    else:
        assert make_library(cartpole, tmp_path, second).folder != place


def test_no_zip_outlives_the_library_it_was_made_of(cartpole: Path, tmp_path: Path) -> None:
    made = make_library(cartpole, tmp_path, "arduino", zipped=True)
    assert made.zip is not None and made.zip.exists()
    assert make_library(cartpole, tmp_path, "arduino").zip is None and not made.zip.exists()


def test_what_is_no_library_leaves_nothing(cartpole: Path, float_policy: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"expected one of {', '.join(FORMS)}. Got 'mbed'"):
        make_library(cartpole, tmp_path / "libraries", "mbed")
    (tmp_path / "float.tflite").write_bytes(float_policy)
    with pytest.raises(InputError, match="expected int8 input and output"):
        make_library(tmp_path / "float.tflite", tmp_path / "libraries", "cmake")
    (tmp_path / "damaged.tflite").write_bytes(cartpole.read_bytes()[:-1])
    with pytest.raises(PolicyFileError):
        make_library(tmp_path / "damaged.tflite", tmp_path / "libraries", "cmake")
    assert not (tmp_path / "libraries").exists()
