import json
import uuid
from pathlib import Path

import fsspec
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.sweeps.store import Store


@pytest.fixture(params=["folder", "file", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return {
        "folder": str(tmp_path / "sweep"),
        "file": f"file://{tmp_path}/sweep",
        "memory": f"memory://{uuid.uuid4().hex}",
    }[request.param]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    (folder / "models").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    (folder / "models" / "a.tflite").write_bytes(b"\x00\xff")
    return folder


def test_what_is_put_is_got(url: str, run: Path, tmp_path: Path) -> None:
    store = Store(url)
    assert store.result("file-1") is None and store.keys() == set()
    store.put("file-1", run, {"bytes": 2})
    assert Store(url).result("file-1") == {"bytes": 2} and store.keys() == {"file-1"}
    store.get("file-1", tmp_path / "copy")
    files = [path for path in (tmp_path / "copy").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "copy").as_posix() for path in files) == ["models/a.tflite", "run.json"]
    assert (tmp_path / "copy" / "models" / "a.tflite").read_bytes() == b"\x00\xff"


def test_who_does_it_again_disturbs_nobody(url: str, run: Path, tmp_path: Path) -> None:
    store = Store(url)
    store.put("file-1", run, {"bytes": 2})
    first = store.place("file-1")
    (run / "run.json").write_text('{"seconds": 3}')
    store.put("file-1", run, {"bytes": 2})
    assert store.place("file-1") != first
    store.get("file-1", tmp_path / "copy")
    assert (tmp_path / "copy" / "run.json").read_text() == '{"seconds": 3}'


def test_what_was_not_finished_is_not_there(url: str, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(url)
    write, left = Store._write, iter([True])

    def fails_at_the_second(self: Store, name: str, content: bytes) -> str:
        if not next(left, False):
            raise OSError(28, "No space left on device")
        return write(self, name, content)

    monkeypatch.setattr(Store, "_write", fails_at_the_second)
    with pytest.raises(OSError, match="No space left"):
        store.put("file-1", run, {})
    assert store.result("file-1") is None


def test_a_damaged_file_is_refused_by_name(run: Path, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "sweep"))
    store.put("file-1", run, {})
    (tmp_path / "sweep" / store.place("file-1") / "models" / "a.tflite").write_bytes(b"\x01\xff")
    with pytest.raises(InputError, match=r"a\.tflite is damaged: expected SHA-256"):
        store.get("file-1", tmp_path / "copy")


@pytest.mark.parametrize("name", ["/tmp/elsewhere", "../elsewhere", "a/../../b", "a\\\\b"])
def test_a_manifest_that_leads_elsewhere_is_refused(run: Path, tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path / "sweep"))
    store.put("file-1", run, {})
    path = tmp_path / "sweep" / "work" / "file-1.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "files": {name: "0" * 64}}))
    with pytest.raises(InputError, match="expected names below its folder"):
        store.get("file-1", tmp_path / "copy")
    path.write_text(json.dumps({**manifest, "folder": "work/file-1-x/../../.."}))
    with pytest.raises(InputError, match="is damaged, or of another version"):
        store.place("file-1")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"schema": 1}'])
def test_a_damaged_manifest_is_refused_by_name(tmp_path: Path, text: str) -> None:
    store = Store(str(tmp_path))
    store.write_text("work/file-1.json", text)
    with pytest.raises(InputError, match=r"work/file-1\.json is damaged"):
        store.result("file-1")


def test_workers_that_stand_elsewhere_find_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Store("runs/x").url == str(tmp_path / "runs" / "x")


def test_a_folder_is_known_as_one(tmp_path: Path) -> None:
    assert Store(str(tmp_path)).folder == tmp_path
    assert Store("memory://x").folder is None


@pytest.mark.parametrize("url", ["nosuch://bucket/sweep"])
def test_an_unknown_kind_of_url_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"expected a folder or a URL for fsspec\. Got: "):
        Store(url)


def test_texts_lie_beside_the_work(url: str) -> None:
    store = Store(url)
    assert store.read_text("sweep.json") is None
    store.write_text("sweep.json", "{}")
    assert store.read_text("sweep.json") == "{}"
    fsspec.filesystem("memory").store.clear()
