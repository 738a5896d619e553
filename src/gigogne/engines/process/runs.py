"""The directories of runs: who supervises them, what still runs in them, and when they go.

A run's directory says which process supervises it, and holds a directory for each of its services. A service whose
supervisor is dead is an orphan, however the supervisor died: nobody needs to have lived to write that down.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from gigogne.engines.process.paths import Paths
from gigogne.engines.process.processes import Process

__all__ = ["RunDirectories"]

# Logs of the last runs stay for a look.
_KEPT = 5


class RunDirectories:
    """The run directories of one project."""

    def __init__(self, paths: Paths, project: str) -> None:
        self._folder = paths.runs(project)
        self._held: set[str] = set()

    def hold(self, run: str) -> Path:
        """The directory of a run that this process supervises; made when it is new."""
        directory = self._folder / run
        if run not in self._held:
            directory.mkdir(parents=True)
            Process.this_one(directory)
            self._held.add(run)
            self._prune()
        return directory

    def processes(self) -> Iterator[tuple[str, str, Process]]:
        """What still runs: the run, the service, the process."""
        for directory in self._directories():
            for folder in sorted(path for path in directory.iterdir() if path.is_dir()):
                process = Process.read(folder)
                if process is not None and process.alive():
                    yield directory.name, folder.name, process

    def supervised(self, run: str) -> bool:
        """Whether the supervisor of a run lives."""
        supervisor = Process.read(self._folder / run)
        return supervisor is not None and supervisor.alive()

    def remove(self) -> None:
        """Remove the directories of the runs that are over."""
        for directory in self._directories():
            if not self.supervised(directory.name):
                shutil.rmtree(directory, ignore_errors=True)

    def _directories(self) -> list[Path]:
        return sorted(path for path in self._folder.glob("*") if path.is_dir())

    def _prune(self) -> None:
        busy = {run for run, _, _ in self.processes()}
        for directory in self._directories()[:-_KEPT]:
            if directory.name not in busy and not self.supervised(directory.name):
                shutil.rmtree(directory, ignore_errors=True)
