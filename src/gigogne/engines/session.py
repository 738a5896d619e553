"""Children out of reach of a terminal's Ctrl-C: it goes to every process of a group, and Gigogne acts on it alone."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import IO, Any

__all__ = ["own_session", "reap", "start_apart"]


def own_session() -> dict[str, Any]:
    """The options of `Popen` for a process that Ctrl-C and the end of this one do not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def start_apart(command: Sequence[str], said: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """Start Python with `command`, as a process that outlives this one; what it says goes to `said`.

    To be reaped once it has been looked at: until then its id stays its own.

    Raises:
        OSError: Python cannot be started.
    """
    return subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        cwd=sys.prefix,  # not in this folder: Python would look for modules in it, and nobody could remove it
        **own_session(),
    )


def reap(child: subprocess.Popen[bytes]) -> None:
    """Let a child that may outlive this process be no zombie, should it end before."""
    threading.Thread(target=child.wait, name="reap", daemon=True).start()
