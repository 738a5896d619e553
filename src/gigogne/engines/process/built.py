"""A service whose own code runs: built from a Dockerfile, or an image that can be made without Docker."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from gigogne.core.model import Healthcheck, Problem, Project, Service
from gigogne.engines.process.command import Command
from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.image import Image, check_image, prepare_image
from gigogne.engines.process.keeper import start
from gigogne.engines.process.launch import Launch, make_launch, require_program
from gigogne.engines.process.network import Network
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.portable import portable_command
from gigogne.engines.process.processes import Process, Terms, end_family
from gigogne.engines.process.result import RESULT, with_result
from gigogne.engines.process.sandbox import Bubblewrap, sandbox_command, sandbox_exec
from gigogne.engines.session import own_session
from gigogne.errors import ServiceError

__all__ = ["BuiltService"]


# What the last look at the service's health said.
_HEALTH_LOG = "health.log"
# Of which so many bytes are read for its last line.
_TAIL = 4096


class BuiltService:
    """A service as a process of this machine, in the sandbox or, with `bubblewrap` None, in the portable way."""

    title = ""
    embedded_port: int | None = None

    def __init__(self, service: Service, project: Project, paths: Paths, bubblewrap: Bubblewrap | None) -> None:
        self._service = service
        self._project = project
        self._paths = paths
        self._bubblewrap = bubblewrap
        self._image: Image | None = None
        self._looking: subprocess.Popen[bytes] | None = None

    def check(self) -> list[Problem]:
        """What of its Dockerfile or image cannot be honoured, or is honoured in another way."""
        return check_image(self._service, self._project, self._paths, sandboxed=self._bubblewrap is not None)

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Make the image's files and environments."""
        self._image = prepare_image(self._service, self._project, self._paths, progress)

    def start(self, directory: Path, network: Network, terms: Terms) -> tuple[Process, subprocess.Popen[bytes] | None]:
        """Start it, with its files in `directory`.

        Raises:
            ServiceError: The command is not to be found (127) or cannot be run (126), as in Docker.
        """
        scratch = directory / "scratch"
        scratch.mkdir()
        launch, result = self._launch(scratch, network), None
        if terms.job and terms.detached:
            launch, result = with_result(launch, directory / RESULT)
        command = replace(self._command(launch, network), result=result)
        name = self._service.stop_signal or launch.image.config.stop_signal
        if name:
            command = replace(command, stop_signal=_signal(name, self._service))
        return _start(self._service, command, directory, terms)

    def watch(self, process: Process, network: Network) -> HealthMonitor | None:
        """The health check of the service at work, where it has one that can be made from here."""
        check = self._service.healthcheck
        if check is None or not check.test or self._image is None:
            return None
        launch = self._launch(process.directory / "scratch", network)
        return HealthMonitor(
            check,
            lambda timeout: self._probe(launch, process, check, timeout, network),
            said=lambda: _last_line(process.directory / _HEALTH_LOG),
            cancel=self._look_away,
        )

    def _launch(self, scratch: Path, network: Network) -> Launch:
        assert self._image is not None, "prepare comes first"
        hosts = network.hosts_for(self._service.name)
        return make_launch(self._service, self._project, self._image, self._paths, hosts, scratch)

    def _command(self, launch: Launch, network: Network) -> Command:
        if self._bubblewrap:
            command, program = sandbox_command(launch, self._bubblewrap), launch.argv[0]
        else:
            command = portable_command(launch, network.moved)
            program = command.argv[0]
        require_program(launch, program, command.environment.get("PATH", os.defpath), sandboxed=command.sandboxed)
        return command

    def _probe(self, launch: Launch, process: Process, check: Healthcheck, timeout: float, network: Network) -> bool:
        """Whether one look at the service finds it well."""
        form, *words = check.test
        shell = ["cmd", "/c"] if sys.platform == "win32" else ["/bin/sh", "-c"]
        argv = (*shell, " ".join(words)) if form == "CMD-SHELL" else tuple(words)
        if self._bubblewrap:
            pid = process.inner_pid()
            if pid is None:
                return False
            command = sandbox_exec(launch, pid, argv)
        else:
            command = portable_command(replace(launch, argv=argv), network.moved)
        try:
            with (process.directory / _HEALTH_LOG).open("wb") as said:
                looked = subprocess.Popen(
                    command.argv,
                    env=dict(command.environment),
                    cwd=command.directory,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    **own_session(),
                )
        except OSError:
            return False
        self._looking = looked
        try:
            return looked.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self._look_away()
            looked.wait()
            return False

    def _look_away(self) -> None:
        """End a look that is under way, with all that it has started."""
        looking = self._looking
        if looking is not None and looking.returncode is None:
            with contextlib.suppress(psutil.NoSuchProcess):
                end_family(psutil.Process(looking.pid))


def _last_line(file: Path) -> str:
    """The last line of a file that says something; empty where there is none."""
    try:
        with file.open("rb") as said:
            said.seek(max(0, file.stat().st_size - _TAIL))
            lines = said.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _start(
    service: Service, command: Command, directory: Path, terms: Terms
) -> tuple[Process, subprocess.Popen[bytes] | None]:
    try:
        return start(command, directory, terms)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOEXEC, errno.ENOTDIR):
            raise  # not the command's fault: a full disk, too many processes
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
