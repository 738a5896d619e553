"""Lanes: threads that bring things to the scorer, each in its order, until they are taken."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Event, Lock, Thread
from typing import Generic, TypeVar

from fraud.playing.client import AwayError

__all__ = ["Lane", "Outage"]

FIRST_PAUSE, LAST_PAUSE = 0.1, 5.0
# How many things wait in a lane: enough that it never idles, few enough that the order of time is nearly kept.
WAITING = 8
T = TypeVar("T")


class Outage:
    """Says once that the scorer does not take something, and why; and once that it does again.

    Args:
        what: What it takes, or not: while it has no model, it takes confirmations alone.
    """

    def __init__(self, what: str) -> None:
        self._what, self._lock, self._since = what, Lock(), 0.0

    def begins(self, reason: str) -> None:
        """The scorer did not take something."""
        with self._lock:
            if not self._since:
                self._since = time.monotonic()
                print(f"the scorer takes no {self._what}, it is asked again: {reason}", file=sys.stderr, flush=True)

    def ends(self) -> None:
        """The scorer took something."""
        if self._since:
            with self._lock:
                if self._since:
                    lasted, self._since = time.monotonic() - self._since, 0.0
                    print(f"the scorer takes {self._what} again after {lasted:.0f} s", file=sys.stderr, flush=True)


class Lane(Generic[T]):
    """Brings things to the scorer one after the other, each until it is taken.

    Args:
        bring: Brings one; raises `AwayError` where it has to be brought again.
        outage: Is told what goes wrong, and when it goes on.
    """

    def __init__(self, bring: Callable[[T], None], outage: Outage) -> None:
        self._bring, self._outage, self._stopping = bring, outage, Event()
        self._things: Queue[T] = Queue(WAITING)
        self._failure: BaseException | None = None
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def put(self, thing: T, patience: float) -> bool:
        """Hand it one more; False where the lane was full for so many seconds.

        Raises:
            Exception: What the lane failed of.
        """
        if self._failure:
            raise self._failure
        try:
            self._things.put(thing, timeout=patience)
        except Full:
            return False
        return True

    @property
    def is_idle(self) -> bool:
        """Whether all that it was handed is taken.

        Raises:
            Exception: What the lane failed of.
        """
        if self._failure:
            raise self._failure
        return not self._things.unfinished_tasks

    def stop(self) -> None:
        """Bring nothing more; what is on its way is not waited for."""
        self._stopping.set()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                try:
                    thing = self._things.get(timeout=0.2)
                except Empty:
                    continue
                self._until_taken(thing)
                self._things.task_done()
        except Exception as error:
            # Shown where the next thing is handed in.
            self._failure = error

    def _until_taken(self, thing: T) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set():
            try:
                self._bring(thing)
            except AwayError as error:
                self._outage.begins(str(error))
                self._stopping.wait(max(pause, error.pause))
                pause = min(2 * pause, LAST_PAUSE)
            else:
                self._outage.ends()
                return
