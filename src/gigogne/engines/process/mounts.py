"""What the engine says of a service's mounts, secrets and configs before anything starts."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gigogne.core.model import DELIVERED, Mount, MountType, Problem, Project, Service
from gigogne.engines.process.paths import Paths

__all__ = ["docker_only", "external_volumes", "mount_problems"]

_DOCKER_ONLY = "gigogne.docker-only"


def docker_only(service: Service) -> frozenset[str]:
    """The targets of the mounts that its label keeps for Docker: the service does without them here."""
    return frozenset(filter(None, map(str.strip, service.labels.get(_DOCKER_ONLY, "").split(","))))


def external_volumes(project: Project) -> frozenset[str]:
    """The keys of the volumes that are not the project's own: it neither makes nor removes them."""
    volumes = project.raw.get("volumes") or {}
    return frozenset(key for key, volume in volumes.items() if (volume or {}).get("external"))


def mount_problems(
    service: Service, project: Project, paths: Paths, *, embedded: bool, sandboxed: bool
) -> Iterator[Problem]:
    """The mounts whose source is missing, or which cannot be delivered.

    Args:
        service: The service.
        project: Its project.
        paths: Where volumes are.
        embedded: Whether an embedded server stands in for it.
        sandboxed: Whether services run in the sandbox.
    """
    external, left_out = external_volumes(project), docker_only(service)
    for mount in service.mounts:
        if mount.target in left_out:
            message = f"{mount.target} is for Docker alone (label {_DOCKER_ONLY}), and is not mounted"
            yield Problem(service.name, f"services.{service.name}.volumes", message, fatal=False)
        elif mount.type is MountType.OTHER and mount.source:
            yield from _without_a_file(service, project, mount, embedded=embedded, sandboxed=sandboxed)
        elif mount.type is MountType.OTHER:
            message = f"the mount at {mount.target} has a type that needs Docker"
            yield Problem(service.name, f"services.{service.name}.volumes", message, "run it with docker compose")
        elif mount.type is MountType.BIND and not Path(mount.source).exists():
            yield _missing_source(service, mount)
        elif mount.type is MountType.VOLUME and mount.source in external:
            volume = paths.volume(project.volumes[mount.source])
            if not volume.is_dir():
                message = f"the volume {volume.name} is external, and is not there"
                hint = f"make it: mkdir -p {volume}; or remove external: true"
                yield Problem(service.name, f"services.{service.name}.volumes", message, hint, wrong=True)


def _without_a_file(
    service: Service, project: Project, mount: Mount, *, embedded: bool, sandboxed: bool
) -> Iterator[Problem]:
    """A secret or config that is a variable or a text: in the sandbox it needs no file; a server of ours reads it."""
    key = _key_of(service, mount)
    where, kind = f"services.{service.name}.{key}", key.removesuffix("s")
    variable = ((project.raw.get(key) or {}).get(mount.source) or {}).get("environment")
    message = f"the {kind} {mount.source} does not come from a file, and would be missing at {mount.target}"
    hint = "give it by file:, or run it with docker compose"
    if variable and mount.content is None:
        message = f"the {kind} {mount.source} is the variable {variable}, which is not set"
        yield Problem(service.name, where, message, f"set {variable} in the shell or in .env", wrong=True)
    elif mount.content is None or (embedded and not _is_read(service, mount)):
        yield Problem(service.name, where, message, hint)
    elif not embedded and not sandboxed:
        message = f"the {kind} {mount.source} does not come from a file, and without a sandbox it would be a file"
        yield Problem(service.name, where, message, hint)


def _is_read(service: Service, mount: Mount) -> bool:
    """Whether a variable such as POSTGRES_PASSWORD_FILE names it."""
    named = (value for name, value in service.environment.items() if name.endswith("_FILE"))
    return any(posixpath.join(DELIVERED["secrets"], value) == mount.target for value in named)


def _missing_source(service: Service, mount: Mount) -> Problem:
    """Docker would make an empty directory there, and the service would find nothing in it."""
    if posixpath.basename(mount.source) == "docker.sock":
        message, hint = "there is no Docker here, and so no socket of it", "remove it, or run it with docker compose"
        return Problem(service.name, f"services.{service.name}.volumes", message, hint)
    key = _key_of(service, mount)
    message = f"{mount.source} does not exist, and would be empty at {mount.target}"
    is_file = key != "volumes" or PurePosixPath(mount.target).suffix
    hint = "correct the path, or make the file" if is_file else f"correct the path, or make it: mkdir -p {mount.source}"
    return Problem(service.name, f"services.{service.name}.{key}", message, hint)


def _key_of(service: Service, mount: Mount) -> str:
    """The key that asks for the mount: a secret or a config that is a file is a bind, too."""
    for key, folder in DELIVERED.items():
        entries = service.raw.get(key) or ()
        if any(posixpath.join(folder, entry.get("target") or entry["source"]) == mount.target for entry in entries):
            return key
    return "volumes"
