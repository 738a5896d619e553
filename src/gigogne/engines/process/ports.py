"""Ports that two want, told before anything starts.

Without Docker all services share this machine's ports: one that listens on every address takes its port from all.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

from gigogne.core.model import Problem, Project, Service
from gigogne.engines.process.addresses import Endpoint, bind_error, holder
from gigogne.engines.process.network import LOOPBACK, Network, publications

__all__ = ["port_problems"]

# Variables that say where to listen, such as BIND_HOST, MLFLOW_HOST, HTTP_ADDR; not by which name others call.
_LISTENS = re.compile(r"(?!.*(PUBLIC|EXTERNAL|ADVERTISE|VIRTUAL|ALLOWED))(.*_)?(HOST|ADDR|ADDRESS|BIND|LISTEN)")
_EVERYWHERE = "0.0.0.0"  # noqa: S104 - what others listen on, not we


@dataclass(frozen=True, slots=True)
class _Claim:
    """A port that a service will listen on, itself or (`published`) by the relay of its `ports:`.

    `host_port` is where a port of its own is published; 0 where it is not.
    """

    service: str
    key: str
    at: Endpoint
    published: bool
    host_port: int = 0

    def __str__(self) -> str:
        return f"services.{self.service}.{self.key}"

    def meets(self, other: _Claim) -> bool:
        """Whether both cannot have what they want."""
        same = self.at.address == other.at.address or _EVERYWHERE in (self.at.address, other.at.address)
        return self.at.port == other.at.port and same


def port_problems(
    project: Project,
    network: Network,
    embedded: Mapping[str, int],
    running: Collection[str],
    *,
    sandboxed: bool,
    publish: bool,
) -> Iterator[Problem]:
    """Ports that two services of the project want, that another program has, or that this user may not have.

    Args:
        project: The services that are to run side by side.
        network: Their addresses.
        embedded: The servers of which the port is decided here, and the port that clients know.
        running: The services that run already, and hold their ports.
        sandboxed: Whether services run in the sandbox, where nobody is root.
        publish: Whether a port that cannot be published is a problem; else it is a notice.
    """
    # Jobs come and go: two that want one port may never meet.
    servers = [service for service in project.services.values() if service.name in network.hosts]
    claims = [claim for service in servers for claim in _claims(service, network, embedded)]
    for one, other in combinations(claims, 2):
        # Two that publish one port cannot run in Docker either: `gigogne.core.lint` says so.
        if one.meets(other) and one.service != other.service and not (one.published and other.published):
            yield _clash(one, other)
    for claim in claims:
        if claim.service not in running:
            found = _not_to_be_had(claim, sandboxed=sandboxed)
            yield from (replace(problem, fatal=publish or not claim.published) for problem in found)
    for service in project.services.values():
        yield from _not_relayed(service)
        yield from _everywhere_beside(service, embedded, publish=publish)
        yield from _moved(service, network, embedded, sandboxed=sandboxed)


def _claims(service: Service, network: Network, embedded: Mapping[str, int]) -> Iterator[_Claim]:
    own = embedded.get(service.name)
    if own is not None:
        at = network.endpoint(service.name, own)
        yield _Claim(service.name, "image", at, published=False)
        listening = {at.port} if at.address == LOOPBACK else set()
    else:
        targets = {port.target for port in service.ports if port.protocol == "tcp"}
        targets |= {int(port) for port in (e.removesuffix("/tcp") for e in service.expose) if port.isdecimal()}
        # Modules in containers listen on every address, or nobody would reach them; some are told to by their name.
        told = any(value == service.name and _LISTENS.fullmatch(name) for name, value in service.environment.items())
        listening = set() if told else targets
        for port in sorted(targets):
            key = "ports" if any(p.target == port for p in service.ports) else "expose"
            outside = next((p.at.port for p in publications(service) if p.target == port), 0)
            at = network.endpoint(service.name, port) if told else Endpoint(_EVERYWHERE, port)
            yield _Claim(service.name, key, at, published=False, host_port=outside)
    for publication in publications(service):
        if publication.at.port not in listening and own in (None, publication.target):
            yield _Claim(service.name, "ports", publication.at, published=True)


def _clash(one: _Claim, other: _Claim) -> Problem:
    if other.published:  # the one that can be changed without a change of the module comes first
        one, other = other, one
    port = one.at.port
    if one.published:
        hint = f'publish another port: "{port + 1}:…"'
    else:
        hint = (
            f"let one listen on another port (in its command: or its variables, and here), start them one at a time "
            f"(gigogne up {one.service}), or run them with docker compose"
        )
    message = f"port {port} is also {other}'s, and without Docker all services share this machine's ports"
    return Problem(one.service, f"services.{one.service}.{one.key}", message, hint)


def _not_to_be_had(claim: _Claim, *, sandboxed: bool) -> Iterator[Problem]:
    where, port = f"services.{claim.service}.{claim.key}", claim.at.port
    error, higher = bind_error(claim.at), 8000 + port
    own = not claim.published
    if own and (isinstance(error, PermissionError) or (error is None and sandboxed and port < _first_open_port())):
        message = f"port {port} is one that only root may listen on" + (", and in the sandbox nobody is" * sandboxed)
        hint = f"let it listen on {higher}" + (f', and publish "{claim.host_port}:{higher}"' if claim.host_port else "")
        yield Problem(claim.service, where, message, hint)
    elif isinstance(error, PermissionError):
        yield Problem(
            claim.service, where, f"only root may listen on port {port}", f'publish a higher one: "{higher}:…"'
        )
    elif error is not None:
        hint = "stop that program" + (f', or publish another port: "{port + 1}:…"' if claim.published else "")
        message = f"port {port} of {claim.at.address} is taken{holder(claim.at)}"
        if error.errno != errno.EADDRINUSE:
            message, hint = f"cannot listen on {claim.at}: {error.strerror}", "correct the address"
        yield Problem(claim.service, where, message, hint)


def _not_relayed(service: Service) -> Iterator[Problem]:
    where = f"services.{service.name}.ports"
    for port in service.ports:
        if port.protocol != "tcp":
            message = f"{port.protocol} port {port.target} is not published without Docker"
            yield Problem(service.name, where, message, fatal=False)


def _everywhere_beside(service: Service, embedded: Mapping[str, int], *, publish: bool) -> Iterator[Problem]:
    """A port cannot be opened on every address where one address of it is taken: by the embedded server itself."""
    for publication in publications(service):
        port = publication.at.port
        if publication.anywhere and port == publication.target == embedded.get(service.name):
            message = f"port {port} cannot be published on every address: {service.name} itself listens on one of them"
            hint = f'publish another port ("{publication.at.address}:{10000 + port}:{port}"), or on 127.0.0.1'
            yield Problem(service.name, f"services.{service.name}.ports", message, hint, fatal=publish)


def _moved(service: Service, network: Network, embedded: Mapping[str, int], *, sandboxed: bool) -> Iterator[Problem]:
    port = embedded.get(service.name, 0)
    if (service.name, port) not in network.moved:
        return
    where, at = f"services.{service.name}.image", network.endpoint(service.name, port)
    message = f"this system has one loopback address, of which port {port} is another's: {service.name} listens on {at}"
    if sandboxed:
        yield Problem(
            service.name, where, message, "names are not rewritten in the sandbox: set GIGOGNE_PROCESS=portable"
        )
    else:
        hint = (
            f"call it as {service.name}:{port} or in a URL, which are rewritten; a port in a variable of its own is not"
        )
        yield Problem(service.name, where, message, hint, fatal=False)


def _first_open_port() -> int:
    """The lowest port that an ordinary user may listen on."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0
