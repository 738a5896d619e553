"""Which keys of a Compose service this engine honours, which it lets pass with a notice, and which it refuses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from gigogne.core.images import repository
from gigogne.core.model import Problem, Service
from gigogne.core.suggestion import did_you_mean
from gigogne.engines.process.embedded import EMBEDDED_IMAGES
from gigogne.engines.process.image import KNOWN_IMAGES

__all__ = ["HONOURED", "NOTICED", "REFUSED", "key_problems", "unknown_image"]

HONOURED = frozenset(
    "annotations attach build command configs container_name depends_on entrypoint env_file environment expose "
    "extra_hosts healthcheck hostname image init labels networks platform ports profiles pull_policy restart secrets "
    "stop_grace_period stop_signal stdin_open tmpfs user volumes working_dir".split()
)
"""Keys that mean the same here as in Docker, or that mean nothing without Docker."""

NOTICED = {
    "cap_add": "a process has your capabilities",
    "cap_drop": "a process has your capabilities",
    "cpus": "processes share this machine's processors",
    "deploy": "one process, and no limits of its own",
    "develop": "watching is Docker's",
    "dns": "this machine's name servers are used",
    "group_add": "a process has the groups that you have",
    "logging": "the lines go to files that `gigogne` shows",
    "mem_limit": "processes share this machine's memory",
    "read_only": "what the image holds can be written, and is forgotten",
    "security_opt": "there is no container to secure",
    "shm_size": "shared memory is as large as this machine allows",
    "tty": "there is no terminal, and stdout and stderr stay apart",
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
    """What the engine says of the service's keys."""
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


def unknown_image(service: Service) -> Problem:
    """That there is nothing in place of the service's image, and what to do."""
    name = repository(service.image)
    hint = "give the service a build:, or run it with docker compose"
    if name in ("minio/mc", "amazon/aws-cli"):
        hint = "make the bucket in the module's own code, or name it in MINIO_DEFAULT_BUCKETS of the server"
    hint = did_you_mean(name, [*EMBEDDED_IMAGES, *KNOWN_IMAGES], cutoff=0.8) or hint
    message = f"the image {service.image} can only run in Docker"
    return Problem(service.name, f"services.{service.name}.image", message, hint)
