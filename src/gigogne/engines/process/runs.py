"""The directories of runs: who supervises them, what they need, what still runs in them, and when they go.

A run's directory says which process supervises it, and holds a directory for each of its services. A service whose
supervisor is dead is an orphan, however the supervisor died: nobody needs to have lived to write that down. In the
same way a run needs its services while its supervisor lives and its list of them is there.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.core.engine import Run
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.processes import Process

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["RunDirectories"]

# Logs of the last runs stay for a look.
_KEPT = 5
# Who waits looks around so often, in seconds.
_BREATH = 0.2


class RunDirectories:
    """The run directories of one project."""

    def __init__(self, paths: Paths, project: str) -> None:
        self._folder = paths.runs(project)
        self._held: set[str] = set()
        self._lock = threading.Lock()

    def hold(self, run: str) -> Path:
        """The directory of a run that this process supervises; made when it is new."""
        directory = self._folder / run
        with self._lock:
            if run not in self._held:
                with self.alone("directories"):  # or another run might remove it before it says whose it is
                    directory.mkdir(parents=True)
                    Process.this_one(directory)
                    self._prune()
                self._held.add(run)
        return directory

    def alone(self, doing: str) -> BaseFileLock:
        """While it holds, no other run of the project does the same."""
        from filelock import FileLock

        self._folder.mkdir(parents=True, exist_ok=True)
        return FileLock(self._folder / f"{doing}.lock")

    @contextlib.contextmanager
    def turn(self, run: Run, hurry: Callable[[], bool], *, last: bool) -> Iterator[frozenset[str]]:
        """`Engine.turn`."""
        list_of_needs = self.hold(run.id) / "needs.json"
        with _patiently(self.alone("turn"), hurry):
            if not last:
                list_of_needs.write_text(json.dumps(run.services), encoding="utf-8")
            others = [path for path in self._directories() if path.name != run.id and self.supervised(path.name)]
            yield frozenset(service for other in others for service in _needs(other))
            if last:
                list_of_needs.unlink(missing_ok=True)

    def supervisors(self) -> dict[str, Process]:
        """The supervisors that live, this process excepted, by run."""
        found = {path.name: Process.read(path) for path in self._directories()}
        return {run: each for run, each in found.items() if each and each.pid != os.getpid() and each.alive()}

    def processes(self, *, ended: bool = False) -> Iterator[tuple[str, str, Process]]:
        """What still runs: the run, the service, the process; with `ended`, each service's last that does not, too."""
        seen: set[str] = set()
        for directory in reversed(self._directories()):
            for folder in _folders(directory):
                process = Process.read(folder)
                if process is not None and (process.alive() or (ended and folder.name not in seen)):
                    seen.add(folder.name)
                    yield directory.name, folder.name, process

    def supervised(self, run: str) -> bool:
        """Whether the supervisor of a run lives."""
        supervisor = Process.read(self._folder / run)
        return supervisor is not None and supervisor.alive()

    def remove(self) -> None:
        """Remove the directories of the runs that are over."""
        with self.alone("directories"):
            for directory in self._directories():
                if not self.supervised(directory.name):
                    shutil.rmtree(directory, ignore_errors=True)

    def _directories(self) -> list[Path]:
        """The directories, oldest first."""
        return _folders(self._folder)

    def _prune(self) -> None:
        busy = {run for run, _, _ in self.processes()}
        for directory in self._directories()[:-_KEPT]:
            if directory.name not in busy and not self.supervised(directory.name):
                shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def _patiently(lock: BaseFileLock, hurry: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock; who is in a hurry goes on without it."""
    from filelock import Timeout

    while not lock.is_locked and not hurry():
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=_BREATH)
    try:
        yield
    finally:
        lock.release()


def _folders(directory: Path) -> list[Path]:
    """The directories in a directory, sorted; none where another run has removed it meanwhile."""
    try:
        return sorted(path for path in directory.iterdir() if path.is_dir())
    except FileNotFoundError:
        return []


def _needs(directory: Path) -> list[str]:
    """The services that a run needs: none before its first turn, and none after its last."""
    try:
        needs: list[str] = json.loads((directory / "needs.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return needs
