"""Children out of reach of a terminal's Ctrl-C: it goes to every process of a group, and Gigogne acts on it alone."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

__all__ = ["own_session"]


def own_session() -> dict[str, Any]:
    """The options of `Popen` for a process that Ctrl-C and the end of this one do not reach."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}
