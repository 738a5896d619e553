"""Who is reached where in one project: a loopback address for each server, and what `ports:` publishes.

Where only 127.0.0.1 answers (macOS), servers share that address. Then those of which the port is decided here (the
embedded ones) move to another port when two want the same, and `name:port` is rewritten for those who call them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from zlib import crc32

from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Project, Service
from gigogne.engines.process.addresses import Endpoint, server_addresses, unanswered

__all__ = ["LOOPBACK", "Network", "Publication", "network_of", "publications"]

LOOPBACK = "127.0.0.1"
# Where moved servers go: above what systems hand out to services, below SeaweedFS's inner ports and those of clients.
_FIRST, _SPAN = 20_000, 2_000


@dataclass(frozen=True, slots=True)
class Publication:
    """One entry of `ports:`: who connects to `at` reaches the service's port `target`.

    Docker would listen on all addresses where the file names none; without its firewall that is not for laptops, so
    `at` is then on 127.0.0.1.
    """

    at: Endpoint
    target: int

    @property
    def anywhere(self) -> bool:
        """Whether the file asks for every address of this machine."""
        return ip_address(self.at.address).is_unspecified


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of a project.

    Attributes:
        hosts: The name and the aliases of each server → its address.
        moved: Name or alias, and the port that clients know → the port that stands in for it.
        known: Service → the names that it can look up: those of the networks that it is on.
    """

    hosts: Mapping[str, str]
    moved: Mapping[tuple[str, int], int] = field(default_factory=dict)
    known: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def endpoint(self, name: str, port: int) -> Endpoint:
        """Where a service's port is."""
        return Endpoint(self.hosts.get(name, LOOPBACK), self.moved.get((name, port), port))

    def hosts_for(self, service: str) -> dict[str, str]:
        """The names that a service can look up, and their addresses."""
        return {name: address for name, address in self.hosts.items() if name in self.known.get(service, ())}


def network_of(project: Project, embedded: Mapping[str, int]) -> Network:
    """The network of a project, the same in each of its runs.

    Args:
        project: The project.
        embedded: The servers of which the port is decided here, and the port that clients know.
    """
    servers = [name for name, kind in kinds(project).items() if kind is Kind.SERVER]
    by_name = server_addresses(project.name, servers)
    moved: dict[tuple[str, int], int] = {}
    if servers and unanswered([by_name[servers[0]]]):
        by_name = dict.fromkeys(servers, LOOPBACK)
        moved = dict(_moves(project, embedded))
    named = {name: _names(project.services[name]) for name in servers}
    aliases = {a: name for name in servers for each in named[name].values() for a in each if a not in by_name}
    known_as = aliases | {name: name for name in by_name}
    known = {
        name: frozenset(a for each in named.values() for on in _names(service) for a in each.get(on, ()))
        for name, service in project.services.items()
    }
    return Network(
        {alias: by_name[name] for alias, name in known_as.items()},
        {(alias, port): to for (name, port), to in moved.items() for alias, of in known_as.items() if of == name},
        known,
    )


def _names(service: Service) -> dict[str, tuple[str, ...]]:
    """The names of a service on each of its networks."""
    own = tuple(filter(None, (service.name, service.raw.get("container_name"))))
    networks: Mapping[str, Any] = service.raw.get("networks") or {"default": None}
    return {network: (*own, *((value or {}).get("aliases") or ())) for network, value in networks.items()}


def _moves(project: Project, embedded: Mapping[str, int]) -> Iterator[tuple[tuple[str, int], int]]:
    """The servers that find their port taken by one before them, and the port that each gets instead."""
    taken = {port.target for name, s in project.services.items() if name not in embedded for port in s.ports}
    taken |= {publication.at.port for service in project.services.values() for publication in publications(service)}
    for name in sorted(embedded):
        wanted = embedded[name]
        own = [p.at.port for p in publications(project.services[name]) if p.target == wanted]
        if wanted in own or wanted not in taken:
            taken.add(wanted)
            continue
        port = own[0] if own else _FIRST + crc32(f"{project.name}/{name}/{wanted}".encode()) % _SPAN
        while port in taken and port not in own:
            port = _FIRST + (port + 1 - _FIRST) % _SPAN
        taken.add(port)
        yield (name, wanted), port


def publications(service: Service) -> list[Publication]:
    """What `ports:` asks for: TCP ports with a number of the user's; of a range, the first."""
    return [
        Publication(Endpoint(port.host_ip or LOOPBACK, int(port.published.partition("-")[0])), port.target)
        for port in service.ports
        if port.protocol == "tcp" and port.published not in ("", "0")
    ]
