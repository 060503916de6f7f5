"""The smallest policies of the README, each as one bundle on all that stands for a device: the same actions everywhere.

`docs/results/policies.py` makes them.
"""

import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from edgedqn.agents.playing.environments import make_environment
from edgedqn.benchmarks.cores.core import CORES, missing_tools
from edgedqn.benchmarks.cores.stepping import Task, build_stepping, run_steps
from edgedqn.export.devices.board.bundle import TWIN
from edgedqn.export.edge_policy import EdgePolicy, read_verified
from edgedqn.export.tflite_file.tflm import compare_runtimes, int8_inputs, tflm_rows
from edgedqn.pipeline.bundle import make_bundle

POLICIES = Path(__file__).parents[3] / "docs" / "results" / "policies"
NAMES = ("CartPole-v1", "LunarLander-v3", "MinAtar-Breakout-v1")
OBSERVATIONS = 1_000
CORTEX_M4 = CORES["cortex-m4f"]
pytestmark = pytest.mark.skipif(not POLICIES.parent.exists(), reason="the wheel has no docs; the checkout's suite runs this")
ARTIFACTS = Path(__file__).parents[3] / "build" / "device-lab"


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder of its own, and observations [1000, ...] of episodes that its policy played, a tenth at random."""

    folder: Path
    observations: NDArray[Any]


@pytest.fixture(scope="module", params=NAMES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, litert_js: dict[str, bytes]) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "device"
    path = POLICIES / f"{request.param}.tflite"
    parts = make_bundle(path, folder, fetch=True)
    assert [part.there for part in parts] == [True, True, True]
    return Bundle(folder, played(EdgePolicy.load(path)))


def played(policy: EdgePolicy) -> NDArray[Any]:
    rng = np.random.default_rng(5)
    met: list[NDArray[Any]] = []
    with closing(make_environment(policy.device.env_id)) as env:
        observation, _ = env.reset(seed=31)
        while len(met) < OBSERVATIONS:
            met.append(observation)
            action = policy(observation) if rng.random() > 0.1 else int(rng.integers(policy.n_actions))
            observation, _, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                policy.reset()
                observation, _ = env.reset()
    return np.array(met)


@pytest.mark.parametrize("name", ["policy.tflite", f"board/{TWIN}"])
def test_an_aarch64_board_computes_the_rows_of_this_machine(
    bundle: Bundle, board_python: Callable[..., str], ask_board: str, name: str
) -> None:
    np.save(bundle.folder / "observations.npy", bundle.observations)
    (bundle.folder / "ask.py").write_text(ask_board)
    answer = json.loads(board_python(bundle.folder, "ask.py", name))
    policy = EdgePolicy.load(bundle.folder / name)
    actions = [policy(x) for x in bundle.observations]
    assert answer["machine"] == "aarch64" and len(set(actions)) > 1
    assert answer["actions"] == actions
    assert answer["rows"] == [policy.preferences(x).tolist() for x in bundle.observations]


def test_a_board_plays_as_this_machine_does(bundle: Bundle, board_python: Callable[..., str]) -> None:
    told = board_python(bundle.folder, "run_policy.py", "--steps", "10", "--hertz", "1000").splitlines()
    assert told[0].startswith("Observation to action: ") and len(told[-1].split()) == 10


def test_tflite_micro_acts_as_xnnpack_does(bundle: Bundle) -> None:
    policy = EdgePolicy.load(bundle.folder / "policy.tflite")
    content = (bundle.folder / "policy.tflite").read_bytes()
    found = compare_runtimes(content, int8_inputs(policy.device, bundle.observations))
    assert found.action_agreement >= 0.99
    # Two numbers of a row may move towards each other, either by the difference. On the 10,000 states of
    # docs/measured/microcontrollers.md no gap is larger than the difference itself; on
    # these 1,000 LunarLander-v3's is 4 steps where the difference is 3.
    assert found.largest_gap_of_a_disagreement_steps <= 2 * found.largest_difference_steps


def test_a_cortex_m4_computes_the_rows_of_tflite_micro(
    bundle: Bundle, absent: Callable[[str], NoReturn], tmp_path: Path
) -> None:
    """From observation to action, in plain C."""
    if missing := missing_tools(CORTEX_M4):
        absent(f"needs {missing}")
    sources = bundle.folder / "microcontroller"
    evidence = json.loads((bundle.folder / "policy.json").read_text())["evidence"]["microcontroller"]
    assert evidence["arena_bytes"] > 500
    assert evidence["cortex_m4"]["instructions"] > 50
    observations = bundle.observations
    tasks = [Task.OBSERVATION.written(observation) for observation in observations]
    found = run_steps(CORTEX_M4, build_stepping(CORTEX_M4, sources, tmp_path), tasks, inputs=observations[0].size)
    file = read_verified(bundle.folder / "policy.tflite")
    rows = tflm_rows(file.content, int8_inputs(file.device, observations))
    np.testing.assert_array_equal(found.outputs, rows)
    np.testing.assert_array_equal(found.actions, rows.argmax(1))


def test_a_browser_computes_the_actions_of_python(bundle: Bundle, page: Any, serve: Callable[[Path], str]) -> None:
    policy = EdgePolicy.load(bundle.folder / "browser" / "policy.tflite")
    observations = bundle.observations[:200]
    page.open(serve(bundle.folder / "browser"), still=True)
    actions = page.evaluate(
        f"policy.then(async p => {{ const out = []; for (const x of {json.dumps(observations.tolist())}) "
        "out.push(await p.act(x.flat ? x.flat(Infinity) : x)); return out; })"
    )
    assert actions == [policy(x) for x in observations]
    assert len(set(actions)) > 1
    page.screenshot(ARTIFACTS / f"{re.sub(r'[^A-Za-z0-9]+', '-', policy.device.env_id)}.png")
    assert page.complaints == []


def test_a_page_plays_the_images_that_an_episode_showed(bundle: Bundle, page: Any, serve: Callable[[Path], str]) -> None:
    page.open(serve(bundle.folder / "browser"))
    page.evaluate("policy.then(() => true)")
    page.evaluate("document.getElementById('speed').value = '16'")
    text = page.evaluate("new Promise(done => setTimeout(() => done(document.body.innerText), 1500))")
    shown = dict(zip(lines := text.splitlines(), lines[1:], strict=False))
    assert ("As in Python" in shown) == (bundle.observations[0].ndim == 3)
    if "As in Python" in shown:
        same, count = map(int, shown["As in Python"].split(" of "))
        assert same == count > 0
        page.screenshot(ARTIFACTS / "recorded.png")
