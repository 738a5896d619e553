"""The process engine: services as plain processes, and real servers in place of well-known images."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from gigogne.core.engine import Handle, Line, Run, State, Status
from gigogne.core.graph import kinds
from gigogne.core.model import Healthcheck, Kind, MountType, Problem, Project, Service
from gigogne.engines.process.addresses import server_addresses, unanswered
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded import EmbeddedServer, embedded_server
from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.image import Image, check_image, prepare_image
from gigogne.engines.process.launch import Launch, make_launch, place_mount, require_program
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.portable import NOTICE, portable_command
from gigogne.engines.process.processes import Process, exit_code, spawn
from gigogne.engines.process.runs import RunDirectories
from gigogne.engines.process.sandbox import Bubblewrap, find_bubblewrap, sandbox_command, sandbox_exec
from gigogne.engines.process.support import key_problems
from gigogne.errors import EngineError, ServiceError

__all__ = ["ProcessEngine"]

_KILLED = 9  # SIGKILL, by its number: Windows has no such name
# How often an embedded server is asked whether it is ready, and for how long at most.
_EMBEDDED_CHECK = Healthcheck(test=("CMD",), interval=0.25, timeout=5.0, retries=240)


@dataclass(slots=True)
class _Started:
    """What this process knows of a service that it started or found."""

    process: Process
    child: subprocess.Popen[bytes] | None = None
    health: HealthMonitor | None = None
    scratch: Path | None = None
    code: int | None = field(default=None)


class ProcessEngine:
    """Runs services as processes of this machine.

    `bubblewrap` None is the portable way. `notify` is told, by service, what is being prepared.
    """

    name = "process"

    def __init__(self, paths: Paths, bubblewrap: Bubblewrap | None, notify: Callable[[str, str], None]) -> None:
        self.paths = paths
        self.bubblewrap = bubblewrap
        self._notify = notify
        self._images: dict[str, Image] = {}
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

    def __str__(self) -> str:
        """The engine and its way."""
        return f"{self.name} ({'portable' if self.bubblewrap is None else 'sandbox'})"

    def check(self, project: Project) -> list[Problem]:
        """Everything that cannot be honoured, or is honoured differently, of the keys, images and servers."""
        problems = [] if self.bubblewrap else [Problem("", "", NOTICE, fatal=False)]
        lost = unanswered(sorted(set(self.addresses(project).values())))
        if lost:
            aliases = "; ".join(f"sudo ifconfig lo0 alias {address} up" for address in lost)
            message = f"servers need the loopback addresses {', '.join(lost)}, on which this system does not answer"
            problems.append(Problem("", "", message, f"on macOS give it them: {aliases}"))
        for service in project.services.values():
            problems += key_problems(service, project)
            server = _embedded(service)
            if service.build is not None:
                problems += check_image(service, project, self.paths)
            elif server is not None:
                problems.append(Problem(service.name, "", server.title, fatal=False))
                problems += server.check(service)
            else:
                problems.append(
                    Problem(
                        service.name,
                        f"services.{service.name}.image",
                        f"the image {service.image} can only run in Docker",
                        "give the service a build:, or run it with docker compose",
                    )
                )
        return problems

    def prepare(self, service: Service, run: Run) -> None:
        """Make the image's files and environments, or install the server."""

        def progress(text: str) -> None:
            self._notify(service.name, text)

        server = _embedded(service)
        if server is not None:
            server.prepare(self.paths, progress)
        else:
            self._images[service.name] = prepare_image(service, run.project, self.paths, progress)

    def start(self, service: Service, run: Run) -> Handle:
        """Start the service's process.

        Raises:
            ServiceError: The command is not to be found (127) or cannot be run (126), as in Docker.
            EngineError: The server cannot be started here.
        """
        directory = self._directories(run.project).hold(run.id) / service.name
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        directory.chmod(0o755)
        hosts = self.addresses(run.project)
        server = _embedded(service)
        if server is not None:
            started = self._start_embedded(server, service, run.project, hosts[service.name], directory)
        else:
            started = self._start_built(service, run.project, hosts, directory)
        self._started[run.id, service.name] = started
        return self._handle(service.name, run.id, run.project)

    def status(self, handle: Handle) -> Status:
        """What the process does now; EXITED has its exit code."""
        started = self._of(handle)
        code = self._code(started, timeout=0)
        if code is not None:
            return Status(State.EXITED, code)
        if started.health is None:
            return Status(State.RUNNING)
        return Status(started.health.state, detail=started.health.detail)

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait for the end of the process."""
        started = self._of(handle)
        self._code(started, timeout)
        return self.status(handle)

    def logs(self, handle: Handle, *, follow: bool) -> Iterator[Line]:
        """The lines of its log files."""
        return self._of(handle).process.lines(follow=follow)

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

    def find(self, project: Project) -> list[Handle]:
        """What runs of this project. `data["orphan"]` says that its supervisor is dead."""
        directories = self._directories(project)
        found = []
        for run, name, process in directories.processes():
            key = (run, name)
            if key not in self._started:
                self._started[key] = _Started(process, health=self._watch_found(project, name, process))
            found.append(self._handle(name, run, project, orphan=not directories.supervised(run)))
        return found

    def remove(self, project: Project, *, volumes: bool) -> None:
        """Remove the logs of ended runs and, with `volumes`, the named volumes and the servers' data."""
        self._directories(project).remove()
        if not volumes:
            return
        for name in project.volumes.values():
            shutil.rmtree(self.paths.volume(name), ignore_errors=True)
        shutil.rmtree(self.paths.project(project.name), ignore_errors=True)

    def addresses(self, project: Project) -> dict[str, str]:
        """The loopback address of each server of the project, under its name and its aliases."""
        servers = [name for name, kind in kinds(project).items() if kind is Kind.SERVER]
        by_name = server_addresses(project.name, servers)
        aliases = {alias: by_name[name] for name in servers for alias in project.services[name].aliases}
        return aliases | by_name

    def where(self, service: Service, project: Project) -> str:
        """How to reach a server from this machine, in words: its address, and its port where that is known."""
        address = self.addresses(project).get(service.name, "127.0.0.1")
        server = _embedded(service)
        ports = [server.port(service)] if server else [*(port.target for port in service.ports), *service.expose]
        return ", ".join(f"{address}:{port}" for port in ports) or address

    def _start_embedded(
        self, server: EmbeddedServer, service: Service, project: Project, address: str, directory: Path
    ) -> _Started:
        data = self._data_of(server, service, project, directory)
        runtime = directory / "runtime"
        runtime.mkdir()
        binary = self.bubblewrap.path if self.bubblewrap else None
        command = server.command(service, address, data, runtime, self.paths, binary)
        process, child = _spawn(service, command, directory)
        return _Started(process, child, self._watch_embedded(server, service, address), runtime)

    def _start_built(self, service: Service, project: Project, hosts: dict[str, str], directory: Path) -> _Started:
        scratch = directory / "scratch"
        scratch.mkdir()
        image = self._images[service.name]
        launch = make_launch(service, project, image, self.paths, hosts, scratch)
        command = self._command(launch)
        number = service.stop_signal or image.config.stop_signal
        if number:
            command = replace(command, stop_signal=_signal(number, service))
        process, child = _spawn(service, command, directory)
        return _Started(process, child, self._watch(launch, process, service), scratch)

    def _command(self, launch: Launch) -> Command:
        if self.bubblewrap:
            command, program = sandbox_command(launch, self.bubblewrap), launch.argv[0]
        else:
            command = portable_command(launch)
            program = command.argv[0]
        require_program(launch, program, command.environment["PATH"], sandboxed=command.sandboxed)
        return command

    def _probe(self, launch: Launch, process: Process, check: Healthcheck, timeout: float) -> bool:
        """Whether one look at the service finds it well."""
        form, *words = check.test
        shell = ["cmd", "/c"] if sys.platform == "win32" else ["/bin/sh", "-c"]
        argv = (*shell, " ".join(words)) if form == "CMD-SHELL" else tuple(words)
        if self.bubblewrap:
            pid = process.inner_pid()
            if pid is None:
                return False
            command = sandbox_exec(launch, pid, argv)
        else:
            command = portable_command(replace(launch, argv=argv))
        try:
            looked = subprocess.run(
                command.argv,
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return False
        return looked.returncode == 0

    def _data_of(self, server: EmbeddedServer, service: Service, project: Project, directory: Path) -> Path:
        """Where a server's data lies: in the mount at its data directory, else in the project's own directory."""
        target = server.data_target(service)
        for mount in service.mounts:
            under = f"{target}/".startswith(f"{mount.target.rstrip('/')}/")
            if under and mount.type in (MountType.VOLUME, MountType.BIND) and mount.source:
                source = place_mount(mount, service, project, self.paths, directory).source
                assert source is not None
                return source
        data = self.paths.project(project.name) / "data" / service.name
        data.mkdir(parents=True, exist_ok=True)
        return data

    def _watch_found(self, project: Project, name: str, process: Process) -> HealthMonitor | None:
        """The health of a service that somebody else started; None where we cannot look at it."""
        service = project.services.get(name)
        if service is None:
            return None
        hosts, server = self.addresses(project), _embedded(service)
        if server is not None:
            return self._watch_embedded(server, service, hosts[name])
        if name not in self._images:
            return None
        scratch = process.directory / "scratch"
        return self._watch(
            make_launch(service, project, self._images[name], self.paths, hosts, scratch), process, service
        )

    def _watch_embedded(self, server: EmbeddedServer, service: Service, address: str) -> HealthMonitor:
        return HealthMonitor(_EMBEDDED_CHECK, lambda _timeout: server.ready(service, address), once=True)

    def _watch(self, launch: Launch, process: Process, service: Service) -> HealthMonitor | None:
        """The health check of the service at work, where it has one."""
        check = service.healthcheck
        if check is None or not check.test:
            return None
        return HealthMonitor(check, lambda timeout: self._probe(launch, process, check, timeout))

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
        if started.code is not None:
            if started.health:
                started.health.stop()
            if not started.process.sandboxed:
                _end_session(started.process.pid)
            if started.scratch is not None:
                shutil.rmtree(started.scratch, ignore_errors=True)
        return started.code

    def _handle(self, name: str, run: str, project: Project, *, orphan: bool = False) -> Handle:
        process = self._started[run, name].process
        data = {"pid": process.pid, "directory": str(process.directory), "orphan": orphan}
        service = project.services.get(name)
        if service is not None and kinds(project)[name] is Kind.SERVER:
            server = _embedded(service)
            data |= {"title": server.title if server else "", "address": self.where(service, project)}
        return Handle(name, self.name, run, data)

    def _of(self, handle: Handle) -> _Started:
        key = (handle.run, handle.service)
        if key not in self._started:
            process = Process.read(Path(handle.data["directory"]))
            if process is None:
                raise EngineError(f"nothing is left of {handle.service} in {handle.data['directory']}", "run it again")
            self._started[key] = _Started(process)
        return self._started[key]

    def _directories(self, project: Project) -> RunDirectories:
        if project.name not in self._runs:
            self._runs[project.name] = RunDirectories(self.paths, project.name)
        return self._runs[project.name]


def _embedded(service: Service) -> EmbeddedServer | None:
    return embedded_server(service.image) if service.build is None else None


def _spawn(service: Service, command: Command, directory: Path) -> tuple[Process, subprocess.Popen[bytes]]:
    try:
        return spawn(command, directory)
    except OSError as error:
        code = 127 if isinstance(error, FileNotFoundError) else 126
        raise ServiceError(
            f"{service.name}: {command.argv[0]} cannot be started: {error.strerror}",
            "correct the command of the service",
            service=service.name,
            exit_code=code,
        ) from error


def _signal(name: str, service: Service) -> int:
    try:
        return int(name) if name.isdigit() else int(signal.Signals[name if name.startswith("SIG") else f"SIG{name}"])
    except KeyError:
        raise ServiceError(
            f"services.{service.name}.stop_signal: this system knows no {name}",
            "write a signal such as SIGINT",
            service=service.name,
            exit_code=126,
        ) from None


def _end_session(pid: int) -> None:
    """End what a service left behind in its session, as the end of a container would."""
    if sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
