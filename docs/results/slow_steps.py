"""Environments that take their time, for collection.py."""

import time
from typing import Any

import gymnasium


class Waiting(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Waits in each step, as for a robot or a socket."""

    def __init__(self, env: gymnasium.Env[Any, Any], seconds: float):
        super().__init__(env)
        self._seconds = seconds

    def step(self, action: Any) -> Any:
        time.sleep(self._seconds)
        return self.env.step(action)


class Computing(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Computes in each step, as a simulator: so many seconds of a processor's time."""

    def __init__(self, env: gymnasium.Env[Any, Any], seconds: float):
        super().__init__(env)
        self._seconds = seconds

    def step(self, action: Any) -> Any:
        end = time.thread_time() + self._seconds
        while time.thread_time() < end:
            pass
        return self.env.step(action)
