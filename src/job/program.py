"""How a program begins and ends.

Exit codes: 0 done, 1 something outside failed, 2 a setting is wrong, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from types import FrameType
from typing import NoReturn

from job.errors import JobError

__all__ = ["Stopped", "fail", "run", "tell", "undisturbed"]

ENDING = (signal.SIGINT, signal.SIGTERM)
# So many failures of a kind are told.
TOLD = 10


class Stopped(KeyboardInterrupt):
    """SIGTERM arrived. A KeyboardInterrupt: psycopg cancels the statement it waits for at that one alone."""


def run(main: Callable[[], None], *, farewell: str = "") -> NoReturn:
    """Run a program's ``main`` and turn how it ends into one line on stderr and an exit code.

    Args:
        main: The program.
        farewell: What a signal ends it with, there and then, where nothing has to be undone. Without one it gets an
            exception, and with that the time to end well.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped

    def stop_at_once(signum: int, frame: FrameType | None) -> None:
        name = "Ctrl-C" if signum == signal.SIGINT else "SIGTERM"
        os.write(2, f"stopped by {name}: {farewell}\n".encode())
        os._exit(128 + signum)

    signal.signal(signal.SIGTERM, stop_at_once if farewell else stop)
    if farewell:
        signal.signal(signal.SIGINT, stop_at_once)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a pipe of Windows has an encoding that lacks what we say
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        main()
        sys.stdout.flush()
        code = 0
    except JobError as failure:
        tell(failure)
        code = failure.exit_code
    except Stopped:
        print("stopped by SIGTERM", file=sys.stderr)
        code = 143
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    sys.exit(code)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put Ctrl-C and SIGTERM off to the end of this: for what must not be left half begun.

    In another thread than the main one it does nothing: signals are heard in that one alone.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard: list[int] = []
    before = {number: signal.signal(number, lambda signum, _: heard.append(signum)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for signum in heard:
            signal.raise_signal(signum)


def fail(failures: Sequence[JobError]) -> None:
    """End with the first of what failed, a line for each; go on where nothing did.

    Raises:
        JobError: The first one.
    """
    if failures:
        for failure in failures[1:TOLD]:
            tell(failure)
        if len(failures) > TOLD:
            print(f"error: and {len(failures) - TOLD:,} more like these", file=sys.stderr)
        raise failures[0]


def tell(failure: JobError) -> None:
    """Say on stderr, in one line, what failed."""
    print(f"error: {' '.join(str(failure).split())}", file=sys.stderr)
