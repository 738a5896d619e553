"""What one process knows of a service that it has started or found, and how it sees that to its end."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
from dataclasses import dataclass, field

from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.processes import Process, end_session, exit_code
from gigogne.engines.process.publish import PUBLISHED

__all__ = ["Started"]

_KILLED = 9  # SIGKILL, by its number: Windows has no such name
# How long what was killed may take to end, in seconds.
_LAST_BREATH = 5.0


@dataclass(slots=True)
class Started:
    """A service by its process.

    Attributes:
        process: The process.
        child: The service as a child of this process, which then sees to all of it; None where it is not.
        health: Who looks after its health.
        relay: What publishes its ports, where this process started that.
        seen_alive: Whether the process was seen to live: the id of one that had ended before may be another's by now.
        code: Its exit code, once that is known.
        over: Set when it is.
    """

    process: Process
    child: subprocess.Popen[bytes] | None = None
    health: HealthMonitor | None = None
    relay: subprocess.Popen[bytes] | None = None
    seen_alive: bool = True
    code: int | None = None
    over: threading.Event = field(default_factory=threading.Event)

    @property
    def published(self) -> bool:
        """Whether its published ports are open, as far as this process has them opened."""
        return self.relay is None or self.relay.poll() is not None or (self.process.directory / PUBLISHED).exists()

    def ended(self, timeout: float) -> bool:
        """Whether it ends within so many seconds, as seen by another thread than the one that waits for it, if any."""
        if self.child is None:
            return self.process.ended(timeout)
        return self.over.wait(timeout) or self.child.poll() is not None

    def wait(self, timeout: float | None) -> int | None:
        """The exit code, once the process has ended within `timeout` seconds; what it leaves is cleaned up then."""
        if self.code is not None:
            return self.code
        if self.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.code = exit_code(self.child.wait(timeout))
        elif self.process.ended(timeout):
            # Who ends without a word of it was killed.
            code = self.process.code_left_behind()
            self.code = 128 + _KILLED if code is None else code
        if self.code is not None and self.seen_alive:
            self._clean_up(self.code)
        if self.code is not None:
            self.over.set()
        return self.code

    def stop(self, grace: float) -> None:
        """Its stop signal, then after `grace` seconds the end of it and of all its children."""
        if self.health:
            self.health.stop()
        if grace > 0 and self.wait(timeout=0) is None:
            self.process.signal(self.process.stop_signal)
            self.wait(timeout=grace)
        self.process.kill()
        self.wait(timeout=_LAST_BREATH)

    def _clean_up(self, code: int) -> None:
        if self.health:
            self.health.stop()
        supervisor = Process.read(self.process.directory.parent)
        if self.child is None and supervisor is not None and supervisor.alive():
            return  # who started it sees to it, and knows its true code
        if self.relay:
            self.relay.kill()
            self.relay.wait()
        if self.process.keeper and self.process.seen_to():
            return  # its keeper has seen to the rest
        if self.child is None and not self._is_last():
            return  # what is there is another try's
        self.process.leave_behind(code)
        if self.process.sandboxed:
            self.process.kill_inner()
        else:
            end_session(self.process.pid)
        shutil.rmtree(self.process.directory / "scratch", ignore_errors=True)

    def _is_last(self) -> bool:
        last = Process.read(self.process.directory)
        return last is not None and last.pid == self.process.pid
