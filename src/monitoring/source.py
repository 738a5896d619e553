"""Something that is looked at on a schedule of its own, so that whoever asks for it never waits."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from job.errors import JobError

__all__ = ["Reporter", "Seen", "Source"]

Value = TypeVar("Value")


@dataclass(frozen=True)
class Seen(Generic[Value]):
    """What the looks came to so far.

    Attributes:
        value: What the last look that succeeded has found.
        up: Whether the last look succeeded.
        succeeded: When the last one that succeeded was, in seconds since 1970; 0 for never.
    """

    value: Value | None = None
    up: bool = False
    succeeded: float = 0.0


class Reporter:
    """Says on stderr what fails, once for as long as it is the same, and that it is over."""

    def __init__(self, what: str) -> None:
        self._what, self._said = what, ""

    def fails(self, why: str) -> None:
        """Say why, where it was not said just now."""
        if why != self._said:
            self._said = why
            print(f"{self._what}: {' '.join(why.split())}", file=sys.stderr, flush=True)

    def works(self) -> None:
        """Say that it works again, where it did not."""
        if self._said:
            self._said = ""
            print(f"{self._what}: works again", file=sys.stderr, flush=True)


class Source(Generic[Value]):
    """What one function finds, again and again.

    Args:
        name: What it is called in metrics and messages.
        read: Takes a look, in a bounded time; raises JobError where what it looks at is away.
        every: Seconds between two looks.
        keep: Seconds for which a value is shown after the last look that succeeded.
    """

    def __init__(self, name: str, read: Callable[[], Value], every: float, keep: float) -> None:
        self.name = name
        self.seen: Seen[Value] = Seen()
        self._read, self._every, self._keep = read, every, keep
        self._reporter = Reporter(name)

    def start(self) -> None:
        """Look from now on, in a thread of its own that holds nobody up."""
        threading.Thread(target=self._watch, name=self.name, daemon=True).start()

    def look(self) -> None:
        """Take a look now."""
        try:
            self.seen = Seen(self._read(), True, time.time())
            self._reporter.works()
        except Exception as error:
            # Whatever it is, the next look may succeed: who looks must not end unseen.
            self.seen = Seen(self.seen.value, False, self.seen.succeeded)
            self._reporter.fails(str(error) if isinstance(error, JobError) else repr(error))

    def up(self) -> bool:
        """Whether the last look succeeded, and that not so long ago that the next one must be stuck."""
        return self.seen.up and self._fresh()

    def current(self) -> Value | None:
        """What was found, while it is fresh: an old value must not look like a new one."""
        return self.seen.value if self._fresh() else None

    def _fresh(self) -> bool:
        return time.time() - self.seen.succeeded <= self._keep

    def _watch(self) -> None:
        while True:
            self.look()
            time.sleep(self._every)
