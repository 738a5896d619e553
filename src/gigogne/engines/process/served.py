"""A service that an embedded server stands in for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from gigogne.core.model import Healthcheck, MountType, Problem, Project, Service
from gigogne.engines.process.embedded import EmbeddedServer
from gigogne.engines.process.health import HealthMonitor
from gigogne.engines.process.keeper import start
from gigogne.engines.process.launch import place_mount
from gigogne.engines.process.network import Network
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.processes import Process, Terms
from gigogne.engines.process.sandbox import Bubblewrap

__all__ = ["ServedService"]

# How often an embedded server is asked whether it is ready, and for how long at most.
_CHECK = Healthcheck(test=("CMD",), interval=0.25, timeout=5.0, retries=240)


class ServedService:
    """A service of a well-known image, served by a real server from a wheel."""

    def __init__(
        self, server: EmbeddedServer, service: Service, project: Project, paths: Paths, bubblewrap: Bubblewrap | None
    ) -> None:
        self._server = server
        self._service = service
        self._project = project
        self._paths = paths
        self._bubblewrap = bubblewrap
        self._progress: Callable[[str], None] = lambda text: None
        self.title = server.title
        self.embedded_port: int | None = server.port(service)

    def check(self) -> list[Problem]:
        """Which server stands in, and what of the service it cannot honour."""
        return [Problem(self._service.name, "", self.title, fatal=False), *self._server.check(self._service)]

    def prepare(self, progress: Callable[[str], None]) -> None:
        """Install the server."""
        self._progress = progress
        self._server.prepare(self._paths, progress)

    def start(self, directory: Path, network: Network, terms: Terms) -> tuple[Process, subprocess.Popen[bytes] | None]:
        """Start the server, its data initialised when it is new.

        Raises:
            EngineError: It cannot be started here.
        """
        runtime = directory / "scratch"
        runtime.mkdir()
        binary = self._bubblewrap.path if self._bubblewrap else None
        at = network.endpoint(self._service.name, self._server.port(self._service))
        data = self._data(directory)
        command = self._server.command(self._service, at, data, runtime, self._paths, binary, self._progress)
        return start(command, directory, terms)

    def watch(self, process: Process, network: Network) -> HealthMonitor:
        """Whether the server is ready for its clients; what its own image would check is not asked."""
        at = network.endpoint(self._service.name, self._server.port(self._service))
        return HealthMonitor(_CHECK, lambda _timeout: self._server.ready(self._service, at), once=True)

    def _data(self, directory: Path) -> Path:
        """Where its data lies: in the mount at its data directory, else in the project's own directory."""
        target = self._server.data_target(self._service)
        for mount in self._service.mounts:
            under = f"{target}/".startswith(f"{mount.target.rstrip('/')}/")
            if under and mount.type in (MountType.VOLUME, MountType.BIND) and mount.source:
                source = place_mount(mount, self._service, self._project, self._paths, directory).source
                assert source is not None
                return source
        data = self._paths.project(self._project.name) / "data" / self._service.name
        data.mkdir(parents=True, exist_ok=True)
        return data
