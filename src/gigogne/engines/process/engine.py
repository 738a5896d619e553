"""The process engine: services as plain processes, and real servers in place of well-known images."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from gigogne.core.engine import Handle, Line, Run, State, Status
from gigogne.core.model import Mount, MountType, Problem, Project, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.built import BuiltService
from gigogne.engines.process.differences import differences
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.image import is_known_image
from gigogne.engines.process.logs import follow_logs, read_logs, rotate_logs
from gigogne.engines.process.mounts import external_volumes, mount_problems
from gigogne.engines.process.network import Network, network_of, publications
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.portable import NOTICE
from gigogne.engines.process.ports import port_problems
from gigogne.engines.process.processes import Process, end_family, exit_code
from gigogne.engines.process.publish import publish
from gigogne.engines.process.runs import RunDirectories
from gigogne.engines.process.sandbox import Bubblewrap, find_bubblewrap
from gigogne.engines.process.served import ServedService
from gigogne.engines.process.support import key_problems, unknown_image
from gigogne.errors import EngineError

__all__ = ["ProcessEngine"]

_KILLED = 9  # SIGKILL, by its number: Windows has no such name
# What a run needs to end beside the grace periods of its services, in seconds.
_PATIENCE = 20.0
# With less than these bytes a disk is full.
_ROOM = 64 * 1024


@dataclass(slots=True)
class _Started:
    """What this process knows of a service that it started or found."""

    process: Process
    child: subprocess.Popen[bytes] | None = None
    health: HealthMonitor | None = None
    relay: subprocess.Popen[bytes] | None = None
    seen_alive: bool = True
    code: int | None = None
    over: threading.Event = field(default_factory=threading.Event)

    def ended(self, timeout: float) -> bool:
        """Whether it ends within so many seconds, as seen by another thread than the one that waits for it, if any."""
        return self.over.wait(timeout) or (self.child is not None and self.child.poll() is not None)


@dataclass(frozen=True, slots=True)
class _Town:
    """A project as this engine runs it: what runs in place of each container, and who is reached where."""

    project: Project
    services: dict[str, BuiltService | ServedService]
    embedded: dict[str, int]
    network: Network

    def published(self, service: Service) -> dict[Endpoint, Endpoint]:
        """Where the service is published → where it is. An embedded server has one port, whatever its image has."""
        known = self.embedded.get(service.name)
        ports = (p for p in publications(service) if known in (None, p.target))
        return {p.at: self.network.endpoint(service.name, p.target) for p in ports}


class ProcessEngine:
    """Runs services as processes of this machine.

    `bubblewrap` None is the portable way. `notify` is told, by service, what is being prepared.
    """

    name = "process"

    def __init__(self, paths: Paths, bubblewrap: Bubblewrap | None, notify: Callable[[str, str], None]) -> None:
        self.paths = paths
        self.bubblewrap = bubblewrap
        self._notify = notify
        self._towns: dict[str, _Town] = {}
        self._started: dict[tuple[str, str], _Started] = {}
        self._runs: dict[str, RunDirectories] = {}

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
        self._town(run.project).services[service.name].prepare(lambda text: self._notify(service.name, text))

    def cancel(self) -> None:
        """End every child that is no service and no relay: uv, an initdb. Else only a terminal's Ctrl-C ends them."""
        known = list(self._started.values())  # other threads start services meanwhile
        ours = {started.process.pid for started in known}
        ours |= {started.relay.pid for started in known if started.relay}
        for child in psutil.Process().children():
            if child.pid not in ours:
                end_family(child)

    def turn(
        self, run: Run, hurry: Callable[[], bool], *, last: bool = False
    ) -> AbstractContextManager[frozenset[str]]:
        """A turn, by a lock on the project's runs."""
        return self._directories(run.project).turn(run, hurry, last=last)

    def start(self, service: Service, run: Run) -> Handle:
        """Start the service's process, and the relay of its ports.

        Raises:
            ServiceError: The command is not to be found (127) or cannot be run (126), as in Docker.
            EngineError: The server cannot be started here.
        """
        town, directories = self._town(run.project), self._directories(run.project)
        if service.name not in town.network.hosts:
            return self._start(service, run)
        with directories.alone(f"start-{service.name}"):  # runs share a server: one of them starts it
            for other, name, process in directories.processes():
                if name == service.name:
                    return self._found(other, name, process, run.project)
            return self._start(service, run)

    def _start(self, service: Service, run: Run) -> Handle:
        directory = self._directories(run.project).hold(run.id) / service.name
        directory.mkdir(exist_ok=True)
        directory.chmod(0o755)
        _put_aside(directory)
        town = self._town(run.project)
        process, child = town.services[service.name].start(directory, town.network)
        started = self._started[run.id, service.name] = _Started(process, child)
        try:
            started.health = town.services[service.name].watch(process, town.network)
            started.relay = publish(town.published(service), directory, everywhere=service.name not in town.embedded)
            return self._handle(service.name, run.id, run.project)
        except BaseException:  # without a handle nobody could stop it
            process.kill()
            self._code(started, timeout=5)
            raise

    def status(self, handle: Handle) -> Status:
        """What the process does now; EXITED has its exit code."""
        started = self._of(handle)
        code = self._code(started, timeout=0)
        if code is not None:
            return Status(State.EXITED, code, self._full_disk() if code else "")
        if started.health is None:
            return Status(State.RUNNING)
        return Status(started.health.state, detail=started.health.detail)

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait for the end of the process."""
        self._code(self._of(handle), timeout)
        return self.status(handle)

    def logs(self, handle: Handle, *, follow: bool, since: float = 0.0, tail: int | None = None) -> Iterator[Line]:
        """The lines of its log files; with `follow` those of the present try, else of all tries."""
        started = self._of(handle)
        process, record = started.process, started.child is not None
        if not follow:
            return read_logs(process.directory, since=since, tail=tail)
        ended = started.ended if record else process.ended
        return follow_logs(process.directory, ended, since=since, tail=tail, record=record)

    def stop(self, handle: Handle, *, grace: float) -> None:
        """Its stop signal, then after `grace` seconds the end of it and of all its children."""
        started = self._of(handle)
        if started.health:
            started.health.stop()
        if grace > 0 and self._code(started, timeout=0) is None:
            started.process.signal(started.process.stop_signal)
            self._code(started, timeout=grace)
        started.process.kill()
        self._code(started, timeout=5)

    def discard(self, handle: Handle) -> None:
        """Forget the process; its logs stay until the project's runs are removed."""
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
        """How to reach a server from this machine, in words: where it is published, else its address and ports."""
        town = self._town(project)
        published = town.published(service)
        if published:
            return ", ".join(map(str, published))
        if service.name in town.embedded:
            return str(town.network.endpoint(service.name, town.embedded[service.name]))
        address = town.network.endpoint(service.name, 0).address
        ports = [*(port.target for port in service.ports), *service.expose]
        return ", ".join(f"{address}:{port}" for port in ports) or address

    def _town(self, project: Project) -> _Town:
        """The project as it runs here; made once, because each service asks for it."""
        known = self._towns.get(project.name)
        if known is not None and known.project is project:
            return known
        services: dict[str, BuiltService | ServedService] = {}
        for service in project.services.values():
            server = embedded_server(service.image) if service.build is None else None
            if server is not None:
                services[service.name] = ServedService(server, service, project, self.paths, self.bubblewrap)
            else:
                services[service.name] = BuiltService(service, project, self.paths, self.bubblewrap)
        embedded = {name: each.embedded_port for name, each in services.items() if each.embedded_port is not None}
        town = _Town(project, services, embedded, network_of(project, embedded))
        self._towns[project.name] = town
        return town

    def _found(self, run: str, name: str, process: Process, project: Project) -> Handle:
        started = self._started.get((run, name))
        if started is None or started.process != process:  # another try of it, by who supervises it
            started = self._started[run, name] = _Started(process, seen_alive=process.alive())
        if started.health is None and started.child is None:
            started.health = self._watch_found(project, name, process)
        return self._handle(name, run, project, orphan=not self._directories(project).supervised(run))

    def _watch_found(self, project: Project, name: str, process: Process) -> HealthMonitor | None:
        """The health of a service that somebody else started; None where we cannot look at it, or not yet."""
        if name not in project.services or not process.alive():
            return None
        town = self._town(project)
        return town.services[name].watch(process, town.network)

    def _code(self, started: _Started, timeout: float | None) -> int | None:
        """The exit code, once the process has ended within `timeout` seconds; what it leaves is cleaned up then."""
        if started.code is not None:
            return started.code
        if started.child is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                started.code = exit_code(started.child.wait(timeout))
        elif started.process.ended(timeout):
            # Who ends without a word of it was killed.
            code = started.process.code_left_behind()
            started.code = 128 + _KILLED if code is None else code
        # The id of one that had ended before may be another process's by now.
        if started.code is not None and started.seen_alive:
            self._clean_up(started)
        if started.code is not None:
            started.over.set()
        return started.code

    def _full_disk(self) -> str:
        """That there is no room any more, which a service cannot say itself: its logs are on the same disk."""
        full = shutil.disk_usage(self.paths.data).free < _ROOM
        return f"No space left on device under {self.paths.data}: make room, or set GIGOGNE_DATA_DIR" if full else ""

    def _clean_up(self, started: _Started) -> None:
        assert started.code is not None
        if started.health:
            started.health.stop()
        supervisor = Process.read(started.process.directory.parent)
        if started.child is None and supervisor is not None and supervisor.alive():
            return  # who started it sees to it, and knows its true code
        started.process.leave_behind(started.code)
        if started.relay:
            started.relay.kill()
            started.relay.wait()
        if started.process.sandboxed:
            started.process.kill_inner()
        else:
            _end_session(started.process.pid)
        shutil.rmtree(started.process.directory / "scratch", ignore_errors=True)

    def _handle(self, name: str, run: str, project: Project, *, orphan: bool = False) -> Handle:
        process = self._started[run, name].process
        data = {"pid": process.pid, "directory": str(process.directory), "orphan": orphan, "began": process.created}
        data["left"] = data["directory"]
        service, town = project.services.get(name), self._town(project)
        if service is not None and name in town.network.hosts:
            data |= {"title": town.services[name].title, "address": self.where(service, project)}
        return Handle(name, self.name, run, data)

    def _of(self, handle: Handle) -> _Started:
        key = (handle.run, handle.service)
        if key not in self._started:
            process = Process.read(Path(handle.data["directory"]))
            if process is None:
                raise EngineError(f"nothing is left of {handle.service} in {handle.data['directory']}", "run it again")
            self._started[key] = _Started(process, seen_alive=process.alive())
        return self._started[key]

    def _directories(self, project: Project) -> RunDirectories:
        if project.name not in self._runs:
            self._runs[project.name] = RunDirectories(self.paths, project.name)
        return self._runs[project.name]


def _put_aside(directory: Path) -> None:
    """Make room in a service's directory for another try; its logs stay."""
    for name in ("status.json", "code", "bwrap.json"):
        (directory / name).unlink(missing_ok=True)
    shutil.rmtree(directory / "scratch", ignore_errors=True)
    rotate_logs(directory)


def _end_session(pid: int) -> None:
    """End what a service left behind in its session, as the end of a container would."""
    if sys.platform != "win32":
        for member in psutil.pids():  # a shell's jobs have groups of their own, in the same session
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(member) == pid:
                    os.kill(member, signal.SIGKILL)
