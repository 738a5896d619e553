"""A program at the user's terminal in our place: what is typed, the signals and the exit code are passed on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

__all__ = ["attend"]


def attend(words: Sequence[str], environment: Mapping[str, str], *, terminal: bool) -> int:
    """Run a program to its end, and return its exit code; a signal that would end us goes to it, once.

    Args:
        words: The program and its arguments.
        environment: Its variables.
        terminal: It reads from the terminal; then it has to stay in the group that the terminal listens to.
    """
    process: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def forward(number: int, _frame: FrameType | None) -> None:
        if process is None:
            early.append(number)
            return
        with contextlib.suppress(OSError, ValueError):
            process.send_signal(number)

    # A terminal sends Ctrl-C to every process of its group; in another group the program gets it from us alone.
    apart: dict[str, Any] = {"process_group": 0} if os.name == "posix" and not terminal else {}
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT") if hasattr(signal, name)]
    if os.name != "posix":  # there the console has told the program already, and nothing can be sent to it
        names, forward = ["SIGINT"], lambda _number, _frame: None  # type: ignore[assignment]
    before = {name: signal.signal(signal.Signals[name], forward) for name in names}
    try:
        process = subprocess.Popen(words, env=environment, **apart)
        for number in early:
            forward(number, None)
        code = process.wait()
        return code if code >= 0 else 128 - code
    finally:
        for name, handler in before.items():
            signal.signal(signal.Signals[name], handler)
