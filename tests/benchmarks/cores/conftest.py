"""A core after the other, a policy whose cost is known, and real ones with the rows they must give."""

import itertools
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from edgedqn.agents.playing.environments import make_environment
from edgedqn.agents.playing.evaluation import EpsilonGreedy, gather_observations
from edgedqn.benchmarks.cores.core import CORES, Core, missing_tools
from edgedqn.benchmarks.cores.trials import Trial, trial_of
from edgedqn.export.devices.microcontroller.bundle import write_microcontroller
from edgedqn.export.edge_policy import EdgePolicy, VerifiedFile, read_verified

UNTRAINED = tuple(itertools.product((16, 64), ("ptq-int8", "qat-int8")))

HEADER = """
#include <stdint.h>
#define POLICY_INPUTS 1
#define POLICY_OUTPUTS 1
void policy_infer(const int8_t *input, int8_t *output);
"""
SETTINGS = """
#define POLICY_INPUTS 1
#define POLICY_RAM_BYTES 2
#define POLICY_OBSERVE_RAM_BYTES 4
#define POLICY_CONSTANT_BYTES 64
"""
# A loop of two instructions, 500 times, which take four cycles on an AVR; 96 bytes of stack, of which the lowest is written; 5
# bytes of RAM. The table of 64 bytes lies in flash, or in RAM, too, where constants do.
NETWORK = """
#include "policy.h"
const int8_t table[64] = {1, 2, 3};
static volatile int8_t calls[5];
void policy_infer(const int8_t *input, int8_t *output) {
  volatile int8_t space[96];
  int32_t count = 500;
  space[0] = table[input[0] & 63];
#if defined(__AVR__)
  __asm__ volatile("1: sbiw %0, 1\\n brne 1b" : "+w"(count));
#elif defined(__riscv)
  __asm__ volatile("1: addi %0, %0, -1\\n bnez %0, 1b" : "+r"(count));
#elif defined(__arm__)
  __asm__ volatile(".syntax unified\\n1: subs %0, #1\\n bne 1b" : "+l"(count) : : "cc");
#else
  (void)count;
#endif
  calls[input[0] & 3] = 1;
  output[0] = space[0];
}
"""
INPUT = """
#include "policy.h"
int policy_quantize(const float *observation, int8_t *input);
int policy_quantize(const float *observation, int8_t *input) {
  *input = *observation > 0.0f;
  return 1;
}
"""


@pytest.fixture(params=CORES)
def core(request: pytest.FixtureRequest) -> Core:
    """Each core in turn."""
    found = CORES[request.param]
    if missing := missing_tools(found):
        pytest.skip(f"not installed: {', '.join(missing)}")
    return found


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A folder with its files."""
    files = {"policy.h": HEADER, "policy_settings.h": SETTINGS, "policy.c": NETWORK, "policy_io.c": INPUT}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    return tmp_path


@dataclass(frozen=True)
class Sources:
    """A policy's file, the folder of its C, and what that is tried with: 1,000 observations that it met, a tenth at random."""

    file: VerifiedFile
    folder: Path
    trial: Trial


@pytest.fixture(scope="session")
def sources_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Sources]:
    def build(path: Path) -> Sources:
        pytest.importorskip("tflite_micro", reason="the extra `micro` is not installed")
        file, folder, here = read_verified(path), tmp_path_factory.mktemp(path.stem), EdgePolicy.load(path)
        write_microcontroller(file, folder)
        policy = EpsilonGreedy(here, 0.1, n_actions=here.n_actions, rng=np.random.default_rng(5))
        with closing(make_environment(file.device.env_id)) as env:
            met = gather_observations(policy, env, reset_seeds=itertools.count(31), count=1_000)
        return Sources(file, folder, trial_of(file, met))

    return build


@pytest.fixture(scope="session")
def readme_policies() -> Path:
    """Their folder."""
    return Path(__file__).parents[3] / "docs" / "results" / "policies"


@pytest.fixture(
    scope="session", params=["Acrobot-v1", "CartPole-v1", "LunarLander-v3", "MinAtar-Breakout-v1", "MountainCar-v0"]
)
def readme_policy(request: pytest.FixtureRequest, sources_of: Callable[[Path], Sources], readme_policies: Path) -> Sources:
    """Each of the README's."""
    return sources_of(readme_policies / f"{request.param}.tflite")


@pytest.fixture(scope="session", params=UNTRAINED, ids=lambda each: f"{each[0]}-{each[0]}-{each[1]}")
def untrained_policy(
    request: pytest.FixtureRequest, sources_of: Callable[[Path], Sources], tmp_path_factory: pytest.TempPathFactory
) -> Sources:
    """CartPole's, with two layers of random weights, rounded after training or as in quantization-aware training."""
    from edgedqn.agents.networks import q_network
    from edgedqn.agents.playing.spec import spec_of
    from edgedqn.agents.trained_agent import TrainedAgent
    from edgedqn.compression.compress import compress
    from edgedqn.compression.methods.initialization import ScaleInput
    from edgedqn.compression.methods.ladder import Quantize
    from edgedqn.compression.recipe import Recipe
    from edgedqn.compression.recipes import RECIPES
    from edgedqn.export.tflite import to_tflite

    width, name = request.param
    rounded = Recipe("qat-int8", "", (ScaleInput(), Quantize(("round",), states=500, per_output=False)), "qat-int8")
    recipe, rng = rounded if name == "qat-int8" else RECIPES[name], np.random.default_rng(3)
    with closing(make_environment("CartPole-v1")) as env, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The agent for CartPole-v1 is no better than a random policy")
        network = q_network((4,), 2, hidden=(width, width), rng=rng)
        met = np.array([env.observation_space.sample() for _ in range(100)]).clip(-3, 3)
        agent = TrainedAgent(network, spec_of(env, "CartPole-v1"), met, {})
        policy = compress(agent, recipe, env=env, reset_seeds=itertools.count(), rng=rng)
    path = tmp_path_factory.mktemp("untrained") / f"{width}-{name}.tflite"
    path.write_bytes(to_tflite(policy))
    return sources_of(path)
