"""Who waits for whom, and what that says of a service: is it a job or a server?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

from gigogne.core.commands import ends_in_idling, server_program
from gigogne.core.images import is_server_image
from gigogne.core.model import Condition, Kind, Project, Service
from gigogne.core.suggestion import did_you_mean
from gigogne.errors import ComposeError

__all__ = ["KIND_LABEL", "kinds", "never_ends", "reachable", "start_order", "unknown_service", "why_server"]

KIND_LABEL = "gigogne.kind"


def kinds(project: Project) -> dict[str, Kind]:
    """Each service's kind, by the rule of the design.

    The label `gigogne.kind` overrules. A service is a job when another waits for its completion; a server when
    another waits for its health, or when it has ports, expose, a health check, a `restart` that is not
    "no"/on-failure, or a command or an image that never ends (`never_ends`). The rest are jobs.

    Raises:
        ComposeError: The label says something else than job or server.
    """
    awaited = {(d.service, d.condition) for service in project.services.values() for d in service.depends_on}
    return {name: _kind(service, awaited) for name, service in project.services.items()}


def _kind(service: Service, awaited: set[tuple[str, Condition]]) -> Kind:
    label = service.labels.get(KIND_LABEL)
    if label is not None:
        if label not in set(Kind):
            raise ComposeError(
                f"services.{service.name}.labels.{KIND_LABEL} is {label!r}",
                "write `job` or `server`, or remove the label",
            )
        return Kind(label)
    if (service.name, Condition.COMPLETED) in awaited:
        return Kind.JOB
    stays = (service.name, Condition.HEALTHY) in awaited or why_server(service)
    return Kind.SERVER if stays else Kind.JOB


def why_server(service: Service) -> str:
    """What of the service itself says that it is a server; empty where nothing does."""
    if service.healthcheck is not None and service.healthcheck.test:
        return "it has a health check" + ("" if service.raw.get("healthcheck") else " in its Dockerfile")
    if service.restart != "no" and not service.restart.startswith("on-failure"):
        return f"it has restart: {service.restart}"
    for key in ("ports", "expose"):
        if getattr(service, key):
            return f"it has {key}:"
    return never_ends(service)


def never_ends(service: Service) -> str:
    """Why the service goes on until it is stopped; empty where it may end, or where a label decides."""
    if KIND_LABEL in service.labels:
        return ""
    program = server_program(service)
    if program:
        return f"`{program}` serves until it is stopped"
    if ends_in_idling(service):
        return "its command never ends"
    return f"the image {service.image} serves until it is stopped" if is_server_image(service) else ""


def reachable(project: Project, targets: Iterable[str]) -> dict[str, str | None]:
    """The targets and all that they depend on, each with the service that brings it in (None for a target).

    A dependency that is not there and not required (`required: false`, a profile that is off) is left out.

    Raises:
        ComposeError: A target is no service of the project.
    """
    found: dict[str, str | None] = {}
    queue: list[tuple[str, str | None]] = [(name, None) for name in targets]
    while queue:
        name, because = queue.pop(0)
        if name in found:
            continue
        if name not in project.services:
            raise unknown_service(name, project.services)
        found[name] = because
        queue += [(d.service, name) for d in project.services[name].depends_on if d.service in project.services]
    return found


def start_order(services: Mapping[str, Service]) -> list[str]:
    """The services, each after those that it depends on; where the files leave a choice, in their order.

    Raises:
        ComposeError: There is a cycle; the message walks it.
    """
    edges = {n: [d.service for d in service.depends_on if d.service in services] for n, service in services.items()}
    sorter, place = TopologicalSorter(edges), {name: number for number, name in enumerate(services)}
    try:
        sorter.prepare()
    except CycleError as error:
        walk = " → ".join(reversed(error.args[1]))
        raise ComposeError(f"depends_on goes in a circle: {walk}", "remove one of these depends_on") from None
    order: list[str] = []
    while ready := sorted(sorter.get_ready(), key=place.__getitem__):
        order += ready
        sorter.done(*ready)
    return order


def unknown_service(name: str, services: Iterable[str]) -> ComposeError:
    """The error of who asks for a service that is none of these."""
    services = sorted(services)
    hint = did_you_mean(name, services) or f"the services are: {', '.join(services) or 'none'}"
    return ComposeError(f"no service named {name}", hint)
