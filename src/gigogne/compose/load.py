"""Load a project: ask Docker Compose for the canonical model and type it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.compose.binary import run_compose
from gigogne.compose.dockerfile import dockerfile_healthcheck
from gigogne.compose.model import project_of
from gigogne.compose.options import LoadOptions, compose_files, settled
from gigogne.core.model import Project, Service

if TYPE_CHECKING:
    from gigogne.compose.locate import Location

__all__ = ["LoadOptions", "compose_files", "load_project"]

_WARNING = re.compile(r'level=warning msg="((?:[^"\\]|\\.)*)"')


def load_project(
    options: LoadOptions, targets: Sequence[str] = (), places: Mapping[str, Location] | None = None
) -> Project:
    """The project of these files, with the profiles of `targets` switched on, as `docker compose run` does.

    Args:
        options: The files.
        targets: Services.
        places: Where those of the targets are listed that nobody has typed.

    Raises:
        ComposeError: Compose refuses the files; its message, with the file and the line where they can be found.
        EngineError: The Compose binary is missing.
    """
    raw, warnings = _canonical(options)
    hidden = [name for name in targets if name not in raw.get("services", {})]
    if hidden:
        every, _ = _canonical(replace(options, profiles=("*",)))
        unknown = [name for name in hidden if name not in every.get("services", {})]
        if unknown:
            from gigogne.compose.pipelines import unknown_target

            raise unknown_target(unknown[0], every.get("services", {}), raw.get("x-gigogne") or {}, places or {})
        wanted = [p for name in hidden for p in every.get("services", {}).get(name, {}).get("profiles", ())]
        if wanted:
            raw, warnings = _canonical(replace(options, profiles=(*settled(options).profiles, *wanted)))
    files = compose_files(options)
    directory = Path(options.directory) if options.directory else files[0].parent if files else Path()
    env_files = tuple(Path(name).absolute() for name in options.env_files)
    typed = partial(
        project_of, raw, directory=directory.absolute(), files=files, warnings=warnings, env_files=env_files
    )
    project = typed()
    if names := _delivered_variables(raw):
        project = typed(variables=_values(names, project, options))
    return replace(project, services={name: _with_image_healthcheck(s) for name, s in project.services.items()})


def _canonical(options: LoadOptions) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Compose's canonical model and the warnings that came with it."""
    result = run_compose([*options.arguments(), "config", "--format", "json"])
    if result.returncode != 0:
        from gigogne.compose.locate import compose_error

        raise compose_error(result.stderr, compose_files(options))
    warnings = tuple(dict.fromkeys(found.replace('\\"', '"') for found in _WARNING.findall(result.stderr)))
    return json.loads(result.stdout), warnings


def _delivered_variables(raw: Mapping[str, Any]) -> list[str]:
    """The variables that the project's secrets and configs come from."""
    entries = [entry or {} for key in ("secrets", "configs") for entry in (raw.get(key) or {}).values()]
    return sorted({entry["environment"] for entry in entries if entry.get("environment")})


def _values(names: Sequence[str], project: Project, options: LoadOptions) -> dict[str, str]:
    """Those of the variables that are set, in the shell or in the env files: the canonical model has only the names."""
    from gigogne.compose.envfiles import project_env_files
    from gigogne.compose.evaluation import as_node, evaluate

    files = project_env_files(options, project.directory, os.environ)
    asked = {"a": as_node({"image": "a", "environment": list(names)})}
    found = evaluate(asked, project, files).get("a", {}).get("environment") or {}
    return {name: value for name, value in found.items() if value is not None}


def _with_image_healthcheck(service: Service) -> Service:
    """The service with its Dockerfile's HEALTHCHECK, where Compose sets none: it tells jobs from servers."""
    if service.build is None or service.healthcheck is not None:
        return service
    return replace(service, healthcheck=dockerfile_healthcheck(service.build))
