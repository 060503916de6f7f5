"""What a rounded network begins to learn with, on an agent that balances CartPole."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.reader import Networks
from edgedqn.compression.folding import InputScaling, fold_input_scaling, kernels_of
from edgedqn.compression.methods.distillation import FineTuned
from edgedqn.compression.methods.quantization import QuantizeAware
from edgedqn.compression.methods.reinforcement import TdLearning
from edgedqn.compression.stage import CompressionContext, Student


@pytest.mark.parametrize("pruned", [False, True])
def test_it_begins_as_the_rounded_agent_and_with_its_q_values(
    beginning: tuple[Student, CompressionContext], monkeypatch: pytest.MonkeyPatch, pruned: bool
) -> None:
    student, context = beginning
    states = context.teacher.observations
    scaling = InputScaling.measured(states)
    student = replace(student.with_weights(fold_input_scaling(student.network.get_weights(), scaling)), scaling=scaling)
    if pruned:
        weights = [np.where(np.abs(w) < 0.01, 0, w) if w.ndim > 1 else w for w in student.network.get_weights()]
        student = replace(student.with_weights(weights), pruned=True)
    seen: list[Networks] = []

    def learn(learning: TdLearning, networks: Networks, context: Any, **_: Any) -> Any:
        seen.append(networks)
        return FineTuned(0.0, 0), [np.asarray(tensor) for tensor in networks.reader.weights()]

    monkeypatch.setattr(TdLearning, "learn", learn)
    rounded, said = QuantizeAware(TdLearning()).apply(student, context)
    assert said.checkpoint == 0
    assert rounded.quantized is not None
    (networks,) = seen
    wanted = student.network(scaling(states)).numpy()
    for network in networks[:2]:
        if network is networks.target_network:  # which a learner copies first
            for target, source in zip(network.trainable_variables, networks.reader.weights(), strict=True):
                target.assign(source)
        found = network(states, training=False).numpy()
        np.testing.assert_allclose(found, wanted, atol=0.05 * np.ptp(wanted))
    weights = [np.asarray(tensor) for tensor in networks.reader.weights()]
    actor = networks.reader.actor(networks.reader.admissible(weights))
    acted = actor.actions(states)
    assert (acted == rounded.as_policy(context.teacher.spec).actions(states)).mean() > 0.99
    assert (acted == wanted.argmax(axis=1)).mean() > 0.9
    for kernel, before in zip(kernels_of(rounded.quantized), kernels_of(student.network), strict=True):
        assert not pruned or (kernel[before == 0] == 0).all()
