"""The page in a real browser: same actions as Python, an episode played, nothing asked of anybody else."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

from edgedqn.export.devices.browser.bundle import write_browser
from edgedqn.export.edge_policy import DeviceManifest, EdgePolicy, parse_step, read_verified

Serve = Callable[[Path], str]
ARTIFACTS = Path(__file__).parents[3] / "build" / "device-lab"
PLAYED = "new Promise(done => setTimeout(() => done(document.body.innerText), 1500))"


@pytest.fixture
def site(tmp_path: Path, cartpole_files: tuple[Path, Path], litert_js: dict[str, bytes]) -> Path:
    write_browser(read_verified(cartpole_files[1]), tmp_path / "site", runtime=litert_js)
    return tmp_path / "site"


def answers(page: Any, method: str, observations: np.ndarray[Any, Any]) -> Any:
    """What the page's policy says to each observation."""
    return page.evaluate(
        f"policy.then(async p => {{ const out = []; for (const x of {json.dumps(observations.tolist())}) "
        f"out.push(await p.{method}(x)); return out.map(y => typeof y === 'number' ? y : Array.from(y)); }})"
    )


def test_computes_the_actions_that_python_computes(
    page: Any, serve: Serve, site: Path, cartpole_files: tuple[Path, Path]
) -> None:
    observations = np.random.default_rng(3).normal(size=(200, 4)).astype(np.float32)
    policy = EdgePolicy.load(cartpole_files[1])
    page.open(serve(site), still=True)
    actions = answers(page, "act", observations)
    assert actions == [policy(x) for x in observations]
    assert set(actions) == {0, 1}  # else any page would pass
    rows = np.array(answers(page, "preferences", observations[:50]), np.float32)
    np.testing.assert_array_equal(rows, [policy.preferences(x) for x in observations[:50]])


@pytest.mark.parametrize(
    ("shape", "dtype", "preprocessing", "taken"),
    [
        ((), "int64", ["one_hot"], (6,)),
        ((3,), "float32", ["frame_stack:4"], (12,)),
        ((4, 5), "uint8", ["frame_stack:3"], (4, 5, 3)),
        ((4, 5, 2), "uint8", ["frame_stack:3"], (4, 5, 6)),
        ((4, 5), "float32", ["flatten"], (20,)),
        ((3,), "float32", ["action_mask"], (5,)),
        ((), "int64", ["one_hot", "action_mask"], (8,)),
    ],
)
def test_prepares_observations_as_python_does_and_keeps_no_frame_that_it_refused(
    page: Any, serve: Serve, site: Path, shape: tuple[int, ...], dtype: str, preprocessing: list[str], taken: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(6)
    observations = [rng.integers(0, 6, shape).astype(dtype) for _ in range(7)]
    masks = [[1, 0], [1, 1], [0, 1]] * 3
    python = prepared_by_python(shape, preprocessing, taken, observations, masks)
    environment = {"observation_shape": shape, "preprocessing": preprocessing, "n_actions": 2}
    given = [x.ravel().tolist() if shape else int(x) for x in observations]
    page.open(serve(site), still=True)
    rows = page.evaluate(
        f"import('./policy.js').then(({{BrowserPolicy}}) => {{ const p = Object.create(BrowserPolicy.prototype); p.reset(); "
        f"p.device = {{environment: {json.dumps(environment)}}}; p.size = {int(np.prod(taken))}; "
        "const refused = x => { try { p.preprocess(x.map(() => NaN)); } catch (error) { return; } throw 'a NaN was taken'; }; "
        f"const given = {json.dumps(given)}, masks = {json.dumps(masks)}; "
        "return given.map((x, i) => { if (i === 2 && x.length) refused(x); return Array.from(p.preprocess(x, masks[i])); }); })"
    )
    np.testing.assert_array_equal(rows, python)


def prepared_by_python(
    shape: tuple[int, ...],
    preprocessing: list[str],
    taken: tuple[int, ...],
    observations: list[Any],
    masks: list[list[int]],
) -> list[Any]:
    """What EdgePolicy makes of each observation of an episode, flat."""

    class Recorder:
        """An interpreter of one float32 input, that keeps what it is given."""

        def get_input_details(self) -> list[dict[str, Any]]:
            return [{"shape": np.array((1, *taken)), "dtype": np.float32, "index": 0}]

        def get_output_details(self) -> list[dict[str, Any]]:
            return [{"shape": np.array((1, 2)), "dtype": np.float32, "index": 1}]

        def set_tensor(self, index: int, value: Any) -> None:
            seen.append(value.ravel().copy())

        def invoke(self) -> None:
            pass

        def get_tensor(self, index: int) -> Any:
            return np.zeros((1, 2), np.float32)

    seen: list[Any] = []
    device = DeviceManifest(
        env_id="Test-v0",
        observation_shape=shape,
        observation_dtype=observations[0].dtype.name,
        n_actions=2,
        preprocessing=tuple(map(parse_step, preprocessing)),
        scale=(1.0,),
        offset=(0.0,),
        meaning="preferences",
        recipe="",
    )
    policy = EdgePolicy(Recorder(), device)
    for observation, mask in zip(observations, masks, strict=False):
        policy(observation, mask)
    return seen


def test_takes_legal_actions_and_gives_the_environments_own(page: Any, serve: Serve, site: Path) -> None:
    observations = np.random.default_rng(4).normal(size=(50, 4)).astype(np.float32)
    page.open(serve(site), still=True)
    assert set(answers(page, "act", observations)) == {0, 1}
    assert page.evaluate(
        f"policy.then(async p => {{ const out = []; for (const x of {json.dumps(observations.tolist())}) "
        "for (const legal of [0, 1]) out.push(await p.act(x, [legal === 0, legal === 1]) === legal); return out; })"
    ) == [True] * (2 * len(observations))
    refused = page.evaluate("policy.then(p => p.act([0, 0, 0, 0], [0, 0])).catch(error => error.message)")
    assert refused == "Expected a legal action or more. Got none."
    own = page.evaluate(
        "policy.then(p => { p.device.environment.actions = {levels: [[-1, 0, 1], [2, 4]]}; "
        "return [0, 1, 4, 5].map(i => p.own(i)); })"
    )
    assert own == [[-1, 2], [-1, 4], [1, 2], [1, 4]]


def test_plays_shows_return_and_latency_and_asks_nobody_else(page: Any, serve: Serve, site: Path) -> None:
    url = serve(site)
    page.open(url)
    page.evaluate("policy.then(() => true)")
    text = page.evaluate(PLAYED)
    page.screenshot(ARTIFACTS / "cartpole-light.png")
    shown = dict(zip(lines := text.splitlines(), lines[1:], strict=False))
    assert float(shown["Latency of a step"].removesuffix(" µs")) > 0
    assert shown["Step"].endswith(" of 500")
    assert float(shown["Mean of episodes"].split()[0]) >= 8  # an untrained policy falls at once, and has begun again
    assert page.complaints == []
    hosts = {urlsplit(request).netloc for request in page.requests if not request.startswith("data:")}
    assert hosts == {urlsplit(url).netloc}
    assert {Path(urlsplit(request).path).name for request in page.requests} >= {"litert_wasm_internal.wasm", "policy.tflite"}


def test_waits_for_a_button_where_less_motion_is_asked_for(page: Any, serve: Serve, site: Path) -> None:
    page.open(serve(site), dark=True, still=True)
    page.evaluate("policy.then(() => true)")
    assert "Step\n0 of 500" in page.evaluate(PLAYED)
    page.evaluate("document.getElementById('pause').click()")
    assert "Step\n0 of 500" not in page.evaluate(PLAYED)
    page.screenshot(ARTIFACTS / "cartpole-dark.png")


def test_says_that_the_file_is_damaged(page: Any, serve: Serve, site: Path, cartpole_files: tuple[Path, Path]) -> None:
    content = bytearray(cartpole_files[1].read_bytes())
    content[len(content) // 2] ^= 1
    (site / "policy.tflite").write_bytes(content)
    page.open(serve(site))
    page.evaluate("policy.catch(() => true)")
    status = page.evaluate("document.getElementById('status').textContent")
    expected, got = read_verified(cartpole_files[1]).file_sha256, hashlib.sha256(content).hexdigest()
    assert status == f"policy.tflite is damaged: expected SHA-256 {expected}. Got {got}."


@pytest.mark.parametrize("env_id, state", [("MountainCar-v0", [-0.9, 0.02]), ("Acrobot-v1", [0.6, 0.9, 0, 0])])
def test_draws_every_environment(page: Any, serve: Serve, site: Path, env_id: str, state: list[float]) -> None:
    page.open(serve(site), still=True)
    page.evaluate("policy.then(() => true)")
    page.evaluate(
        f"import('./drawing.js').then(m => m.draw(document.getElementById('stage'), {env_id!r}, {json.dumps(state)}))"
    )
    page.screenshot(ARTIFACTS / f"{env_id}-light.png")
    painted = page.evaluate(
        "(c => { const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const seen = new Set();"
        " for (let i = 0; i < d.length; i += 4) if (d[i + 3] === 255) seen.add(d.slice(i, i + 3).join());"
        " return seen.size; })(document.getElementById('stage'))"
    )
    assert painted >= 3  # body, link and ground or goal


@pytest.mark.parametrize("width", [320, 760])
def test_needs_no_sideways_scrolling(page: Any, serve: Serve, site: Path, width: int) -> None:
    page.open(serve(site), width=width)
    page.evaluate("policy.then(() => true)")
    page.screenshot(ARTIFACTS / f"width-{width}.png")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
