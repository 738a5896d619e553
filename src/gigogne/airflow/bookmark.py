"""How far the log of a job was read when its task left it: a file on this machine's disk, from deferral to resumption.

A triggerer that was killed is followed by one that knows where to read on. And a try that finds such a job knows that
no crash has left it there: the task was cleared while no triggerer saw to it. Without the file (another machine,
another container) lines are brought once more, and the job is gone on with.
"""

from __future__ import annotations

import contextlib
import os
import time

from gigogne.airflow.job import Job
from gigogne.engines.process.paths import Paths

__all__ = ["Bookmark"]

# A position is shorter; and so a short one leaves nothing of a longer one that stood there before.
_WIDTH = 64
# What nobody came back for (the task went on elsewhere) goes after so long, in seconds.
_OLD = 30 * 86400.0


class Bookmark:
    """The position of one job's log."""

    def __init__(self, job: Job) -> None:
        self._path = Paths.of_user().data / "airflow" / f"{job.key}.position"
        self._file = -1

    def __bool__(self) -> bool:
        """Whether there is one."""
        return self._path.exists()

    def read(self) -> str:
        """The last position; empty where none is known."""
        try:
            return self._path.read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            return ""

    def write(self, position: str) -> None:
        """Note a position, in one write: it is there whole, whatever kills this process.

        Raises:
            OSError: It cannot be written.
        """
        if self._file < 0:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._remove_old()
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.lseek(self._file, 0, os.SEEK_SET)
        os.write(self._file, position.ljust(_WIDTH).encode())

    def close(self) -> None:
        """No more is noted here. Safe to call twice."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def remove(self) -> None:
        """Nobody reads on."""
        self.close()
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _remove_old(self) -> None:
        for path in self._path.parent.glob("*.position"):
            with contextlib.suppress(OSError):  # another one was quicker
                if time.time() - path.stat().st_mtime > _OLD:
                    path.unlink()
