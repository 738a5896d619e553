"""Which keys of a Compose service this engine honours, which it lets pass with a notice, and which it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gigogne.core.model import MountType, Problem, Service

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
    "ipc": "name spaces are shared in Docker only",
    "network_mode": "remove it: without Docker each service is on this machine's network",
    "pid": "name spaces are shared in Docker only",
    "privileged": "privileges need Docker",
    "provider": "providers need Docker",
    "volumes_from": "name the volumes in volumes:",
}
"""Keys that the service would not work without; each with what to do."""


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
            # Docker would make an empty directory there, and the service would find nothing in it.
            message = f"{mount.source} does not exist, and would be empty at {mount.target}"
            yield Problem(service.name, where, message, f"correct the path, or make it: mkdir -p {mount.source}")
