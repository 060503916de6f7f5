"""The network that plays is found among other tensors, which are named; and what may scale its observations is refused."""

import io
from typing import Any

import numpy as np
import pytest

from edgedqn.agents.errors import InputError
from edgedqn.agents.importing.building import build
from edgedqn.agents.importing.torch_files import read_state_dict

torch = pytest.importorskip("torch", reason="needs PyTorch: the extra sb3")
VECTORS = np.random.default_rng(0).normal(0, 3, (100, 4)).astype(np.float32)


def mlp() -> Any:
    layers = [torch.nn.Linear(4, 16), torch.nn.ReLU(), torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)]
    return torch.nn.Sequential(*layers)


def stored(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def compare(content: bytes, network: Any, **options: Any) -> Any:
    found = read_state_dict(content, **options)
    expected = network(torch.from_numpy(VECTORS)).detach().numpy()
    np.testing.assert_allclose(build(*found.network)(VECTORS), expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    return found


def test_the_online_network_is_taken_where_names_say_so() -> None:
    online, target = mlp(), mlp()
    with torch.no_grad():
        target[0].weight.zero_()
    both = {f"q_net.{k}": v for k, v in online.state_dict().items()}
    both |= {f"q_net_target.{k}": v for k, v in target.state_dict().items()}
    found = compare(stored(both), online)
    assert any("without 'target' in their name play" in each for each in found.assumed)
    compare(stored(both), target, part="q_net_target")
    nested = {"policy_net": online.state_dict(), "target_net": target.state_dict()}
    found = compare(stored(nested), online)
    assert "'policy_net' is the network that plays" in found.assumed


def test_several_networks_are_named() -> None:
    first, second = mlp(), mlp()
    for several in (
        {"one": first.state_dict(), "two": second.state_dict()},
        {f"{part}.{k}": v for part in ("one", "two") for k, v in first.state_dict().items()},
    ):
        with pytest.raises(InputError, match=r"expected one network\. Got several: choose with part='one' or part='two'"):
            read_state_dict(stored(several))
        compare(stored(several), first, part="one")
        with pytest.raises(InputError, match=r"expected a part of 'one', 'two'.*Got part='three'"):
            read_state_dict(stored(several), part="three")


@pytest.mark.parametrize(
    "beside",
    [
        {"obs_mean": torch.ones(4)},
        {"obs_rms": {"mean": torch.ones(7), "var": torch.ones(7)}},
        {"normalizer": {"a": torch.ones(4), "b": torch.ones(4)}},
    ],
)
def test_what_may_scale_its_observations_is_refused(beside: Any) -> None:
    for part in (None, "q"):
        with pytest.raises(InputError, match=r"expected a network alone\. Got '.*' of \d numbers beside it.*--normalize"):
            read_state_dict(stored({"q": mlp().state_dict(), **beside}), part=part)


def test_what_is_passed_over_is_named() -> None:
    network = mlp()
    other = torch.nn.Sequential(torch.nn.Linear(9, 4))  # its bias is as long as an observation
    others = {"target_q": network.state_dict(), "epsilon": torch.tensor(0.1), "returns": torch.zeros(50)}
    found = compare(stored({"q": network.state_dict(), **others}), network)
    assert "passed over: target_q.0, target_q.2, target_q.4, epsilon, returns" in found.assumed
    found = compare(stored({"q": network.state_dict(), "other": other.state_dict()}), network, part="q")
    assert "passed over: other.0" in found.assumed
