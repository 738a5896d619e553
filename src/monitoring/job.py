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

__all__ = ["JobError", "Progress", "SettingError", "Stopped", "log_progress", "run", "text", "whole_number"]

Progress = Callable[[str], None]
"""Takes a line that says how far the work is."""


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
    """The variable as a whole number that is at least ``least``.

    Raises:
        SettingError: It is none, or too small.
    """
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise SettingError(f"{name}={value!r} is not a whole number") from None
    if number < least:
        raise SettingError(f"{name}={number} is too small: {least} is the least that makes sense")
    return number


def log_progress() -> Progress:
    """Lines on stderr, each with the seconds since the start."""
    begin = time.monotonic()

    def show(line: str) -> None:
        print(f"{time.monotonic() - begin:5.1f} s  {line}", file=sys.stderr, flush=True)

    return show


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
