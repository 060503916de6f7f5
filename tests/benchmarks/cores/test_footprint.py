from pathlib import Path
from typing import Any

import pytest

from edgedqn.benchmarks.cores.core import CORES, Core, missing_tools
from edgedqn.benchmarks.cores.footprint import measure
from edgedqn.benchmarks.cores.programs import TooLargeError


def test_counts_and_weighs_what_is_known(core: Core, policy: Path) -> None:
    found = measure(core, policy)
    assert found == measure(core, policy)
    if core.unit is None:
        assert found.infer is found.quantize is None
    else:
        loop = {"instructions": 1_000, "cycles": 2_000}[core.unit]
        assert found.infer is not None and found.quantize is not None
        assert loop + 5 <= found.infer <= loop + 150
        assert 2 <= found.quantize <= 150
    constants_in_ram = core.int_bytes == 2
    assert found.ram_bytes - 5 - 64 * constants_in_ram in range(4)
    assert found.constants_bytes == 64 * (not constants_in_ram)
    assert 20 <= found.code_bytes <= 1_000  # without an FPU, a comparison of floats is long
    if core.unit:  # s390x puts what it saves above a frame
        assert 96 <= found.stack_bytes <= 136


def test_the_network_alone_costs_less(policy: Path) -> None:
    core = CORES["cortex-m0"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    alone, whole = measure(core, policy, files=["policy.c"]), measure(core, policy)
    assert (alone.infer, alone.quantize, alone.constants_bytes) == (whole.infer, 0, 64)
    assert alone.flash_bytes < whole.flash_bytes - 50


def test_integers_quantize_at_a_quarter_of_what_floats_took_on_a_cortex_m0(sources_of: Any, readme_policies: Path) -> None:
    core = CORES["cortex-m0"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    found = measure(core, sources_of(readme_policies / "CartPole-v1.tflite").folder)
    assert found.quantize is not None and found.quantize_q is not None
    assert found.quantize_q < 2_612 / 4 < found.quantize


def test_an_image_is_quantized_from_bytes_where_floats_have_no_room(sources_of: Any, readme_policies: Path) -> None:
    core = CORES["atmega328p"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    folder = sources_of(readme_policies / "MinAtar-Breakout-v1.tflite").folder
    found, alone = measure(core, folder), measure(core, folder, files=["policy.c"])
    assert found.quantize_q is None and found.quantize is not None and found.infer is not None
    assert alone.infer == pytest.approx(found.infer, rel=0.01)  # of another input
    assert alone.quantize == 0 and alone.flash_bytes < found.flash_bytes
    assert 100_000 < found.quantize < 1_000_000 < found.infer


def test_counts_further_than_the_counter_goes(policy: Path) -> None:
    core = CORES["cortex-m4f"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    source = policy / "policy.c"
    source.write_text(source.read_text().replace("count = 500", "count = 4000000"))
    infer = measure(core, policy).infer
    assert infer is not None and 8_000_005 <= infer <= 8_000_100


def test_a_stack_that_meets_static_memory_does_not_fit(policy: Path) -> None:
    core = CORES["atmega328p"]
    if missing_tools(core):
        pytest.skip(f"not installed: {missing_tools(core)}")
    source = policy / "policy.c"
    deep = (
        source.read_text()
        .replace("space[96]", "space[1990]")
        .replace("space[0] =", "for (int i = 0; i < 1990; ++i) space[i] = 1; space[0] =")
    )
    source.write_text(deep)
    with pytest.raises(TooLargeError, match="expected the stack of a step to fit"):
        measure(core, policy)
