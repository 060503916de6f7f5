"""The device bundle: byte for byte what was proven, complete or absent, and said what it has for which device."""

import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.benchmarks.cores.core import missing_tools
from edgedqn.benchmarks.latency.interleaved import LatencyConfig
from edgedqn.export import edge_policy
from edgedqn.export.devices.board.bundle import TWIN
from edgedqn.export.devices.browser import bundle as browser
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel, read_verified
from edgedqn.export.tflite_file import tflm
from edgedqn.export.tflite_file.inspection import inspect
from edgedqn.pipeline import bundle
from edgedqn.pipeline.bench_files import bench
from edgedqn.pipeline.bundle import has_archive, make_bundle, remove_bundle, write_archive
from edgedqn.pipeline.job import Job, RunResult
from edgedqn.pipeline.run_folder import RunFolder

SCRIPTS = {"edge_policy.py", "run_policy.py", "bench_on_device.py"}
SHORT = LatencyConfig(blocks=2, invokes_per_block=20, patience_s=0)
OBSERVATIONS = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)


@pytest.fixture(autouse=True)
def litert_js(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Stands for the runtime of the page, here as fetched before; notes whether it might have been fetched."""
    asked: list[bool] = []

    def runtime_files(fetch: bool) -> dict[str, bytes]:
        asked.append(fetch)
        return {"litert.js": b""}

    monkeypatch.setattr(browser, "runtime_files", runtime_files)
    return asked


@pytest.fixture
def models(tiny_run: RunResult) -> Path:
    return tiny_run.folder / "models"


def test_has_something_for_each_kind_of_device(models: Path, tmp_path: Path, litert_js: list[bool]) -> None:
    parts = make_bundle(models / "qat-int8.tflite", tmp_path / "device")
    assert [(part.device, part.there) for part in parts] == [
        ("Linux board", True),
        ("microcontroller", True),
        ("browser", True),
    ]
    device = tmp_path / "device"
    folders = {"board", "microcontroller", "browser"}
    assert {entry.name for entry in device.iterdir()} == {"policy.tflite", "policy.json", "README.md", *SCRIPTS, *folders}
    twin, proven = EdgePolicy.load(device / "board" / TWIN), EdgePolicy.load(models / "qat-int8.tflite")
    assert [twin(each) for each in OBSERVATIONS] == [proven(each) for each in OBSERVATIONS]
    assert (device / "browser" / "policy.tflite").read_bytes() == (device / "board" / TWIN).read_bytes()
    readme = (device / "README.md").read_text()
    assert all(part.remark in readme for part in parts[1:]) and "policy_step(observation)" in readme
    assert litert_js == [False]
    make_bundle(models / "qat-int8.tflite", tmp_path / "device", fetch=True)
    assert litert_js == [False, True]


def test_plays_from_a_folder_of_its_own_with_nothing_of_ours(models: Path, tmp_path: Path) -> None:
    source = models / "qat-int8.tflite"
    make_bundle(source, tmp_path / "device")
    device = tmp_path / "device"
    assert (device / "policy.tflite").read_bytes() == source.read_bytes()
    code = (
        "import sys; sys.modules['edgedqn'] = sys.modules['tensorflow'] = None\n"
        "from edge_policy import EdgePolicy; print(EdgePolicy.load('policy.tflite')([0.0, 0.1, 0.05, 0.0]))"
    )
    played = subprocess.run([sys.executable, "-c", code], cwd=device, capture_output=True, text=True, check=True)
    assert played.stdout.strip() == str(edge_policy.EdgePolicy.load(source)([0.0, 0.1, 0.05, 0.0]))


def test_the_evidence_gains_what_a_microcontroller_is_asked_for(models: Path, tmp_path: Path) -> None:
    source = models / "qat-int8.tflite"
    make_bundle(source, tmp_path / "device")
    before, after = read_verified(source), read_verified(tmp_path / "device" / "policy.tflite")
    evidence = dict(after.evidence)
    found = evidence.pop("microcontroller")
    assert (after.device, evidence) == (before.device, before.evidence)
    assert found["arena_bytes"] == tflm.arena_bytes(source.read_bytes()) < found["arena_bounds"]["reference"]
    if not missing_tools(bundle.MEASURED):
        cost = found["cortex_m4"]
        assert cost == bundle.network_cost(tmp_path / "device" / "microcontroller")
        assert cost.keys() == {"instructions", "code_bytes", "constants_bytes", "stack_bytes"}
        assert cost["instructions"] > 1_000
    else:
        assert found["cortex_m4"] is None


def test_tools_that_fail_cost_the_figures_and_not_the_bundle(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(folder: Path) -> None:
        raise RuntimeError("arm-none-eabi-gcc exited with 1: unknown option")

    monkeypatch.setattr(bundle, "missing_tools", lambda core: [])
    monkeypatch.setattr(bundle, "network_cost", broken)
    small = make_bundle(models / "qat-int8.tflite", tmp_path / "device")[1]
    assert small.there and "is not known: arm-none-eabi-gcc exited with 1" in small.remark
    assert read_verified(tmp_path / "device" / "policy.tflite").evidence["microcontroller"]["cortex_m4"] is None


@pytest.mark.parametrize(
    ("name", "units", "words"), [("qat-int8", [1.0, 2.0], "expected 1 or 4. Got 2"), ("float32", [1.0], "expected int8 input")]
)
def test_units_that_fit_no_sensor_or_no_firmware_make_no_bundle(
    models: Path, tmp_path: Path, name: str, units: list[float], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        make_bundle(models / f"{name}.tflite", tmp_path / "device", units=units)
    assert not any(tmp_path.iterdir())


def test_a_file_with_float_ends_is_its_own_page_and_nothing_for_a_microcontroller(models: Path, tmp_path: Path) -> None:
    _, small, page = make_bundle(models / "float32.tflite", tmp_path / "device")
    device = tmp_path / "device"
    assert not (device / "board").exists() and not (device / "microcontroller").exists()
    assert page.there and (device / "browser" / "policy.tflite").read_bytes() == (models / "float32.tflite").read_bytes()
    assert not small.there and small.remark.endswith("Got float32 and float32.")
    assert small.remark in (device / "README.md").read_text() and str(models) not in small.remark


def test_without_litert_js_there_is_a_bundle_and_a_word_about_it(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_npm(fetch: bool) -> None:
        raise InputError("Expected npm to be installed. Got none.")

    monkeypatch.setattr(browser, "runtime_files", no_npm)
    page = make_bundle(models / "qat-int8.tflite", tmp_path / "device")[2]
    assert (page.there, page.remark) == (False, "No page for browsers. Expected npm to be installed. Got none.")
    assert not (tmp_path / "device" / "browser").exists()
    assert page.remark in (tmp_path / "device" / "README.md").read_text()


def test_without_tools_and_without_tflite_micro_there_is_a_bundle(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "missing_tools", lambda core: ["qemu-system-arm"])
    small = make_bundle(models / "qat-int8.tflite", tmp_path / "device")[1]
    assert small.there and small.remark.endswith("`policy.c` needs none.")
    assert read_verified(tmp_path / "device" / "policy.tflite").evidence["microcontroller"]["cortex_m4"] is None
    monkeypatch.setattr(sys, "executable", "/bin/false")
    small = make_bundle(models / "qat-int8.tflite", tmp_path / "device")[1]
    assert not small.there and not (tmp_path / "device" / "microcontroller").exists()


def test_what_somebody_put_into_a_bundle_outlives_it(models: Path, tmp_path: Path) -> None:
    device = tmp_path / "device"
    make_bundle(models / "float32.tflite", device)
    (device / "board.json").write_text("measured")
    (device / "notes").mkdir()
    (device / "notes" / "mine.txt").write_text("mine")
    loop = (device / "run_policy.py").read_text()
    (device / "run_policy.py").write_text("my sensors")
    (device / "README.md").write_text("old")
    make_bundle(models / "qat-int8.tflite", device)
    assert (device / "board.json").read_text() == "measured" and (device / "notes" / "mine.txt").read_text() == "mine"
    assert (device / "run_policy.old.py").read_text() == "my sensors" and (device / "run_policy.py").read_text() == loop
    assert (device / "README.md").read_text() != "old" and EdgePolicy.load(device / "policy.tflite")
    assert [entry.name for entry in tmp_path.iterdir()] == ["device"]
    remove_bundle(device)
    kept = {entry.name for entry in (tmp_path / "device.kept").iterdir()}
    assert not device.exists() and kept == {"board.json", "notes", "run_policy.old.py"}


def test_a_bundle_that_nobody_touched_goes_without_a_trace(models: Path, tmp_path: Path) -> None:
    make_bundle(models / "float32.tflite", tmp_path / "device")
    for _ in range(2):
        remove_bundle(tmp_path / "device")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_not_followed(models: Path, tmp_path: Path, there: bool) -> None:
    """What it leads to may be another's bundle, or none."""
    elsewhere, device = tmp_path / "elsewhere", tmp_path / "run" / "device"
    device.parent.mkdir()
    if there:
        make_bundle(models / "float32.tflite", elsewhere)
        (elsewhere / "mine.txt").write_text("mine")
    before = sorted(path.name for path in elsewhere.iterdir()) if there else None
    device.symlink_to(elsewhere)
    with pytest.warns(UserWarning, match="was a symlink and is a folder now; .*elsewhere stays as it was"):
        make_bundle(models / "qat-int8.tflite", device)
    assert not device.is_symlink() and EdgePolicy.load(device / "policy.tflite") and not (device / "mine.txt").exists()
    remove_bundle(device)
    device.symlink_to(elsewhere)
    remove_bundle(device)
    assert list(device.parent.iterdir()) == []
    assert (sorted(path.name for path in elsewhere.iterdir()) if there else None) == before


def test_replaces_nothing_but_a_bundle(models: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    (tmp_path / "mine" / "policy.tflite").write_text("")
    for taken in (tmp_path / "mine", tmp_path / "mine" / "thesis.tex"):
        with pytest.raises(InputError, match="in the way: expected a new or an empty folder"):
            make_bundle(models / "qat-int8.tflite", taken)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_bundles_own_policy_can_be_bundled_again(models: Path, tmp_path: Path) -> None:
    make_bundle(models / "qat-int8.tflite", tmp_path / "device")
    before = read_verified(tmp_path / "device" / "policy.tflite")
    make_bundle(tmp_path / "device" / "policy.tflite", tmp_path / "device")
    after = read_verified(tmp_path / "device" / "policy.tflite")
    assert (after.content, after.device, after.evidence) == (before.content, before.device, before.evidence)


def test_the_same_policy_gives_the_same_bundle(models: Path, tmp_path: Path) -> None:
    def made(name: str) -> dict[str, bytes]:
        make_bundle(models / "qat-int8.tflite", tmp_path / name)
        files = [path for path in (tmp_path / name).rglob("*") if path.is_file()]
        return {path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in files}

    assert made("one") == made("two")


def test_a_damaged_file_makes_no_bundle(models: Path, tmp_path: Path) -> None:
    content = bytearray((models / "qat-int8.tflite").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "bad.tflite").write_bytes(content)
    with pytest.raises(PolicyFileError):
        make_bundle(tmp_path / "bad.tflite", tmp_path / "device")
    assert [entry.name for entry in tmp_path.iterdir()] == ["bad.tflite"]


def test_a_file_is_parsed_once(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parsed: Counter[bytes] = Counter()
    parse = TfliteModel.__init__

    def count(model: TfliteModel, content: bytes) -> None:
        parsed[content] += 1
        parse(model, content)

    monkeypatch.setattr(TfliteModel, "__init__", count)
    source = models / "qat-int8.tflite"
    make_bundle(source, tmp_path / "device")
    twin = tmp_path / "device" / "board" / TWIN
    assert parsed[source.read_bytes()] == parsed[twin.read_bytes()] == 1 and set(parsed.values()) == {1}
    for use in (EdgePolicy.load, inspect):
        parsed.clear()
        use(source)
        assert parsed == {source.read_bytes(): 1}
    parsed.clear()
    bench([source], latency=SHORT, play=False)
    assert parsed[source.read_bytes()] == 1


def test_a_zip_of_a_bundle_holds_all_of_it_and_the_same_bytes_again(tmp_path: Path) -> None:
    folder = tmp_path / "device"
    (folder / "board").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "policy.tflite").write_bytes(b"TFL3")
    (folder / "board" / "twin.tflite").write_bytes(b"twin")
    (folder / "__pycache__" / "edge_policy.pyc").touch()
    archive = write_archive(folder)
    first = archive.read_bytes()
    assert (archive, write_archive(folder).read_bytes()) == (tmp_path / "device.zip", first)
    with zipfile.ZipFile(archive) as opened:
        assert opened.namelist() == ["device/board/twin.tflite", "device/policy.tflite"]
        assert opened.read("device/policy.tflite") == b"TFL3"
    assert has_archive(folder)
    archive.write_bytes(b"somebody's")
    with pytest.raises(InputError, match="is in the way: expected a new file, or the zip of an earlier bundle"):
        write_archive(folder)
    assert archive.read_bytes() == b"somebody's"


def test_a_runs_zip_is_linked_in_its_report_until_the_bundle_is_another(tiny_run: RunResult, tmp_path: Path) -> None:
    if tiny_run.shipped is None:
        pytest.skip("nothing passed its gate")
    shutil.copytree(tiny_run.folder, tmp_path / "run")
    run, link = RunFolder.open(tmp_path / "run"), '<a href="device.zip" download>'
    assert link not in run.report.read_text()
    job = Job.open(run.path)
    with job.locked():
        job.bundle(zipped=True)
    assert run.archive.exists() and link in run.report.read_text()
    with zipfile.ZipFile(run.archive) as opened:
        assert opened.read("device/policy.tflite") == (run.device / "policy.tflite").read_bytes()
