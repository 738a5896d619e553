"""The reaper: ends what detached runs have left behind, where no process that knows of them lives any more.

It knows a project by its name alone, so that it needs no file, and asks the engine what runs. It ends a job that is
past its deadline, a job that nobody has attended to for long, and a server that runs have started and that nobody has
needed for long. What it cannot judge it lets be.
"""

from __future__ import annotations

import contextlib
import queue
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gigogne.core.engine import Engine, Handle, Run
from gigogne.core.events import Event, Notice
from gigogne.core.model import Project
from gigogne.errors import EngineError, GigogneError

__all__ = ["GRACE", "PATIENCE", "Reaper", "is_overdue"]

# The grace of a service of which no file is read, as in Compose.
GRACE = 10.0
# After so many seconds what nobody attends to, or needs, is abandoned. A triggerer may be started anew meanwhile.
PATIENCE = 600.0
# Who attends to a job past its deadline ends it, and says why; after so many seconds it is not to be counted on.
_COURTESY = 15.0
# How often it looks; and, more seldom, takes a turn, for which the others have to wait: seconds.
_LOOK, _TURN = 2.0, 30.0
# It ends when there was nothing to guard for so long, and fails when the engine has not answered for so long.
_IDLE, _LOST = 30.0, 300.0
# What has ended and was never collected is kept for whoever tries again, but not for ever.
_UNCOLLECTED = 86400.0


class Reaper:
    """Looks after the detached runs of one project on one engine.

    Args:
        engine: Where they run.
        project: The project's name.
        emit: Is told what is ended, and why.
        patience: Seconds after which what nobody attends to, or needs, is ended.
    """

    def __init__(
        self, engine: Engine, project: str, emit: Callable[[Event], None], *, patience: float = PATIENCE
    ) -> None:
        self._engine = engine
        self._project = Project(project, Path(), (), {})
        self._emit = emit
        self._patience = patience
        self._since: dict[object, float] = {}  # since when nobody attends to it, or needs it
        self._turned: float | None = None
        self._interrupts: queue.SimpleQueue[None] = queue.SimpleQueue()

    def interrupt(self) -> None:
        """End before the next look. Safe in a signal handler."""
        self._interrupts.put(None)

    def guard(self) -> None:
        """Look again and again, until nothing is left to guard.

        Raises:
            EngineError: The engine has not answered for minutes.
        """
        busy = answered = time.monotonic()
        while True:
            try:
                if self.look():
                    busy = time.monotonic()
                answered = time.monotonic()
            except EngineError:
                if time.monotonic() - answered > _LOST:
                    raise
                self._since.clear()  # who attends may have lost the engine too
                busy = time.monotonic()
            if time.monotonic() - busy > min(_IDLE, self._patience) or self._pause():
                return

    def look(self) -> bool:
        """End what is to be ended now; whether anything is left to guard.

        Raises:
            EngineError: The engine does not answer.
        """
        found = self._engine.find(self._project, ended=True)
        over = set(map(_identity, self._engine.ended(found)))
        running = [handle for handle in found if _identity(handle) not in over]
        self._since = {key: self._since[key] for key in map(_identity, running) if key in self._since}
        self._end_jobs([handle for handle in running if handle.data.get("detached")])
        self._discard_ended([handle for handle in found if _identity(handle) in over])
        servers = [handle for handle in running if _is_server(handle)]
        if self._turned is None or time.monotonic() - self._turned >= min(_TURN, self._patience):
            self._end_servers(servers)
            self._turned = time.monotonic()
        return bool(servers) or any(handle.data.get("detached") for handle in running)

    def _pause(self) -> bool:
        """Wait for the next look; whether there is none."""
        try:
            self._interrupts.get(timeout=_LOOK)
        except queue.Empty:
            return False
        return True

    def _end_jobs(self, jobs: list[Handle]) -> None:
        doomed = {_identity(handle): why for handle in jobs if (why := self._why(handle))}
        if not doomed:
            return
        # Somebody may have come for one of them since.
        again = {_identity(handle): handle for handle in self._engine.find(self._project)}
        handles = [again[key] for key in doomed if key in again and self._why(again[key])]
        for handle in handles:
            self._emit(Notice(handle.service, f"ended: {doomed[_identity(handle)]}"))
        self._end(handles)

    def _why(self, handle: Handle) -> str:
        """Why a job is to be ended; empty where it is not."""
        now, key = time.time(), _identity(handle)
        if is_overdue(handle, now):
            return f"its deadline passed {now - handle.data['deadline']:.0f} s ago"
        if handle.data.get("attended", True):
            self._since.pop(key, None)
            return ""
        alone = self._alone(key)
        return f"nobody has attended to it for {alone:.0f} s" if alone >= self._patience else ""

    def _alone(self, key: object) -> float:
        """For how many seconds it has been seen alone."""
        now = time.monotonic()
        return now - self._since.setdefault(key, now)

    def _end_servers(self, servers: list[Handle]) -> None:
        """End the servers that no run needs; what dead runs have noted of their needs goes with the turn."""
        run = Run(f"reaper-{time.time_ns()}", self._project)
        with self._engine.turn(run, lambda: False, last=True) as needed:
            unneeded = [handle for handle in servers if handle.service not in needed]
            for handle in servers:
                if handle not in unneeded:
                    self._since.pop(_identity(handle), None)
            abandoned = [handle for handle in unneeded if self._alone(_identity(handle)) >= self._patience]
            for handle in abandoned:
                self._emit(Notice(handle.service, f"stopped: no run has needed it for {self._patience:.0f} s"))
            self._end(abandoned)

    def _discard_ended(self, ended: list[Handle]) -> None:
        for handle in ended:
            old = time.time() - float(handle.data.get("began", time.time())) > _UNCOLLECTED
            if old and _is_uncollected(handle):
                with self._tolerating(handle):
                    self._engine.discard(handle)

    def _end(self, handles: list[Handle]) -> None:
        if handles:
            with ThreadPoolExecutor(len(handles), thread_name_prefix="reap") as pool:
                list(pool.map(self._end_one, handles))

    def _end_one(self, handle: Handle) -> None:
        with self._tolerating(handle):
            self._engine.stop(handle, grace=GRACE)
            if _is_uncollected(handle):
                self._engine.discard(handle)

    @contextlib.contextmanager
    def _tolerating(self, handle: Handle) -> Iterator[None]:
        """One service that cannot be ended keeps no other from its end; the next look tries again."""
        try:
            yield
        except GigogneError as error:
            self._emit(Notice(handle.service, f"not ended: {error.message}"))


def is_overdue(handle: Handle, now: float) -> bool:
    """Whether a detached job is past its deadline, and who attends to it, if anybody, has had the time to end it."""
    deadline = handle.data.get("deadline")
    if not handle.data.get("detached") or deadline is None:
        return False
    return bool(now > deadline + (_COURTESY if handle.data.get("attended", True) else 0.0))


def _is_uncollected(handle: Handle) -> bool:
    """Whether it is a detached job that nobody attends to, so that nobody else discards it."""
    return bool(handle.data.get("detached")) and not handle.data.get("attended", True)


def _is_server(handle: Handle) -> bool:
    """Whether it is a server that a run has started. Where the engine does not tell, it is taken for none."""
    return bool(handle.run) and not handle.data.get("job", True)


def _identity(handle: Handle) -> tuple[str, str, object]:
    """What tells a started service from all others: another try of it began at another time."""
    return handle.run, handle.service, handle.data.get("id") or handle.data.get("began")
