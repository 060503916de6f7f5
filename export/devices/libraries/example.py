"""The example of every library: an observation that is built in, and the action that the policy must give for it."""

import textwrap

import numpy as np

from edgedqn.export.devices.libraries.templates import fill
from edgedqn.export.edge_policy import ONE_HOT, VerifiedFile
from edgedqn.export.tflite_file.tflm import int8_inputs, tflm_rows

CANDIDATES = 16  # observations; the interpreter takes a tenth of a second for an image
MOST_STEPS = 100  # of the 127 to each side of zero, so that nothing is saturated


def observation_header(file: VerifiedFile) -> str:
    """`observation.h`, with `observation` and `EXPECTED_ACTION`: the same file gives the same text.

    The observation is what the network takes, after all preprocessing. Where one of some random ones leads to another action
    than 0, it is such a one, because a device that computes nothing at all gives 0, too.

    Raises:
      MicroUnavailableError: as `tflm_rows`.
    """
    device, rng = file.device, np.random.default_rng(0)
    shape = device.input_shape(int(np.prod(file.model.input.shape)))
    steps = rng.integers(-MOST_STEPS, MOST_STEPS + 1, (CANDIDATES, *shape))  # [N, *shape]
    scale, offset = np.array(device.scale), np.array(device.offset)
    drawn = np.divide(steps - offset, scale, out=np.zeros(steps.shape), where=scale != 0).clip(-1e30, 1e30)  # [N, *shape]
    if np.dtype(device.observation_dtype).kind in "biu":
        drawn = np.rint(drawn)
    legal = np.ones((CANDIDATES, device.n_actions), bool)  # [N, A]
    values = drawn[:, : -device.n_actions] if device.masked else drawn  # without the mask
    if ONE_HOT in device.preprocessing:
        values[:] = np.arange(values.shape[1]) == rng.integers(values.shape[1], size=(CANDIDATES, 1))
    if device.masked:
        legal = rng.random(legal.shape) < 0.5
        legal[np.arange(CANDIDATES), rng.integers(device.n_actions, size=CANDIDATES)] = True
        drawn[:, -device.n_actions :] = legal
    texts = [[repr(float(f"{value:.4g}")) for value in row] for row in drawn.reshape(CANDIDATES, -1)]
    observations = np.array(texts, np.float32).reshape(drawn.shape)
    rows = tflm_rows(file.content, int8_inputs(device, observations))  # [N, A]
    actions = np.where(legal, rows.astype(np.int16), -129).argmax(1)  # [N]
    chosen = int((actions != 0).argmax())
    numbers = ", ".join(f"{text}f" for text in texts[chosen])
    lines = textwrap.wrap(numbers, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return fill("observation.h", {"action": actions[chosen], "inputs": len(texts[chosen]), "numbers": "\n".join(lines)})
