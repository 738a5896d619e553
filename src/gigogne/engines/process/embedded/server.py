"""What an embedded server is: the protocol, and what all of them share.

An embedded server stands in for a well-known image where there is no Docker. It is a real server from a wheel, or
is named as a stand-in in its title. Nothing here starts a server: `command` says how, the engine starts it.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from gigogne.core.model import Problem, Service
from gigogne.engines.process.addresses import Endpoint, bind_error, holder
from gigogne.engines.process.command import Command
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

__all__ = [
    "EmbeddedServer",
    "base_environment",
    "private_key",
    "problem",
    "refuse_taken_port",
    "writing",
]


class EmbeddedServer(Protocol):
    """A server from a wheel that stands in for an image."""

    @property
    def title(self) -> str:
        """What runs and for which image, as the run shows it."""
        ...

    def port(self, service: Service) -> int:
        """The port on which clients of this service expect it."""
        ...

    def data_target(self, service: Service) -> str:
        """The mount target whose volume holds its data.

        A volume or bind mounted there, or on a parent of it, is the `data` that `command` takes; without one,
        `data` is a directory of the project's own.
        """
        ...

    def check(self, service: Service) -> list[Problem]:
        """What it cannot honour (fatal) and honours differently (notices); looks at files that the service names."""
        ...

    def prepare(self, paths: Paths, progress: Callable[[str], None]) -> None:
        """Install it on first use."""
        ...

    def command(
        self,
        service: Service,
        at: Endpoint,
        data: Path,
        runtime: Path,
        paths: Paths,
        bwrap: Path | None,
        progress: Callable[[str], None],
    ) -> Command:
        """Initialise `data` when it is new, whole or not at all, and say how to start the server.

        Args:
            service: The service it stands in for.
            at: Where it listens, and nowhere else. Its port need not be `port(service)`.
            data: A directory for its data, which survives.
            runtime: A private directory of this run, for sockets.
            paths: Where `prepare` installed it.
            bwrap: A bubblewrap that works here, or None.
            progress: Is told what takes long.
        """
        ...

    def ready(self, service: Service, at: Endpoint) -> bool:
        """Whether it accepts this service's own credentials and has what the service asks for.

        Raises:
            EngineError: It answers, and waiting longer cannot help: it refuses the credentials.
        """
        ...


def problem(service: Service, key: str, message: str, hint: str = "", *, fatal: bool = True) -> Problem:
    """A problem of one key of a service."""
    return Problem(service.name, f"services.{service.name}.{key}", message, hint, fatal)


def base_environment() -> dict[str, str]:
    """The few variables that any program needs, and none of the caller's others."""
    environment = {"PATH": os.defpath, "LC_ALL": "C"}
    for name in ("SYSTEMROOT", "TEMP", "TMP"):  # Windows cannot open a socket without the first
        if os.name == "nt" and name in os.environ:
            environment[name] = os.environ[name]
    return environment


@contextmanager
def writing(directory: Path) -> Iterator[None]:
    """Turn a directory that cannot be written into an error with what to do."""
    try:
        yield
    except OSError as error:
        raise EngineError(
            f"cannot write {error.filename or directory}: {error.strerror or error}",
            "make it writable or free some space; GIGOGNE_DATA_DIR names another place for data",
        ) from error


def private_key() -> str:
    """A secret of one start, for parts of a server that talk to each other."""
    import secrets

    return secrets.token_urlsafe(32)


def refuse_taken_port(service: Service, title: str, at: Endpoint) -> None:
    """Raise when something listens where the server must: its own message would come late and in its log."""
    for last in (*(False,) * 20, True):  # the server of the last run may still be on its way out
        error = bind_error(at)
        if error is None:
            return
        if error.errno != errno.EADDRINUSE:
            reason = f"cannot listen on {at}: {error.strerror}"
            hint = "on macOS only 127.0.0.1 exists, unless another loopback address is added with ifconfig"
            break
        if last:
            reason = f"port {at.port} of {at.address} is taken{holder(at)}"
            hint = f"stop it, then run again (a server on 0.0.0.0:{at.port} takes the port on all addresses)"
        else:
            time.sleep(0.05)
    raise EngineError(f"service {service.name!r}: {title} cannot start: {reason}", hint)
