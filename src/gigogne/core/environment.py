"""Further variables for services of a project, from who runs it: they win over all that the files say."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from gigogne.core.model import Project, Service

__all__ = ["with_variables"]


def with_variables(project: Project, services: Collection[str], variables: Mapping[str, str]) -> Project:
    """The project, with these variables in the environment of `services` of it.

    They are in the typed model and in Compose's own, which reads them as they are: a dollar sign in a value is one.
    """
    chosen = [name for name in services if name in project.services]
    if not variables or not chosen:
        return project
    typed = {name: _with(project.services[name], variables) for name in chosen}
    doubled = {name: value.replace("$", "$$") for name, value in variables.items()}
    raw = dict(project.raw.get("services") or {})
    raw |= {name: _with_environment(raw.get(name) or {}, doubled) for name in chosen}
    return replace(project, services={**project.services, **typed}, raw={**project.raw, "services": raw})


def _with(service: Service, variables: Mapping[str, str]) -> Service:
    environment = {**service.environment, **variables}
    return replace(service, environment=environment, raw=_with_environment(service.raw, variables))


def _with_environment(raw: Mapping[str, Any], variables: Mapping[str, str]) -> dict[str, Any]:
    return {**raw, "environment": {**(raw.get("environment") or {}), **variables}}
