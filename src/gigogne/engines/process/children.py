"""The children that make a service ready (uv, an initdb): the engine that they work for can end them, and no others."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import psutil

from gigogne.engines.process.processes import end_family

__all__ = ["Children", "note_child"]


class Children:
    """The children that work for one engine, from whichever of its threads they were started."""

    def __init__(self) -> None:
        self._at_work: list[subprocess.Popen[Any]] = []
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """While it holds, a child that this thread notes is one of them."""
        before = _NOTING.set(self)
        try:
            yield
        finally:
            _NOTING.reset(before)

    def add(self, child: subprocess.Popen[Any]) -> None:
        """One more is at work."""
        with self._lock:
            self._at_work = [*(each for each in self._at_work if each.poll() is None), child]

    def end(self) -> None:
        """End those that are at work, each with all that it has started."""
        with self._lock:
            at_work = [child for child in self._at_work if child.poll() is None]
        for child in at_work:
            with contextlib.suppress(psutil.NoSuchProcess):
                end_family(psutil.Process(child.pid))


# By thread: several engines of one process may be at work side by side.
_NOTING: ContextVar[Children | None] = ContextVar("_NOTING", default=None)


def note_child(child: subprocess.Popen[Any]) -> None:
    """Let the engine that this thread works for, if any, know of a child."""
    children = _NOTING.get()
    if children is not None:
        children.add(child)
