"""How a host container reaches the daemon outside of it, and as whom."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.engines.docker.host.container import Bind
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Access", "caller"]

_SOCKET = "/var/run/docker.sock"
_CERTIFICATES = "/certs"


@dataclass(frozen=True, slots=True)
class Access:
    """What a host container gets to reach the daemon: variables, mounts and groups."""

    settings: Mapping[str, str] = field(default_factory=dict)
    binds: tuple[Bind, ...] = ()
    groups: tuple[str, ...] = ()

    @classmethod
    def to(cls, endpoint: str, environment: Mapping[str, str]) -> Access:
        """The access to the daemon at this address, with the certificates that the variables of the shell name.

        Raises:
            EngineError: There is no way to it from a container.
        """
        scheme, _, rest = endpoint.partition("://")
        if sys.platform != "linux" and scheme in ("unix", "npipe"):
            return cls(binds=(Bind(_SOCKET, _SOCKET),))  # a path of the machine in which Docker Desktop has its daemon
        if scheme == "unix":
            group = str(Path(rest).stat().st_gid)
            return cls(binds=(Bind(rest, _SOCKET),), groups=(group,))
        if scheme == "tcp" and environment.get("DOCKER_HOST") == endpoint:
            return cls._over_tcp(endpoint, environment)
        raise EngineError(
            f"the daemon at {endpoint} cannot be reached from a container",
            "use its socket, or DOCKER_HOST=tcp://… with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH",
        )

    @classmethod
    def _over_tcp(cls, endpoint: str, environment: Mapping[str, str]) -> Access:
        if not environment.get("DOCKER_TLS_VERIFY"):
            return cls(settings={"DOCKER_HOST": endpoint})
        folder = environment.get("DOCKER_CERT_PATH") or str(Path.home() / ".docker")
        settings = {"DOCKER_HOST": endpoint, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": _CERTIFICATES}
        return cls(settings, (Bind(str(Path(folder).absolute()), _CERTIFICATES, read_only=True),))


def caller(client: DockerClient) -> str:
    """`UID:GID` of who calls, as files that a container writes should be owned; empty is root in the container.

    With Docker Desktop and with a rootless daemon, root in the container is the caller outside.
    """
    options = client.info().get("SecurityOptions") or ()
    if sys.platform != "linux" or any("name=rootless" in option for option in options):
        return ""
    return f"{os.getuid()}:{os.getgid()}"
