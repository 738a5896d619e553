"""The directories of runs: who supervises them, what they need, what still runs in them, and when they go.

A run's directory says which process supervises it, and holds a directory for each of its services. A service whose
supervisor is dead is an orphan, however the supervisor died: nobody needs to have lived to write that down. In the
same way a run needs its services while its supervisor lives and its list of them is there.

A detached run has no supervisor, but *attendants*: a file for each process that sees to it now. It needs its services
until a time, or until a process says that it needs them no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

from gigogne.core.engine import LIFETIME, Detached, Run
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.processes import Process, process_space
from gigogne.engines.session import reap, start_apart

if TYPE_CHECKING:
    from filelock import BaseFileLock

__all__ = ["RunDirectories"]

# Logs of the last runs stay for a look.
_KEPT = 5
# Who waits looks around so often, in seconds.
_BREATH = 0.2
# A directory that was touched so recently is about to be used; in seconds.
_FRESH = 60.0
# What a run needs while it lives, or until a time; what it needs while somebody attends to it; and who does.
_NEEDS, _ATTENDED, _ATTENDANT = "needs.json", "attended.json", "attendant-"


class RunDirectories:
    """The run directories of one project."""

    def __init__(self, paths: Paths, project: str) -> None:
        self._folder = paths.runs(project)
        self._held: set[str] = set()  # the runs that this process supervises
        self._lock = threading.Lock()

    def hold(self, run: Run) -> Path:
        """The directory of a run; made when it is new. Unless the run is detached, this process supervises it."""
        directory = self._folder / run.id
        with self._lock:
            # Of detached runs a process may see any number: the directory itself says that it was made.
            if not directory.is_dir() if run.detached else run.id not in self._held:
                with self.alone("directories"):  # or another run might remove it before it says whose it is
                    directory.mkdir(parents=True, exist_ok=run.detached is not None)
                    if run.detached is None:
                        Process.note(os.getpid(), directory)
                        self._held.add(run.id)
                    self._prune()
        return directory

    def alone(self, doing: str) -> BaseFileLock:
        """While it holds, no other run of the project does the same."""
        return _lock(self._folder, doing)

    def alone_in(self, run: Run, doing: str) -> BaseFileLock:
        """While it holds, no other process of the run does the same."""
        return _lock(self.hold(run), doing)

    @contextlib.contextmanager
    def turn(self, run: Run, hurry: Callable[[], bool], *, last: bool) -> Iterator[frozenset[str]]:
        """`Engine.turn`."""
        place = self._folder / run.id if last else self.hold(run)
        with _patiently(self.alone("turn"), hurry):
            if not last:
                # Several processes, one after the other, may need more and more of one detached run.
                needs = _services(place / _NEEDS).union(run.services) if run.detached else set(run.services)
                until = _until(run.detached.deadline, time.time()) if run.detached else None
                _write(place / _NEEDS, {"services": sorted(needs), "until": until})
            others = [path for path in self._directories() if path.name != run.id]
            yield frozenset(service for other in others for service in self._needed_by(other))
            if last:
                (place / _NEEDS).unlink(missing_ok=True)

    @contextlib.contextmanager
    def attend(self, run: Run) -> Iterator[None]:
        """`Engine.attend`."""
        directory = self.hold(replace(run, detached=run.detached or Detached()))
        name = f"{_ATTENDANT}{os.getpid()}-{secrets.token_hex(4)}.json"
        if not set(run.services) <= (known := _services(directory / _ATTENDED)):
            _write(directory / _ATTENDED, {"services": sorted(known.union(run.services))})
        Process.note(os.getpid(), directory, name)
        try:
            yield
        finally:
            (directory / name).unlink(missing_ok=True)

    def attended(self, run: str) -> bool:
        """Whether another process than this one attends to a run."""
        return any(process.pid != os.getpid() for process in _attendants(self._folder / run))

    def guard(self, command: Sequence[str]) -> None:
        """Start Python with `command`, as a process that outlives this one, unless it runs already."""
        with self.alone("guard"):
            name = f"guard-{crc32(process_space().encode())}.json"  # one in each container: it sees no other's
            guard = Process.read(self._folder, name)
            if guard is not None and guard.alive():
                return
            with (self._folder / "guard.log").open("wb") as log:
                child = start_apart(command, log)
            Process.note(child.pid, self._folder, name)
        reap(child)

    def supervisors(self) -> dict[str, Process]:
        """The supervisors that live, this process excepted, by run."""
        found = {path.name: Process.read(path) for path in self._directories()}
        return {run: each for run, each in found.items() if each and each.pid != os.getpid() and each.alive()}

    def processes(self, *, ended: bool = False) -> Iterator[tuple[str, str, Process]]:
        """What still runs: the run, the service, the process; with `ended`, each service's last that does not, too.

        Of a detached run all that ended and was not discarded, since each is waited for by somebody of its own.
        """
        seen: set[str] = set()
        for run, process in sorted(self._recorded(), key=lambda pair: pair[1].created, reverse=True):
            name = process.directory.name
            last = name not in seen or process.detached_job
            if process.alive() or (ended and last and not process.far):
                seen.add(name)
                yield run, name, process

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

    def _recorded(self) -> Iterator[tuple[str, Process]]:
        """The run and the process of each record."""
        for directory in self._directories():
            for folder in _folders(directory):
                process = Process.read(folder)
                if process is not None:
                    yield directory.name, process

    def _directories(self) -> list[Path]:
        """The directories, oldest first."""
        return _folders(self._folder)

    def _needed_by(self, directory: Path) -> set[str]:
        """What a run needs: while it is supervised, before its time is over, or while somebody attends to it."""
        until = _read(directory / _NEEDS).get("until")
        lives = self.supervised(directory.name) if until is None else time.time() < until
        needs = _services(directory / _NEEDS) if lives else set()
        return needs | (_services(directory / _ATTENDED) if any(_attendants(directory)) else set())

    def _prune(self) -> None:
        """Remove the logs of all but the last runs; of the detached ones, which are many, apart from the others."""
        detached: list[tuple[float, Path]] = []
        others: list[Path] = []
        for path in self._directories():
            if (path / "status.json").exists():
                others.append(path)
            else:
                with contextlib.suppress(OSError):
                    detached.append((path.stat().st_mtime, path))
        old = [path for touched, path in sorted(detached)[:-_KEPT] if time.time() - touched > _FRESH]
        for path in (*others[:-_KEPT], *old):
            if not self._in_use(path):
                shutil.rmtree(path, ignore_errors=True)

    def _in_use(self, directory: Path) -> bool:
        """Whether a run is not over: somebody sees to it, something of it runs, or may be asked for its end."""
        if self.supervised(directory.name) or any(_attendants(directory)) or self._needed_by(directory):
            return True
        return any(map(_is_in_use, filter(None, map(Process.read, _folders(directory)))))


def _is_in_use(process: Process) -> bool:
    if process.alive():
        return True
    # What ended is kept for whoever asks for it, and what is out of sight may run; but neither for ever.
    began = max(process.created, process.terms.deadline or 0.0)
    return (process.detached_job or process.far) and time.time() < began + LIFETIME


def _until(deadline: float | None, began: float) -> float:
    """When the time of a detached run is over."""
    return began + LIFETIME if deadline is None else deadline


def _lock(folder: Path, doing: str) -> BaseFileLock:
    from filelock import FileLock

    folder.mkdir(parents=True, exist_ok=True)
    return FileLock(folder / f"{doing}.lock")


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


def _attendants(directory: Path) -> Iterator[Process]:
    """The processes that attend to a run now; what dead ones have left is removed."""
    for file in directory.glob(f"{_ATTENDANT}*.json"):
        process = Process.read(directory, file.name)
        if process is not None and (process.alive() or process.far):
            yield process
        elif process is not None:
            file.unlink(missing_ok=True)


def _services(file: Path) -> set[str]:
    """The services that a file lists; none where there is no such file, or a run is just writing it."""
    return set(_read(file).get("services", ()))


def _read(file: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content


def _write(file: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content), encoding="utf-8")
    temporary.replace(file)
