"""Parts of a state are told apart by their prefix."""

import numpy as np

from edgedqn.agents.state import prefixed, under


def test_what_was_put_under_a_prefix_is_found_there_and_nothing_else():
    parts = {"agent": {"w_0": np.arange(2), "agent_w": np.arange(3)}, "agents": {"w_0": np.arange(4)}, "a": {}}
    together = {name: array for part, arrays in parts.items() for name, array in prefixed(part, arrays).items()}
    assert list(together) == ["agent_w_0", "agent_agent_w", "agents_w_0"]
    for part, arrays in parts.items():
        found = under(part, together)
        expected = dict(arrays) if part != "a" else {}
        assert list(found) == list(expected)
        assert all(found[name] is expected[name] for name in expected)
