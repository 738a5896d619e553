"""How far long work is, on stderr; and how much there is of something, for people."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

__all__ = ["Heartbeat", "Progress", "ProgressBar", "log_progress", "size"]

Progress = Callable[[str], None]
"""Takes a line that says how far the work is."""

WIDTH = 30


def log_progress() -> Progress:
    """Lines, each with the seconds since the start."""
    begin = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - begin:5.1f} s  {line}", file=sys.stderr, flush=True)

    return show


class Heartbeat:
    """A line every few seconds, so that long work is seen to go on and short work stays silent."""

    def __init__(self, every: float = 5.0) -> None:
        self._every = every
        self._next = time.monotonic() + every

    def show(self, line: object) -> None:
        """Print ``line``, if the last one is long enough ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            print(line, file=sys.stderr, flush=True)


class ProgressBar:
    """A bar on a terminal, elsewhere a line every few seconds, and nothing of short work."""

    def __init__(self, what: str, total: int) -> None:
        self._what, self._total = what, total
        self._bar = sys.stderr.isatty()
        self._every = 0.1 if self._bar else 5.0
        self._next = time.monotonic() + self._every

    def show(self, done: int) -> None:
        """Say that ``done`` are, if that was last said long enough ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        share = min(done / self._total, 1.0) if self._total else 1.0
        line = f"{self._what}: {done:,} of {self._total:,} ({share:.0%})"
        if self._bar:
            filled = round(share * WIDTH)
            print(f"\r[{'#' * filled}{' ' * (WIDTH - filled)}] {line}\033[K", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the bar away."""
        if self._bar:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def size(count: float) -> str:
    """A number of bytes for people: ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
