"""What is not as in Docker though each key is honoured: told before anything starts."""

from __future__ import annotations

from collections.abc import Container, Iterator

from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Problem, Project

__all__ = ["differences"]


def differences(project: Project, embedded: Container[str]) -> Iterator[Problem]:
    """The notices on services that run side by side; those of `embedded` are real servers of ours."""
    own = {name: kind for name, kind in kinds(project).items() if name not in embedded}
    servers = [name for name, kind in own.items() if kind is Kind.SERVER]
    if servers and len(project.services) > 1:
        message = "services share this machine's network: localhost is the same for all, two cannot listen on one port"
        yield Problem(servers[0], f"services.{servers[0]}", message, fatal=False)
    for name in own:
        if project.services[name].restart != "no":
            message = "each try starts anew: what the one before wrote outside its mounts is gone"
            yield Problem(name, f"services.{name}.restart", message, fatal=False)
    for name, service in project.services.items():
        for network in service.raw.get("networks") or {}:
            if ((project.raw.get("networks") or {}).get(network) or {}).get("internal"):
                message = f"the network {network} is internal in Docker alone: here services reach the outside"
                yield Problem(name, f"services.{name}.networks", message, fatal=False)
