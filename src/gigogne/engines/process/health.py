"""Health checks, by Docker's rules: interval, timeout, retries, start_period.

One thing is better than in Docker: the first look is at once and not after a whole interval, so what is ready is
known to be ready. Until the first interval has passed, a failure does not count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from gigogne.core.engine import State
from gigogne.core.model import Healthcheck
from gigogne.errors import EngineError

__all__ = ["HealthMonitor"]

_FIRST_PAUSE = 0.05


class HealthMonitor:
    """Looks after one service from a thread of its own until `stop`.

    `probe` gets the timeout in seconds and says whether the service is well; an EngineError from it says that it never
    will be, and why (`detail`).
    """

    def __init__(
        self,
        check: Healthcheck,
        probe: Callable[[float], bool],
        *,
        once: bool = False,
        said: Callable[[], str] = lambda: "",
        cancel: Callable[[], None] = lambda: None,
    ) -> None:
        """Begin. With `once` the looking ends at the first success.

        `said` is the last word of the last probe; `cancel` ends a probe that is under way.
        """
        self._said = said
        self._cancel = cancel
        self.state = State.STARTING
        self.detail = ""
        self._check = check
        self._probe = probe
        self._once = once
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._look, name="health", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the looking, and the probe that is under way."""
        self._stopped.set()
        self._cancel()

    def _look(self) -> None:
        check, failures, pause = self._check, 0, _FIRST_PAUSE
        began = time.monotonic()
        while not self._stopped.is_set():
            try:
                well = self._probe(check.timeout)
            except EngineError as error:  # waiting will not help
                self.detail = f"{error.message} — {error.hint}" if error.hint else error.message
                self.state = State.UNHEALTHY
                return
            if well:
                self.state, failures = State.HEALTHY, 0
                if self._once:
                    return
            elif time.monotonic() - began >= max(check.start_period, check.interval):
                failures += 1
                if failures >= check.retries:
                    said = self._said()
                    self.detail = f"its health check failed {failures} times{f': {said}' if said else ''}"
                    self.state = State.UNHEALTHY
            pause = min(pause * 2, check.interval) if self.state is State.STARTING and not failures else check.interval
            self._stopped.wait(pause)
