"""The process engine: services as plain processes, and real servers in place of well-known images."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from gigogne.core.engine import Detached, Handle, Line, Run, State, Status
from gigogne.core.model import Mount, MountType, Problem, Project, Service
from gigogne.engines.process.children import Children
from gigogne.engines.process.differences import differences
from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.image import is_known_image
from gigogne.engines.process.logs import follow_logs, read_logs, rotate_logs
from gigogne.engines.process.mounts import external_volumes, mount_problems
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.portable import NOTICE
from gigogne.engines.process.ports import port_problems
from gigogne.engines.process.processes import Process, Terms
from gigogne.engines.process.publish import PUBLISHED, publish
from gigogne.engines.process.result import RESULT, read_result
from gigogne.engines.process.runs import RunDirectories
from gigogne.engines.process.sandbox import Bubblewrap, find_bubblewrap
from gigogne.engines.process.started import Started
from gigogne.engines.process.support import key_problems, unknown_image
from gigogne.engines.process.town import Town, town_of
from gigogne.errors import EngineError

__all__ = ["ProcessEngine"]

# What a run needs to end beside the grace periods of its services, in seconds.
_PATIENCE = 20.0
# With less than these bytes a disk is full.
_ROOM = 64 * 1024


class ProcessEngine:
    """Runs services as processes of this machine.

    `bubblewrap` None is the portable way. `notify` is told, by service, what is being prepared.
    """

    name = "process"

    def __init__(self, paths: Paths, bubblewrap: Bubblewrap | None, notify: Callable[[str, str], None]) -> None:
        self.paths = paths
        self.bubblewrap = bubblewrap
        self._notify = notify
        self._towns: dict[str, Town] = {}
        self._founding = threading.Lock()
        self._started: dict[tuple[str, str], Started] = {}
        self._runs: dict[str, RunDirectories] = {}
        self._children = Children()

    @classmethod
    def of_this_machine(cls, notify: Callable[[str, str], None]) -> ProcessEngine:
        """The engine as this machine allows it; `GIGOGNE_PROCESS=sandbox|portable` forces one way.

        Raises:
            EngineError: The way that was asked for is not to be had.
        """
        asked = os.environ.get("GIGOGNE_PROCESS", "")
        if asked not in ("", "sandbox", "portable"):
            raise EngineError(f"GIGOGNE_PROCESS is {asked!r}", "write sandbox or portable, or unset it")
        bubblewrap, reason = (None, "") if asked == "portable" else find_bubblewrap()
        if asked == "sandbox" and bubblewrap is None:
            raise EngineError(f"GIGOGNE_PROCESS=sandbox, but {reason}", "unset it to run without the sandbox")
        return cls(Paths.of_user(), bubblewrap, notify)

    @classmethod
    def every_way(cls, notify: Callable[[str, str], None]) -> list[ProcessEngine]:
        """The engine in each way that this machine allows, whatever `GIGOGNE_PROCESS` says."""
        bubblewrap, _ = find_bubblewrap()
        return [cls(Paths.of_user(), way, notify) for way in ((bubblewrap, None) if bubblewrap else (None,))]

    def __str__(self) -> str:
        """The engine and its way."""
        return f"{self.name} ({'portable' if self.bubblewrap is None else 'sandbox'})"

    def check(self, project: Project, services: Sequence[str], *, publish: bool = True) -> list[Problem]:
        """What cannot be honoured, or is honoured differently, of the keys, images, servers and ports."""
        town, problems = self._town(project), [] if self.bubblewrap else [Problem("", "", NOTICE, fatal=False)]
        part = replace(project, services={name: project.services[name] for name in services})
        sandboxed = self.bubblewrap is not None
        for service in part.services.values():
            problems += key_problems(service)
            embedded = service.name in town.embedded
            problems += mount_problems(service, project, self.paths, embedded=embedded, sandboxed=sandboxed)
            if service.build is None and service.name not in town.embedded and not is_known_image(service.image):
                problems.append(unknown_image(service))
            else:
                problems += town.services[service.name].check()
        running = {handle.service for handle in self.find(project)}
        problems += differences(part, town.embedded)
        found = port_problems(part, town.network, town.embedded, running, sandboxed=sandboxed, publish=publish)
        return [*problems, *found]

    def prepare(self, service: Service, run: Run) -> None:
        """Make the image's files and environments, or install the server."""
        with self._children.noted():
            self._town(run.project).services[service.name].prepare(lambda text: self._notify(service.name, text))

    def cancel(self) -> None:
        """End what makes services ready: uv, an initdb. Else only a terminal's Ctrl-C ends them."""
        self._children.end()

    def turn(
        self, run: Run, hurry: Callable[[], bool], *, last: bool = False
    ) -> AbstractContextManager[frozenset[str]]:
        """A turn, by a lock on the project's runs."""
        return self._directories(run.project).turn(run, hurry, last=last)

    def attend(self, run: Run) -> AbstractContextManager[None]:
        """A file in the run's directory that names this process."""
        return self._directories(run.project).attend(run)

    def guard(self, project: Project, command: Sequence[str]) -> None:
        """Start it unless it runs; a file of the project names it."""
        self._directories(project).guard(command)

    def start(self, service: Service, run: Run) -> Handle:
        """Start the service's process, and the relay of its ports.

        Raises:
            ServiceError: The command is not to be found (127) or cannot be run (126), as in Docker.
            EngineError: The server cannot be started here, or the job of a detached run has not ended.
        """
        directories = self._directories(run.project)
        if self._town(run.project).is_server(service.name):
            with directories.alone(f"start-{service.name}"):  # runs share a server: one of them starts it
                for other, name, process in directories.processes():
                    if name == service.name:
                        return self._found(other, name, process, run.project)
                return self._start(service, run)
        if run.detached is None:
            return self._start(service, run)
        with directories.alone_in(run, f"start-{service.name}"):
            earlier = Process.read(directories.hold(run) / service.name)
            if earlier is not None and (earlier.alive() or earlier.far):
                raise EngineError(f"{service.name} of run {run.id} still runs", "wait for its end, or stop it")
            return self._start(service, run)

    def _start(self, service: Service, run: Run) -> Handle:
        directory = self._directories(run.project).hold(run) / service.name
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        _put_aside(directory)
        town = self._town(run.project)
        terms = _terms(run.detached, job=not town.is_server(service.name))
        with self._children.noted():
            process, child = town.services[service.name].start(directory, town.network, terms)
        started = self._started[run.id, service.name] = Started(process, child)
        try:
            started.health = town.services[service.name].watch(process, town.network)
            started.relay = publish(town.published(service), directory, everywhere=service.name not in town.embedded)
            return self._handle(service.name, run.id, process, run.project)
        except BaseException:  # without a handle nobody could stop it
            started.stop(grace=0)
            raise

    def status(self, handle: Handle) -> Status:
        """What the process does now; EXITED has its exit code."""
        started = self._of(handle)
        code = started.wait(timeout=0)
        if code is not None:
            return Status(State.EXITED, code, self._full_disk() if code else "")
        if started.health is None:
            return Status(State.RUNNING)
        health = started.health
        # Who hears that a server is healthy goes to its port.
        closed = health.state is State.HEALTHY and not started.published
        return Status(State.STARTING if closed else health.state, detail=health.detail)

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait for the end of the process."""
        self._of(handle).wait(timeout)
        return self.status(handle)

    def ended(self, handles: Sequence[Handle]) -> list[Handle]:
        """Those whose process is over, those of which nothing is left included."""
        self._forget_ended()
        return [handle for handle in handles if not _runs_now(handle)]

    def logs(
        self, handle: Handle, *, follow: bool, since: float = 0.0, tail: int | None = None, after: str = ""
    ) -> Iterator[Line]:
        """The lines of its log files; of a detached job, and with `follow`, those of the present try, else of all."""
        started = self._of(handle)
        process = started.process
        if not follow:
            return read_logs(process.directory, since=since, tail=tail, after=after, present=process.detached_job)
        return follow_logs(
            process.directory, started.ended, since=since, tail=tail, after=after, record=started.child is not None
        )

    def environment(self, handle: Handle) -> dict[str, str] | None:
        """The variables of the process, while it runs where they can be looked at."""
        try:
            return self._of(handle).process.environment()
        except EngineError:
            return None

    def result(self, handle: Handle) -> bytes | None:
        """What the job wrote to its file.

        Raises:
            EngineError: It is larger than a result may be.
        """
        process = self._of(handle).process
        return read_result(Path(process.result), process.created) if process.result else None

    def stop(self, handle: Handle, *, grace: float) -> None:
        """Its stop signal, then after `grace` seconds the end of it and of all its children."""
        self._of(handle).stop(grace)

    def discard(self, handle: Handle) -> None:
        """Forget the process, and of a detached job its end and its result; its logs stay, for a while at least."""
        started = self._of(handle)
        process = started.process
        if process.detached_job and started.wait(timeout=0) is not None:
            shutil.rmtree(process.directory / RESULT, ignore_errors=True)
            (process.directory / "status.json").unlink(missing_ok=True)
        self._started.pop((handle.run, handle.service), None)

    def find(self, project: Project, *, ended: bool = False) -> list[Handle]:
        """What runs of this project, and with `ended` what ran last."""
        directories = self._directories(project)
        found = []
        for run, name, process in directories.processes(ended=ended):
            found.append(self._found(run, name, process, project))
        return found

    def end_runs(self, project: Project) -> list[str]:
        """Ask the supervisors of the project's runs to end, as Ctrl-C would; one that does not is ended."""
        patience = _PATIENCE + max((service.stop_grace_period for service in project.services.values()), default=0)
        supervisors = self._directories(project).supervisors()
        for supervisor in supervisors.values():
            supervisor.signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for supervisor in supervisors.values():
            if not supervisor.ended(max(0.0, deadline - time.monotonic())):
                supervisor.kill()
        return list(supervisors)

    def remove(self, project: Project, *, volumes: bool) -> None:
        """Remove the logs of ended runs and, with `volumes`, the project's own volumes and the servers' data."""
        self._directories(project).remove()
        if not volumes:
            return
        for key in project.volumes.keys() - external_volumes(project):
            shutil.rmtree(self.paths.volume(project.volumes[key]), ignore_errors=True)
        shutil.rmtree(self.paths.project(project.name), ignore_errors=True)

    def place(self, mount: Mount, project: Project) -> Path | None:
        """Where what a mount shows lies on this machine; None where it is forgotten with the service."""
        if mount.type is MountType.VOLUME and mount.source:
            return self.paths.mounted(mount, project)
        return Path(mount.source) if mount.type is MountType.BIND else None

    def where(self, service: Service, project: Project) -> str:
        """How to reach a server from this machine, in words."""
        return self._town(project).where(service)

    def _town(self, project: Project) -> Town:
        """The project as it runs here; made once, because each service asks for it, and remembers what is prepared."""
        with self._founding:
            known = self._towns.get(project.name)
            if known is not None and known.project is project:
                return known
            town = town_of(project, self.paths, self.bubblewrap)
            if project.services:  # who knows nothing but the name has nothing prepared
                self._towns[project.name] = town
            return town

    def _found(self, run: str, name: str, process: Process, project: Project) -> Handle:
        started = self._started.get((run, name))
        if started is None or started.process != process:  # another try of it, by who supervises it
            started = Started(process, seen_alive=process.alive())
            if started.seen_alive and project.services:  # who knows nothing but the name has nothing to watch
                self._started[run, name] = started
        if started.health is None and started.child is None:
            started.health = self._watch_found(project, name, process)
        return self._handle(name, run, process, project)

    def _watch_found(self, project: Project, name: str, process: Process) -> HealthMonitor | None:
        """The health of a service that somebody else started; None where we cannot look at it, or not yet."""
        if name not in project.services or not process.alive():
            return None
        town = self._town(project)
        return town.services[name].watch(process, town.network)

    def _full_disk(self) -> str:
        """That there is no room any more, which a service cannot say itself: its logs are on the same disk."""
        full = shutil.disk_usage(self.paths.data).free < _ROOM
        return f"No space left on device under {self.paths.data}: make room, or set GIGOGNE_DATA_DIR" if full else ""

    def _handle(self, name: str, run: str, process: Process, project: Project) -> Handle:
        directories = self._directories(project)
        terms = process.terms
        data: dict[str, Any] = {
            "pid": process.pid,
            "directory": str(process.directory),
            "orphan": not terms.detached and not directories.supervised(run),
            "began": process.created,
            "job": terms.job,
            "left": str(process.directory),
        }
        if process.detached_job:
            data |= {"detached": True, "deadline": terms.deadline, "attended": directories.attended(run)}
        service, town = project.services.get(name), self._town(project)
        if service is not None and town.is_server(name):
            data |= {"title": town.services[name].title, "address": town.where(service)}
        return Handle(name, self.name, run, data)

    def _of(self, handle: Handle) -> Started:
        """The service of a handle.

        Raises:
            EngineError: Its record is gone, is that of a later try, or is of another container.
        """
        known, hint = self._started.get((handle.run, handle.service)), "run it again"
        if known is not None and known.process.pid == handle.data["pid"]:
            return known
        process = Process.read(Path(handle.data["directory"]))
        if process is None or process.pid != handle.data["pid"]:
            raise EngineError(f"nothing is left of {handle.service} in {handle.data['directory']}", hint)
        if process.far:
            raise EngineError(f"{handle.service} runs in another container", "look from within that one")
        started = Started(process, seen_alive=process.alive())
        if started.seen_alive:  # else its record says all that there is to know
            self._started[handle.run, handle.service] = started
        return started

    def _forget_ended(self) -> None:
        """Forget the detached jobs that are over: who sees to those of weeks would keep them all."""
        for key, started in list(self._started.items()):
            if started.process.detached_job and started.wait(timeout=0) is not None:
                self._started.pop(key, None)

    def _directories(self, project: Project) -> RunDirectories:
        if project.name not in self._runs:
            self._runs[project.name] = RunDirectories(self.paths, project.name)
        return self._runs[project.name]


def _terms(detached: Detached | None, *, job: bool) -> Terms:
    if detached is None:
        return Terms(job)
    return Terms(job, True, detached.deadline, detached.attempt, dict(detached.labels))


def _runs_now(handle: Handle) -> bool:
    """Whether the process of a handle runs, or, in another container, may."""
    process = Process.read(Path(handle.data["directory"]))
    return process is not None and process.pid == handle.data["pid"] and (process.alive() or process.far)


def _put_aside(directory: Path) -> None:
    """Make room in a service's directory for another try; its logs stay."""
    for name in ("status.json", "code", "bwrap.json", PUBLISHED):
        (directory / name).unlink(missing_ok=True)
    for name in ("scratch", RESULT):
        shutil.rmtree(directory / name, ignore_errors=True)
    rotate_logs(directory)
