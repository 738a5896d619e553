"""What the component's programs share as programs: settings, one-line failures, signals, progress.

Exit codes: 0 done, 1 something outside failed, 2 a setting is wrong, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

__all__ = ["JobError", "Progress", "SettingError", "run", "text", "whole_number"]

BAR_WIDTH = 30


class JobError(Exception):
    """Something outside this program failed: one line that says what, and what to do."""

    exit_code = 1


class SettingError(JobError):
    """An environment variable is missing or has a value that cannot be used."""

    exit_code = 2


def text(name: str, default: str = "") -> str:
    """The variable's value without surrounding blanks; an empty one counts as not set."""
    return os.environ.get(name, "").strip() or default


def whole_number(name: str, default: int, least: int = 0) -> int:
    """The variable as a whole number that is at least ``least``."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a whole number") from None
    if number < least:
        raise SettingError(f"{name}={number} is too small: {least} is the least that makes sense")
    return number


def run(main: Callable[[], None]) -> NoReturn:
    """Run a program's ``main`` and turn how it ends into one line on stderr and an exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _stop)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a pipe of Windows has an encoding that lacks what we say
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
        code = 0
    except JobError as failure:
        print(f"error: {' '.join(str(failure).split())}", file=sys.stderr)
        code = failure.exit_code
    sys.exit(code)


def _stop(number: int, frame: FrameType | None) -> None:
    """End at once. The driver would say goodbye to the server first, and wait for one that does not answer.

    Nothing is lost: what the server has acknowledged is in, and there is nothing else.
    """
    name = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    os.write(2, f"stopped by {name}: what is in stays, run it again for the rest\n".encode())
    os._exit(128 + number)


class Progress:
    """How far long work is: a bar on a terminal, a line every few seconds elsewhere, nothing of short work."""

    def __init__(self, total: int, what: str, every: float = 5.0) -> None:
        self._total = total
        self._what = what
        self._bar = sys.stderr.isatty()
        self._every = 0.1 if self._bar else every
        self._next = time.monotonic() + self._every

    def show(self, done: int) -> None:
        """Show that ``done`` are done, if the last time is long enough ago."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + self._every
        line = f"{done:,} of {self._total:,} {self._what}"
        if self._bar:
            filled = min(BAR_WIDTH, BAR_WIDTH * done // max(self._total, 1))
            line = f"\r[{'#' * filled}{'-' * (BAR_WIDTH - filled)}] {line}"
        print(line, end="" if self._bar else "\n", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave a clean line behind the bar."""
        if self._bar:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
