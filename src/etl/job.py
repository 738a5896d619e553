"""What the component shares as a program: settings, one-line failures, signals, progress.

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

__all__ = ["JobError", "Progress", "SettingError", "Stopped", "run", "size", "text", "whole_number"]

BAR = 30


class JobError(Exception):
    """Something outside this program failed: one line that says what, and what to do."""

    exit_code = 1


class SettingError(JobError):
    """An environment variable is missing or has a value that cannot be used."""

    exit_code = 2


class Stopped(BaseException):
    """SIGTERM arrived. Like KeyboardInterrupt, so that no ``except Exception`` swallows it."""


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

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, on_sigterm)
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
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        code = 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


class Progress:
    """How far long work has come, on stderr: a bar on a terminal, elsewhere a line every few seconds."""

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
            filled = round(share * BAR)
            print(f"\r[{'#' * filled}{' ' * (BAR - filled)}] {line}\033[K", end="", file=sys.stderr, flush=True)
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
