"""What Docker would refuse, or do in another way than `docker compose up`: said before anything starts."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from ipaddress import ip_address
from typing import TYPE_CHECKING

from gigogne.core.model import Kind, Port, Problem, Project, Service
from gigogne.core.place import Place
from gigogne.engines.docker.compose import Compose
from gigogne.engines.docker.containers import Container
from gigogne.engines.docker.leases import Leases

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["problems_of"]


def problems_of(
    project: Project,
    services: Sequence[str],
    kinds: Mapping[str, Kind],
    running: Sequence[Container],
    client: DockerClient,
    compose: Compose,
    leases: Leases,
    place: Place,
) -> Iterator[Problem]:
    """The problems of these services. A daemon that shares this disk shares its ports, too."""
    local = place.shares_disk
    for name in services:
        yield from _ignored_subpaths(project.services[name], place)
        yield from _jobs_to_join(project.services[name], kinds)
    up = {container.service: container for container in running if not container.run}
    for name in services:
        if kinds[name] is Kind.JOB:
            yield from _several(project.services[name])
            yield from _tries(project.services[name])
    # Another run may be starting the same server at this moment: then the port is its own.
    coming = leases.needed()
    starting = [
        project.services[name]
        for name in services
        if name not in up and not (name in coming and kinds[name] is Kind.SERVER)
    ]
    yield from _taken_ports(starting, client, local=local)
    adopted = [name for name in services if name in up and kinds[name] is Kind.SERVER]
    if adopted and local:
        yield from _changed({name: up[name] for name in adopted}, compose)


def _several(service: Service) -> Iterator[Problem]:
    count = service.raw.get("scale") or (service.raw.get("deploy") or {}).get("replicas")
    if count is not None and int(count) != 1:
        yield Problem(
            service.name,
            f"services.{service.name}.{'scale' if 'scale' in service.raw else 'deploy.replicas'}",
            f"{count} containers of a job are asked for, and one is run",
            "give the job's parts services of their own",
            fatal=False,
        )


def _tries(service: Service) -> Iterator[Problem]:
    if service.restart.startswith(("on-failure", "always", "unless-stopped")):
        yield Problem(
            service.name,
            f"services.{service.name}.restart",
            "each try starts anew, in a container of its own: what one before wrote outside its mounts is gone",
            fatal=False,
        )


def _jobs_to_join(service: Service, kinds: Mapping[str, Kind]) -> Iterator[Problem]:
    """Joining another service's container, which of a job is there only while it runs."""
    joined = [(key, str(service.raw.get(key, ""))) for key in ("network_mode", "ipc", "pid")]
    wanted = [(key, value.partition(":")[2]) for key, value in joined if value.startswith("service:")]
    wanted += [("volumes_from", str(value).partition(":")[0]) for value in service.raw.get("volumes_from") or ()]
    for key, other in wanted:
        if kinds.get(other) is Kind.JOB:
            yield Problem(
                service.name,
                f"services.{service.name}.{key}",
                f"{other} is a job: its container is gone when it has ended",
                "name the volumes in volumes:" if key == "volumes_from" else f"label {other} gigogne.kind: server",
            )


def _ignored_subpaths(service: Service, place: Place) -> Iterator[Problem]:
    """Old engines say nothing of `subpath`, and mount the whole volume."""
    for number, mount in enumerate(service.mounts):
        if mount.subpath and not place.has_subpath:
            yield Problem(
                service.name,
                f"services.{service.name}.volumes.{number}",
                f"Docker {place.engine_version} would mount the whole volume {mount.source}, not {mount.subpath} of it",
                "upgrade Docker to 26 or newer, or give what is in the subpath a volume of its own",
            )


def _changed(up: Mapping[str, Container], compose: Compose) -> Iterator[Problem]:
    """Servers that run with other settings than the files have now: they are used as they are."""
    said = compose.call("config", "--hash", ",".join(up)).stdout
    hashes = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
    for name, container in up.items():
        if hashes.get(name, container.config_hash) != container.config_hash:
            yield Problem(
                name,
                f"services.{name}",
                f"{container.name} runs with other settings than the files have now, and is used as it is",
                f"docker compose up -d {name} starts it anew",
                fatal=False,
            )


def _taken_ports(services: Sequence[Service], client: DockerClient, *, local: bool) -> Iterator[Problem]:
    wanted = [(service, port) for service in services for port in service.ports if port.published.isdecimal()]
    if not wanted:
        return
    held = [
        (each, published["IP"], published["PublicPort"], published["Type"])
        for each in client.api.containers()
        for published in each.get("Ports") or ()
        if published.get("PublicPort")
    ]
    for service, port in wanted:
        holders = [
            (each["Names"] or ["one that is being removed"])[0].removeprefix("/")
            for each, ip, number, kind in held
            if (number, kind) == (int(port.published), port.protocol) and _meet(ip, port.host_ip)
        ]
        if holders or (local and _in_use(port)):
            by = f"the container {holders[0]}" if holders else "another program"
            stop = f"docker stop {holders[0]}" if holders else "end it"
            yield Problem(
                service.name,
                f"services.{service.name}.ports",
                f"port {port.published} of this machine is taken by {by}",
                f"{stop}, or publish another port",
            )


def _meet(one: str, other: str) -> bool:
    """Whether who listens on the one address listens on the other, too."""
    everywhere = any(not address or ip_address(address).is_unspecified for address in (one, other))
    return everywhere or one == other


def _in_use(port: Port) -> bool:
    """Whether a program of this machine listens there; no container does."""
    family = socket.AF_INET6 if ":" in port.host_ip else socket.AF_INET
    kind = socket.SOCK_DGRAM if port.protocol == "udp" else socket.SOCK_STREAM
    with closing(socket.socket(family, kind)) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((port.host_ip, int(port.published)))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False
