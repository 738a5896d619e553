"""What the component's programs share as programs: settings, one-line failures, signals, progress.

Exit codes: 0 done, 1 something outside failed, 2 a setting is wrong, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

__all__ = [
    "JobError",
    "Progress",
    "SettingError",
    "Stopped",
    "fail",
    "flag",
    "run",
    "size",
    "text",
    "whole_number",
]

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"", "0", "false", "no", "off"})
# So many failures of a kind are told.
TOLD = 10


class JobError(Exception):
    """Something outside this program failed: one line that says what, and what to do."""

    exit_code = 1


class SettingError(JobError):
    """An environment variable is missing or has a value that cannot be used."""

    exit_code = 2


class Stopped(KeyboardInterrupt):
    """SIGTERM arrived. A KeyboardInterrupt: psycopg cancels the statement it waits for at that one alone."""


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


def flag(name: str) -> bool:
    """The variable as yes or no; not set means no."""
    value = text(name).lower()
    if value in TRUE:
        return True
    if value in FALSE:
        return False
    raise SettingError(f"{name}={value!r} is neither yes nor no: write 1 or 0")


def run(main: Callable[[], None], *failures: type[Exception]) -> NoReturn:
    """Run a program's ``main`` and turn how it ends into one line on stderr and an exit code.

    Args:
        main: The program.
        failures: What else is no defect, beside ``JobError``: a library's errors, with an ``exit_code`` or without.
    """

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        raise Stopped

    signal.signal(signal.SIGTERM, on_sigterm)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a pipe of Windows has an encoding that lacks what we say
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    expected: tuple[type[Exception], ...] = (JobError, *failures)
    try:
        main()
        sys.stdout.flush()
        code = 0
    except expected as failure:
        print(f"error: {' '.join(str(failure).split())}", file=sys.stderr)
        code = getattr(failure, "exit_code", JobError.exit_code)
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        code = 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


def fail(failures: Sequence[JobError]) -> None:
    """End with the first of what failed, a line for each; go on where nothing did.

    Raises:
        JobError: The first one.
    """
    if failures:
        for failure in failures[1:TOLD]:
            print(f"error: {failure}", file=sys.stderr)
        if len(failures) > TOLD:
            print(f"error: and {len(failures) - TOLD:,} more like these", file=sys.stderr)
        raise failures[0]


class Progress:
    """A line on stderr every few seconds, so that long work is seen to go on and short work stays silent."""

    def __init__(self, every: float = 5.0) -> None:
        self._every = every
        self._next = time.monotonic() + every

    def show(self, line: object) -> None:
        """Print ``line``, if the last one is long enough ago."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + self._every
            print(line, file=sys.stderr, flush=True)


def size(count: float) -> str:
    """A number of bytes for people: ``1.2 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
