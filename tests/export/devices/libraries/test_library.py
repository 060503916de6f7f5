import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.export.devices.libraries.example import observation_header
from edgedqn.export.devices.libraries.library import LONGEST_NAME, LibraryDetails, build_library, library_name
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import Actions, VerifiedFile, read_verified

STRICT = ("-Wall", "-Wextra", "-Wconversion", "-Wsign-compare", "-pedantic", "-Werror")
TFLM_DECLARED = Path(__file__).parents[1] / "microcontroller" / "tflm_declared"
# The expected action twice, whatever was in between; then how many features were clamped, and the environment's own action.
PROGRAM = """
#include <stdio.h>
#include "{name}.h"
#include "observation.h"
int main() {{
  const policy_element other[POLICY_OBSERVATION] = {{}};
  float own[1] = {{}};
  Policy policy;
  const int first = policy.act(observation{legal});
  policy.act(other{legal});
  policy.reset();
  printf("%d %d %d", first == EXPECTED_ACTION, policy.act(observation{legal}) == EXPECTED_ACTION, policy.saturated());
  {own}
  (void)own;
}}
"""


@pytest.mark.parametrize("engine", [0, 1])
@pytest.mark.parametrize(
    ("shape", "dtype", "steps", "units"),
    [
        ((4,), "float32", "", None),
        ((4,), "float32", "", [0.001, -0.5, 1.0, 2.0]),
        ((2,), "float64", "frame_stack:2", None),
        ((2,), "float32", "action_mask", [0.25]),
        ((2, 2), "uint8", "flatten", None),
        ((1, 2, 1), "bool", "frame_stack:2", None),
        ((), "int64", "one_hot action_mask", None),
        ((), "int64", "one_hot", [1.0]),
    ],
)
def test_the_class_takes_what_the_environment_gives_and_acts_as_edge_policy_does(
    seen_as: Callable[..., VerifiedFile],
    tmp_path: Path,
    shape: tuple[int, ...],
    dtype: str,
    steps: str,
    units: list[float] | None,
    engine: int,
) -> None:
    """Without a warning, as C99 and C++11 or, with TensorFlow Lite Micro, C++17."""
    actions = Actions(((-0.5, 0.25),), (1,), "float32") if dtype == "float64" else None
    file = seen_as(shape, dtype, *steps.split(), actions=actions)
    library = build_library(file, "demo", LibraryDetails(), units=units)
    legal = ", legal" if file.device.masked else ""
    own = "" if actions is None else 'printf(" %d", policy.action(1, own) && own[0] == 0.25f && !policy.action(-1, own));'
    main = PROGRAM.format(name=library.name, legal=legal, own=own)
    for name, text in {**library.sources, "observation.h": observation_header(file, units), "main.cpp": main}.items():
        (tmp_path / name).write_text(text)
    sources = [name for name in library.compiled if engine or not name.endswith(".cpp")]
    c, cpp = ([name for name in sources if name.endswith(end)] for end in (".c", ".cpp"))
    defined = [*STRICT, f"-DPOLICY_USE_TFLM={engine}"]
    cpp_options = ["-std=c++17", f"-I{TFLM_DECLARED}", "-I."] if engine else ["-std=c++11"]
    objects = [f"{name}.o" for name in c]
    for name, compiled in zip(c, objects, strict=True):
        subprocess.run(["cc", "-std=c99", *defined, "-c", name, "-o", compiled], cwd=tmp_path, check=True)
    subprocess.run(["c++", *cpp_options, *defined, "main.cpp", *cpp, *objects, "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    assert re.fullmatch("1 1 0 1" if actions else r"1 1 \d", printed)


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
