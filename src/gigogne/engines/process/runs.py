"""The directories of runs: who holds them, what still runs in them, and when they go.

A run's supervisor holds a lock in its directory for as long as it lives; the system lets go of it when the supervisor
dies, however it dies. So a service whose run is not held is an orphan, and nobody needs to have written that down.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from gigogne.engines.process.paths import Paths
from gigogne.engines.process.processes import Process

__all__ = ["RunDirectories"]

# Logs of the last runs stay for a look.
_KEPT = 5


class RunDirectories:
    """The run directories of one project."""

    def __init__(self, paths: Paths, project: str) -> None:
        self._folder = paths.project(project) / "runs"
        self._held: dict[str, FileLock] = {}

    def hold(self, run: str) -> Path:
        """The directory of a run that this process supervises, made and locked."""
        directory = self._folder / run
        if run not in self._held:
            directory.mkdir(parents=True, exist_ok=True)
            lock = FileLock(directory / "lock", thread_local=False)
            lock.acquire()
            self._held[run] = lock
            self._prune()
        return directory

    def release(self) -> None:
        """Let go of the runs that this process supervised."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()

    def processes(self) -> Iterator[tuple[str, str, Process]]:
        """What still runs: the run, the service, the process."""
        for directory in self._directories():
            for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
                process = Process.read(folder)
                if process is not None and process.alive():
                    yield directory.name, folder.name, process

    def supervised(self, run: str) -> bool:
        """Whether the supervisor of a run lives."""
        if run in self._held:
            return True
        try:
            with FileLock(self._folder / run / "lock", timeout=0, thread_local=False):
                return False
        except Timeout:
            return True

    def remove(self) -> None:
        """Remove every run's directory, less those that are held."""
        for directory in self._directories():
            if directory.name in self._held or not self.supervised(directory.name):
                shutil.rmtree(directory, ignore_errors=True)

    def _directories(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.is_dir())

    def _prune(self) -> None:
        alive = {run for run, _, _ in self.processes()}
        for directory in self._directories()[:-_KEPT]:
            if directory.name not in alive and not self.supervised(directory.name):
                shutil.rmtree(directory, ignore_errors=True)
