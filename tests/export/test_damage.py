"""Damaged files and killed exporters: nothing crashes, hangs, or passes for whole."""

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError, TfliteModel
from edgedqn.export.tflite_file.inspection import inspect
from edgedqn.export.tflite_file.manifest import embed, write_policy
from edgedqn.export.tflite_file.reader import fix_names

MUTANTS = 2_000
KILLS = 50

# A process of its own, so that a crash is seen as one. Every mutant that is not the file itself must be refused by the one
# exception that a person is told; `inspect` may also say that nothing proves a file whole, never that something does.
ATTACK = """
import json, random, sys
from pathlib import Path
from edgedqn.export.edge_policy import EdgePolicy, PolicyFileError
from edgedqn.export.tflite_file.inspection import inspect

path, count = Path(sys.argv[1]), int(sys.argv[2])
content = path.read_bytes()
rng = random.Random(20)
mutant = path.parent / "mutant.tflite"
counts = {"same": 0, "refused": 0, "accepted": 0, "foreign": 0}
for number in range(count):
    kind = number % 4
    changed = bytearray(content)
    if kind == 0:
        changed = changed[: rng.randrange(len(content))]
    elif kind == 1:
        for _ in range(rng.randint(1, 8)):
            changed[rng.randrange(len(changed))] ^= rng.randint(1, 255)
    elif kind == 2:
        size = rng.choice([1, 4, 16, 64, 256])
        a, b = (rng.randrange(len(changed) - size) for _ in range(2))
        changed[a : a + size], changed[b : b + size] = changed[b : b + size], changed[a : a + size]
    else:
        changed += rng.randbytes(rng.choice([1, 4, 4096]))
    mutant.write_bytes(changed)
    if bytes(changed) == content:
        counts["same"] += 1
        continue
    try:
        EdgePolicy.load(mutant)
        counts["accepted"] += 1
    except PolicyFileError as error:
        assert "\\n" not in str(error), error
        counts["refused"] += 1
    try:
        counts["foreign" if inspect(mutant)["manifest"] is None else "accepted"] += 1
    except PolicyFileError as error:
        assert "\\n" not in str(error), error
print(json.dumps(counts))
"""


@pytest.mark.parametrize("kind", ["int8", "float32", "float16"])
def test_no_mutant_crashes_hangs_or_passes(tmp_path: Path, network: Any, device_for: Any, kind: str) -> None:
    content = fix_names(TfliteModel(getattr(network, kind)), "preferences")
    path = tmp_path / "policy.tflite"
    path.write_bytes(embed(content, device_for(content)))
    EdgePolicy.load(path)
    answer = subprocess.run(
        [sys.executable, "-c", ATTACK, str(path), str(MUTANTS)], capture_output=True, text=True, timeout=300, check=False
    )
    assert answer.returncode == 0, answer.stderr
    counts = json.loads(answer.stdout)
    assert counts["accepted"] == 0
    assert counts["refused"] + counts["same"] == MUTANTS
    assert counts["same"] < MUTANTS // 20


@pytest.mark.parametrize("forged", [False, True])
def test_a_walk_through_damage_that_the_digest_does_not_see_ends(
    tmp_path: Path, network: Any, device_for: Any, forged: bool
) -> None:
    """With a digest that fits, as a forger would make it, or with none, the structure itself is all that is checked."""
    content = bytearray(fix_names(TfliteModel(network.int8), "preferences"))
    device, rng = device_for(bytes(content)), random.Random(21)
    path = tmp_path / "policy.tflite"
    refused = 0
    for _ in range(300):
        changed = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            changed[rng.randrange(len(changed))] = rng.choice([0, 1, 127, 128, 255, rng.randrange(256)])
        path.write_bytes(changed)
        try:
            if forged:
                write_policy(path, path.read_bytes(), device=device, evidence={})
            inspect(path)
        except PolicyFileError:
            refused += 1
        finally:
            path.with_suffix(".json").unlink(missing_ok=True)
    assert refused > 30


# Forks a writer fifty times, which writes one of two policies after the other until it is killed, and looks what is there.
KILLER = """
import os, random, signal, sys, time
from pathlib import Path
from edgedqn.export.edge_policy import read_device_manifest, read_verified
from edgedqn.export.tflite_file.manifest import write_policy

path, kills = Path(sys.argv[1]) / "policy.tflite", int(sys.argv[2])
contents = [Path(name).read_bytes() for name in sys.argv[3:]]
manifests = [{"device": read_device_manifest(content), "evidence": {"number": i}} for i, content in enumerate(contents)]
rng = random.Random(22)
seen = set()
for _ in range(kills):
    end = time.monotonic() + rng.uniform(0, 0.03)
    writer = os.fork()
    if writer == 0:
        while True:
            for content, manifest in zip(contents, manifests):
                write_policy(path, content, **manifest)
    while time.monotonic() < end:
        if path.exists():
            assert path.read_bytes() in contents, "half a file"
    os.kill(writer, signal.SIGKILL)
    os.waitpid(writer, 0)
    if path.exists():
        found = read_verified(path)
        number = contents.index(found.content)
        assert found.evidence in ({}, {"number": number}), found.evidence
        seen.add((number, bool(found.evidence)))
assert [each.name for each in path.parent.glob("*.tflite")] == ["policy.tflite"]
print(len(seen))
"""


def test_a_killed_exporter_leaves_a_whole_file_or_none(tmp_path: Path, int8_policy: bytes, float_policy: bytes) -> None:
    for name, content in (("a", int8_policy), ("b", float_policy)):
        (tmp_path / name).write_bytes(content)
    (tmp_path / "models").mkdir()
    arguments = [str(tmp_path / "models"), str(KILLS), str(tmp_path / "a"), str(tmp_path / "b")]
    answer = subprocess.run(
        [sys.executable, "-c", KILLER, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert int(answer.stdout) > 1  # it was caught at different moments
