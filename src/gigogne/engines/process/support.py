"""Which keys of a Compose service this engine honours, which it lets pass with a notice, and which it refuses."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from gigogne.core.model import Mount, MountType, Problem, Service

__all__ = ["HONOURED", "NOTICED", "REFUSED", "key_problems"]

HONOURED = frozenset(
    "annotations attach build command configs container_name depends_on entrypoint env_file environment expose "
    "extra_hosts healthcheck hostname image init labels networks platform ports profiles pull_policy restart secrets "
    "stop_grace_period stop_signal stdin_open tmpfs tty user volumes working_dir".split()
)
"""Keys that mean the same here as in Docker, or that mean nothing without Docker."""

NOTICED = {
    "cap_add": "a process has your capabilities",
    "cap_drop": "a process has your capabilities",
    "cpus": "processes share this machine's processors",
    "deploy": "one process, and no limits of its own",
    "develop": "watching is Docker's",
    "dns": "this machine's name servers are used",
    "logging": "the lines go to files that `gigogne` shows",
    "mem_limit": "processes share this machine's memory",
    "read_only": "what the image holds can be written, and is forgotten",
    "security_opt": "there is no container to secure",
    "shm_size": "shared memory is as large as this machine allows",
    "ulimits": "your own limits hold",
}
"""Keys that change how a service runs but not what it does: the run goes on and says so."""

REFUSED = {
    "devices": "devices need Docker",
    "gpus": "GPUs need Docker",
    "links": "remove it: services reach each other by name; another name is one of networks.default.aliases",
    "ipc": "name spaces are shared in Docker only",
    "network_mode": "remove it: without Docker each service is on this machine's network",
    "pid": "name spaces are shared in Docker only",
    "privileged": "privileges need Docker",
    "provider": "providers need Docker",
    "volumes_from": "name the volumes in volumes:",
}
"""Keys that the service would not work without; each with what to do."""

# Programs by their bare names, which are this machine's; those of an environment are called by its path.
_INSTALLS = re.compile(
    r"(?:^|[\s;&|(])((?:python[\d.]* -m |uv )?pip3? install|(?:apt-get|apt)(?: -\S+)* install|apk(?: -\S+)* add)\b"
)


def key_problems(service: Service) -> Iterator[Problem]:
    """What the engine says of the service's keys and its mounts."""
    for key in sorted(service.keys - HONOURED):
        where = f"services.{service.name}.{key}"
        if key in NOTICED:
            yield Problem(service.name, where, f"not the same without Docker: {NOTICED[key]}", fatal=False)
        else:
            hint = REFUSED.get(key, "remove it")
            hint = f"{hint}; or run it with docker compose"
            yield Problem(service.name, where, "cannot be honoured without Docker", hint)
    yield from _unusable_values(service)
    yield from _device_notices(service)
    yield from _command_problems(service)
    yield from _mount_problems(service)


def _mount_problems(service: Service) -> Iterator[Problem]:
    where = f"services.{service.name}.volumes"
    for mount in service.mounts:
        if mount.type is MountType.OTHER and mount.source:
            message = (
                f"the secret or config {mount.source} does not come from a file, and would be missing at {mount.target}"
            )
            yield Problem(service.name, where, message, "give it by file:, or run it with docker compose")
        elif mount.type is MountType.OTHER:
            message = f"the mount at {mount.target} has a type that needs Docker"
            yield Problem(service.name, where, message, "run it with docker compose")
        elif mount.type is MountType.BIND and not Path(mount.source).exists():
            yield _missing_source(service, mount)


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
    for key, folder in (("secrets", "/run/secrets"), ("configs", "/")):
        entries = service.raw.get(key) or ()
        if any(posixpath.join(folder, entry.get("target") or entry["source"]) == mount.target for entry in entries):
            return key
    return "volumes"


def _command_problems(service: Service) -> Iterator[Problem]:
    """A container is changed by what its command installs; here that would be this machine."""
    for key, words in (("entrypoint", service.entrypoint), ("command", service.command)):
        if match := _INSTALLS.search(" ".join(words or ())):
            message = f"`{match[1]}` when the service starts would install into this machine itself"
            hint = "write a Dockerfile with FROM the image and RUN the install, and give the service build:"
            yield Problem(service.name, f"services.{service.name}.{key}", message, hint)


def _unusable_values(service: Service) -> Iterator[Problem]:
    """A NUL byte, which no system passes on to a program."""
    found = [f"environment.{name}" for name, value in service.environment.items() if "\0" in value]
    found += [key for key in ("command", "entrypoint") if any("\0" in word for word in getattr(service, key) or ())]
    for key in found:
        yield Problem(service.name, f"services.{service.name}.{key}", "holds a NUL byte", "remove it")


def _device_notices(service: Service) -> Iterator[Problem]:
    resources = (service.raw.get("deploy") or {}).get("resources") or {}
    if (resources.get("reservations") or {}).get("devices"):
        where = f"services.{service.name}.deploy.resources.reservations.devices"
        message = "reserves a GPU: in the sandbox there is none, in the portable way there is what this machine has"
        yield Problem(
            service.name, where, message, "let it run without one, or run it with docker compose", fatal=False
        )
