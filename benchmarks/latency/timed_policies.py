"""What is timed of a policy file: one `invoke()`, a whole step, a cold start; and what XNNPACK takes over of it."""

import itertools
from collections.abc import Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from numpy.typing import NDArray

from edgedqn.agents.files import Json
from edgedqn.benchmarks.latency.interleaved import Block, BlockFactory, LatencyConfig, clock, time_calls
from edgedqn.benchmarks.rows import Delegation
from edgedqn.export.edge_policy import ONE_HOT, EdgePolicy, VerifiedFile, shape_after

DELEGATE = "DELEGATE"
Observation = NDArray[np.generic] | int  # of an environment; int: the number of a state


def invokes(file: VerifiedFile, observations: NDArray[np.generic], *, config: LatencyConfig) -> BlockFactory:
    """Blocks of `invoke()` alone, on what the policy makes of each observation; each input is set before the clock is read.

    Args:
      file: a policy file.
      observations: [N, *input_shape], as the network sees them, taken in turn. Numbers of any other shape stand in for them:
        they are repeated to fill it.
      config: whose threads and kernels it runs with.
    """
    inputs: list[NDArray[np.generic]] = []

    def factory() -> Block:
        interpreter, policy = load(file, config)
        index = interpreter.get_input_details()[0]["index"]
        if not inputs:
            for observation in observations:
                policy(np.resize(observation, policy.input_shape))
                inputs.append(interpreter.get_tensor(index))  # a graph's inputs outlive an invoke
        set_input, invoke, turns = interpreter.set_tensor, interpreter.invoke, itertools.cycle(inputs)

        def block(n: int) -> NDArray[np.int64]:
            durations = np.empty(n, np.int64)
            for i in range(n):
                set_input(index, next(turns))
                start = clock()
                invoke()
                durations[i] = clock() - start
            return durations

        return block

    return factory


def steps(
    file: VerifiedFile, observations: NDArray[np.generic], *, config: LatencyConfig, twin: VerifiedFile | None = None
) -> BlockFactory:
    """Blocks of whole steps, observation in to action out, through `EdgePolicy` and all its preprocessing.

    Arguments as for `invokes`; with a twin, it is what the policy runs. What is stepped on is what the device would have seen
    last of each.
    """
    seen: list[Observation] = []

    def factory() -> Block:
        _, policy = load(file, config, twin=twin)
        if not seen:
            seen.extend(as_device_sees(policy, np.resize(observation, policy.input_shape)) for observation in observations)
        return time_calls(policy, itertools.cycle(seen))

    return factory


def as_device_sees(policy: EdgePolicy, network_input: NDArray[np.generic]) -> Observation:
    """What the environment gave last before the network saw this, [*input_shape]: one observation, or the number of a state.
    Where the policy is told which actions are legal, this itself: a call that is timed has no second argument."""
    steps = policy.device.preprocessing
    if policy.device.masked:
        return network_input
    if ONE_HOT in steps:
        return int(network_input.argmax())
    seen = network_input
    for i in reversed(range(len(steps))):
        before = shape_after(policy.device.observation_shape, steps[:i], states=0)
        if steps[i].name == "frame_stack":
            seen = seen[..., -1 if len(before) == 2 else slice(-before[-1], None)]
        seen = seen.reshape(before)
    return np.ascontiguousarray(seen)


def cold_starts(file: VerifiedFile, observations: NDArray[np.generic], *, config: LatencyConfig) -> BlockFactory:
    """Blocks of loading the file's bytes, ready to its first action: what a device waits for once. Arguments as for `steps`."""

    def factory() -> Block:
        policy = load(file, config)[1]
        observation = as_device_sees(policy, np.resize(observations[0], policy.input_shape))
        return time_calls(lambda seen: load(file, config)[1](seen), itertools.repeat(observation))

    return factory


def delegation(file: VerifiedFile, config: LatencyConfig) -> Delegation:
    """How many of the file's operators there are, and how many XNNPACK takes over.

    The interpreter lists an operator of the graph whether or not it was taken over, and a delegate as one more, with the
    tensors at its border. So what it took over is what lies behind its outputs, up to its inputs.
    """
    details = load(file, config)[0]._get_ops_details()
    graph = [each for each in details if each["op_name"] != DELEGATE]
    taken = {at for each in details if each["op_name"] == DELEGATE for at in _behind(graph, each)}
    return Delegation(len(graph), len(taken))


def _behind(graph: Sequence[Json], delegate: Json) -> set[int]:
    makers = {int(tensor): at for at, each in enumerate(graph) for tensor in each["outputs"]}
    border, found = set(map(int, delegate["inputs"])), set()
    wanted = [int(tensor) for tensor in delegate["outputs"]]
    while wanted:
        tensor = wanted.pop()
        at = makers.get(tensor)
        if at is not None and at not in found and tensor not in border:
            found.add(at)
            wanted.extend(int(each) for each in graph[at]["inputs"])
    return found


def load(file: VerifiedFile, config: LatencyConfig, *, twin: VerifiedFile | None = None) -> tuple[Interpreter, EdgePolicy]:
    """The interpreter of the file, or of its twin, its tensors allocated, and the policy on it; ValueError or RuntimeError
    where that is refused."""
    kernels = OpResolverType.AUTO if config.xnnpack else OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    content = (twin or file).content
    interpreter = Interpreter(model_content=content, num_threads=config.threads, experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    return interpreter, EdgePolicy(interpreter, file.device, twin_of=file.model if twin else None)
