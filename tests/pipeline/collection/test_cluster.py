import sys

import pytest

from edgedqn.agents.errors import InputError
from edgedqn.pipeline.collection.cluster import is_joined, join_cluster


def test_a_cluster_that_is_not_there_is_refused_at_once() -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match=r"expected the --address of a running Ray cluster, as `ray start --head` prints it"):
        join_cluster("127.0.0.1:1")
    assert not is_joined()


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"needs the extra `cluster`: pip install 'edgedqn\[cluster\]'"):
        join_cluster(None)
    assert not is_joined()
