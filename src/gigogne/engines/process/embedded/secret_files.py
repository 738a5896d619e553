"""Secrets that come as files: `NAME_FILE` names a file inside the container, and what it holds is `NAME`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from gigogne.core.model import MountType, Problem, Service
from gigogne.engines.process.embedded.server import problem
from gigogne.errors import EngineError

__all__ = ["host_path", "secret_problems", "with_secrets"]

_SECRETS = PurePosixPath("/run/secrets")  # a relative name is in it, as MinIO has it


def secret_problems(service: Service, names: Sequence[str]) -> list[Problem]:
    """What keeps the files of these variables from being read."""
    found = []
    for name in names:
        inside = service.environment.get(f"{name}_FILE")
        if not inside:
            continue
        if service.environment.get(name):
            found.append(
                problem(service, f"environment.{name}", f"{name} and {name}_FILE are both set", "keep one of them")
            )
        reason = _read(service, inside)[1]
        if reason:
            found.append(
                problem(
                    service,
                    f"environment.{name}_FILE",
                    f"{_SECRETS / inside} {reason}",
                    f"name the file of a secret of this service (secrets:), or mount one there, or give {name} itself",
                )
            )
    return found


def with_secrets(service: Service, names: Sequence[str]) -> Service:
    """The service with each `NAME` in its environment for which a `NAME_FILE` names a file.

    Raises:
        EngineError: A file that was there when it was checked is gone.
    """
    read: dict[str, str] = {}
    for name in names:
        inside = service.environment.get(f"{name}_FILE")
        if inside:
            read[name], reason = _read(service, inside)
            if reason:
                raise EngineError(f"service {service.name!r}: {name}_FILE: {inside} {reason}", "put the file back")
    return replace(service, environment={**service.environment, **read}) if read else service


def host_path(service: Service, inside: PurePosixPath) -> Path | None:
    """The path of this machine that a path in the container is; None where no bind holds it."""
    within = [mount for mount in service.mounts if inside.is_relative_to(mount.target)]
    if not within:
        return None
    mount = max(within, key=lambda each: len(PurePosixPath(each.target).parts))
    if mount.type is not MountType.BIND:
        return None
    return Path(mount.source) / inside.relative_to(mount.target)


def _read(service: Service, inside: str) -> tuple[str, str]:
    """What the file holds without the line ends after it, as a shell's `$(< file)`; else the reason why not."""
    held = next((mount.content for mount in service.mounts if mount.target == str(_SECRETS / inside)), None)
    if held is not None:
        return held.rstrip("\n"), ""
    path = host_path(service, _SECRETS / inside)
    if path is None:
        return "", "is in no file or directory of this machine that the service mounts"
    try:
        return path.read_text(encoding="utf-8").rstrip("\n"), ""
    except UnicodeDecodeError:
        return "", f"is no text ({path})"
    except OSError as error:
        return "", f"cannot be read ({path}): {error.strerror}"
