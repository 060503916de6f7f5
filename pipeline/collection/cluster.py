"""The Ray cluster that is joined. None is started here."""

import socket
import sys
from types import ModuleType

from edgedqn.agents.errors import InputError

PATIENCE_S = 10.0  # for a cluster to answer


def join_cluster(address: str | None) -> ModuleType:
    """Ray, joined to the cluster of this address, or as this process has joined one already; `auto`, for None, finds the one of
    this machine.

    Raises:
      InputError: there is no such cluster, or no Ray.
    """
    try:
        import ray
    except ImportError as error:
        raise InputError(f"The engine ray needs the extra `cluster`: pip install 'edgedqn[cluster]'. Got: {error}.") from error
    try:
        if not ray.is_initialized():
            _require_listener(address)
            ray.init(address=address or "auto", log_to_driver=False, configure_logging=False)
    except (OSError, ValueError, RuntimeError) as error:
        expected = "expected the --address of a running Ray cluster"
        raise InputError(f"Cannot join a cluster: {expected}, as `ray start --head` prints it. Got: {error}.") from error
    module: ModuleType = ray
    return module


def raised_by(error: Exception) -> Exception:
    """What a task or an actor raised, of Ray's RayTaskError, with where it did as a note."""
    cause = getattr(error, "cause", None)
    if not isinstance(cause, Exception):
        return error
    cause.add_note(str(error))
    return cause


def is_joined() -> bool:
    """Whether this process has joined one."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def _require_listener(address: str | None) -> None:
    """OSError: nobody listens at HOST:PORT. Ray itself waits for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.removeprefix("ray://"), int(port)), PATIENCE_S).close()
