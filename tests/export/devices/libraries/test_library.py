import re
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.libraries.library import LONGEST_NAME, LibraryDetails, build_library, library_name
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import read_verified


def test_a_library_has_the_sources_of_a_bundle_whatever_they_are(policy: Path, tmp_path: Path) -> None:
    file = read_verified(policy)
    library = build_library(file, "demo", LibraryDetails())
    bundled = write_microcontroller(file, tmp_path)
    own = {f"{library.name}.h", "policy_engine.h"}
    assert set(library.sources) == {name.replace(".cc", ".cpp") for name in bundled} | own
    assert list(library.sources) == sorted(library.sources) and library.has_plain_c
    for name in bundled:
        text = (tmp_path / name).read_text()
        assert text in library.sources[name.replace(".cc", ".cpp")]
        assert name.endswith(".cc") or library.sources[name] == text


def test_without_plain_c_the_engine_is_tensorflow_lite_micro(cartpole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(layers: object, sha256: str) -> dict[str, str]:
        return {}

    monkeypatch.setattr("edgedqn.export.devices.microcontroller.bundle.plain_c", without)
    library = build_library(read_verified(cartpole), "demo", LibraryDetails())
    assert not library.has_plain_c and "#define POLICY_USE_TFLM 1\n" in library.sources["policy_engine.h"]


@pytest.mark.parametrize(
    ("env_id", "run", "name"),
    [
        ("CartPole-v1", "demo", "EdgeDQN_CartPole_v1_demo"),
        ("CartPole-v1", "cartpole-v1-seed0", "EdgeDQN_cartpole_v1_seed0"),
        ("my_module:Walk/Far-v0", "qat-int8", "EdgeDQN_my_module_Walk_Far_v0_qat_int8"),
        ("Arduino-v0", "2", "EdgeDQN_Arduino_v0_2"),
        ("\u26ab", "\u5b9f\u9a13", "EdgeDQN"),
        ("E" * 80, "demo", f"EdgeDQN_{'E' * 55}"),
        (f"{'E' * 54}-v1", "demo", f"EdgeDQN_{'E' * 54}"),
    ],
)
def test_a_name_is_an_identifier_that_every_ecosystem_takes(env_id: str, run: str, name: str) -> None:
    assert library_name(env_id, run) == name
    assert re.fullmatch(r"EdgeDQN(_[A-Za-z0-9]+)*", name) and len(name) <= LONGEST_NAME


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("version", ["0.1.0", "10.0.3-rc.1"], ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0\n", "1.0.0+5", ""]),
        (
            "license",
            ["MIT", "Apache-2.0 OR GPL-3.0+", "GPL-2.0-only WITH Classpath-exception-2.0"],
            ["", "MIT\n", "the best", "-"],
        ),
        ("author", ["Ada", "Ada K. Lovelace <ada@example.org>"], ["", "Arduino", "Ada\nLovelace", "Ada <ada>", " <a@b>"]),
        ("url", ["https://example.org/a?b=c"], ["", "example.org", "https://a b", 'https://a"', "javascript:alert(1)"]),
    ],
)
def test_details_that_no_ecosystem_takes_are_refused(field: str, good: list[str], bad: list[str]) -> None:
    for value in good:
        assert getattr(LibraryDetails(**{field: value}), field) == value
    for value in bad:
        with pytest.raises(InputError, match=f"Not the {field} of a library: expected .* Got "):
            LibraryDetails(**{field: value})
