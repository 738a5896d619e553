"""A project as the process engine runs it: what runs in place of each container, and who is reached where."""

from __future__ import annotations

from dataclasses import dataclass

from gigogne.core.model import Project, Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.built import BuiltService
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.network import Network, network_of, publications
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.sandbox import Bubblewrap
from gigogne.engines.process.served import ServedService

__all__ = ["Town", "town_of"]


@dataclass(frozen=True, slots=True)
class Town:
    """A project with the services that stand in for its containers.

    Attributes:
        project: The project.
        services: What runs in place of each container.
        embedded: The services that an embedded server stands in for, and the port that clients know.
        network: Who is reached where.
    """

    project: Project
    services: dict[str, BuiltService | ServedService]
    embedded: dict[str, int]
    network: Network

    def is_server(self, name: str) -> bool:
        """Whether a service of the project is a server, which others reach by its name."""
        return name in self.network.hosts

    def published(self, service: Service) -> dict[Endpoint, Endpoint]:
        """Where the service is published → where it is. An embedded server has one port, whatever its image has."""
        known = self.embedded.get(service.name)
        ports = (p for p in publications(service) if known in (None, p.target))
        return {p.at: self.network.endpoint(service.name, p.target) for p in ports}

    def where(self, service: Service) -> str:
        """How to reach a server from this machine, in words: where it is published, else its address and ports."""
        published = self.published(service)
        if published:
            return ", ".join(map(str, published))
        if service.name in self.embedded:
            return str(self.network.endpoint(service.name, self.embedded[service.name]))
        address = self.network.endpoint(service.name, 0).address
        ports = [*(port.target for port in service.ports), *service.expose]
        return ", ".join(f"{address}:{port}" for port in ports) or address


def town_of(project: Project, paths: Paths, bubblewrap: Bubblewrap | None) -> Town:
    """The town of a project, in the sandbox or, with `bubblewrap` None, in the portable way."""
    services: dict[str, BuiltService | ServedService] = {}
    for service in project.services.values():
        server = embedded_server(service.image) if service.build is None else None
        if server is not None:
            services[service.name] = ServedService(server, service, project, paths, bubblewrap)
        else:
            services[service.name] = BuiltService(service, project, paths, bubblewrap)
    embedded = {name: each.embedded_port for name, each in services.items() if each.embedded_port is not None}
    return Town(project, services, embedded, network_of(project, embedded))
