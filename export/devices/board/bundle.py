"""The part of a device bundle for Linux boards: the policy, its runtime, a loop, a benchmark, and a README of its own."""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path
from string import Template

from edgedqn.agents.files import write_bytes, write_text
from edgedqn.export import edge_policy
from edgedqn.export.devices.board.native import SOURCE, native_c
from edgedqn.export.devices.model_card import front_matter
from edgedqn.export.edge_policy import ATARI, DeviceManifest, Feature, PolicyFileError, VerifiedFile
from edgedqn.export.edge_policy import TWIN as TWIN_SUFFIX
from edgedqn.export.tflite_file.manifest import write_copy

FILES = resources.files("edgedqn.export.devices.board.scripts")
SCRIPTS = ("run_policy.py", "bench_on_device.py")
TWIN = f"policy{TWIN_SUFFIX}.tflite"


def write_board(file: VerifiedFile, folder: Path, *, twin: VerifiedFile | None = None) -> None:
    """Writes what a 64-bit Linux board needs to run a policy: numpy and ai-edge-litert beside it, nothing of ours.

    Each policy file is copied byte for byte: what was proven is what ships.

    Args:
      file: the policy.
      folder: exists; files of the same names are replaced.
      twin: the same policy with float input and output; it goes into `board/`, where `EdgePolicy.load` finds it.
    Raises:
      PolicyFileError: the two are not of one environment.
    """
    write_copy(file, folder / "policy.tflite")
    source = native_c(file)
    if twin is not None or source is not None:
        (folder / "board").mkdir(exist_ok=True)
    if twin is not None:
        if _environment(twin.device) != _environment(file.device):
            raise PolicyFileError(f"{twin.path} is of another environment: expected {file.path}'s. Got {twin.device.env_id}.")
        write_copy(twin, folder / "board" / TWIN)
    if source is not None:
        write_text(folder / "board" / SOURCE, source)
    shutil.copyfile(edge_policy.__file__, folder / "edge_policy.py")
    for name in SCRIPTS:
        write_bytes(folder / name, (FILES / name).read_bytes())
    write_text(folder / "README.md", readme(file, has_twin=twin is not None, has_source=source is not None))


def shipped_loop() -> bytes:
    """`run_policy.py` as it ships."""
    return (FILES / "run_policy.py").read_bytes()


def readme(file: VerifiedFile, *, has_twin: bool, has_source: bool) -> str:
    """What there is to know of this very policy, as Markdown, and of its twin and its C source in `board/` where they are."""
    device, shape = file.device, list(file.device.observation_shape)
    module = device.env_id.rpartition(":")[0]
    values = {
        "env_id": device.env_id,
        "recipe": device.recipe,
        "proof": proof(file.evidence),
        "size": f"{len(file.content):,}",
        "sha256": file.file_sha256,
        "seen": f"an array {shape} of {device.observation_dtype}" if shape else "the number of a state, an integer",
        "module": f", and {module.replace('.', '/')}.py lies here" if module else "",
        "given": " " * 15 + f"# the vector, or {_with_keys(device.features[0])}" if device.features else "",
        "does": ", ".join([*(str(step) for step in device.preprocessing), "scaling"]),
        "left": _left_to_you(device),
        "last_action": device.n_actions - 1,
        "choice": _choice(device),
        "own": "; `policy.action(observation)` gives the environment's own" if device.actions else "",
        "scale": _numbers(device.scale),
        "offset": _numbers(device.offset),
    }
    text = Template((FILES / "README.md").read_text(encoding="utf-8")).substitute(values)
    text = front_matter(file) + text
    more = [*["twin"] * has_twin, *["native"] * has_source]
    return text + "".join((FILES / f"README-{each}.md").read_text(encoding="utf-8") for each in more)


def proof(evidence: Mapping[str, object]) -> str:
    """What the evidence says of the policy's return, in a sentence."""
    match evidence.get("benchmark"):
        case {"return": {"mean": mean, "ci95": [low, high], "episodes": episodes}, **row}:
            text = f"Its return was {mean:.2f}, 95 % interval [{low:.2f}, {high:.2f}], over {episodes:,} episodes"
            gate = row.get("gate")
            return f"{text}; gate against the float policy: {gate}." if gate else f"{text}."
        case _:
            return "Its return was not measured."


def _environment(device: DeviceManifest) -> DeviceManifest:
    """What the manifest says of the environment alone."""
    return replace(device, scale=(1.0,), offset=(0.0,), meaning="preferences", recipe="")


def _choice(device: DeviceManifest) -> str:
    if device.meaning == "action":
        return "the file itself chooses it"
    return f"the index of the largest of {device.n_actions} {device.meaning}, the lowest among equals"


def _left_to_you(device: DeviceManifest) -> str:
    if not device.features:
        return _left_of_a_vector(device)
    named, more = ", ".join(map(_as_code, device.features)), _left_of_a_vector(device)
    order = f"put these in one vector, in this order: {named}"
    return order if more == "nothing" else f"{order}; {more}"


def _as_code(feature: Feature) -> str:
    """A feature with its key as Python and JSON write it, in a cell of a Markdown table."""
    key = json.dumps(feature.key).replace("`", "\\u0060").replace("|", "\\u007c")
    return str(feature._replace(key=f"`{key}`")) if feature.key else str(feature)


def _with_keys(first: Feature) -> str:
    """What `EdgePolicy` takes in place of the vector, by its first feature."""
    if not first.key:
        return "the categories"
    return "a tuple that has these parts" if first.key.partition("/")[0].isdecimal() else "a dict that has these keys"


def _left_of_a_vector(device: DeviceManifest) -> str:
    if ATARI in device.preprocessing:
        fire = "" if device.env_id.rpartition(":")[2].startswith("ALE/") else "FIRE where a life begins, if the game has it; "
        game = (
            "play four frames a step, and give the last two screens, [2, H, W, 3], the first of an episode alone, [1, H, W, 3]"
        )
        return f"{game}; {fire}call `reset()` before each episode"
    if device.masked:
        return "say which actions are legal: `policy(observation, mask)`"
    if any(step.name == "frame_stack" for step in device.preprocessing):
        return "call `reset()` before each episode: it clears the frame stack"
    return "nothing"


def _numbers(values: Sequence[float]) -> str:
    shown = ", ".join(f"{value:g}" for value in values[:8])
    return shown if len(values) <= 8 else f"{shown}, ... ({len(values)} in all; see policy.json)"
