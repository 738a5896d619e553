"""The project as data: what Compose's canonical model says, typed and frozen.

Nothing here reads a file or a variable. `gigogne.compose.load` makes these objects, `gigogne.core.plan` and the
engines read them. Names are those of the Compose specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from gigogne.core.durations import seconds

__all__ = [
    "DELIVERED",
    "Build",
    "Condition",
    "Dependency",
    "Healthcheck",
    "Kind",
    "Mount",
    "MountType",
    "Port",
    "Problem",
    "Project",
    "Service",
]

# What Compose delivers as files, and where: secrets in a folder of their own, configs at the root.
DELIVERED = {"secrets": "/run/secrets", "configs": "/"}


class Condition(StrEnum):
    """What a service waits for in one that it depends on: Compose's three."""

    STARTED = "service_started"
    HEALTHY = "service_healthy"
    COMPLETED = "service_completed_successfully"


class Kind(StrEnum):
    """A job ends by itself, a server stays up."""

    JOB = "job"
    SERVER = "server"


class MountType(StrEnum):
    """The types of mount that Compose knows."""

    BIND = "bind"
    VOLUME = "volume"
    TMPFS = "tmpfs"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Build:
    """A `build:` section. `context` and `dockerfile` are absolute; `dockerfile` is None when it is inline."""

    context: Path
    dockerfile: Path | None
    dockerfile_inline: str | None = None
    args: Mapping[str, str] = field(default_factory=dict, repr=False)
    target: str | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    """One entry of `volumes:` or `tmpfs:`.

    `source` is a host path for a bind, the key of a top-level volume for a named volume, and empty for an
    anonymous volume or a tmpfs. `target` is the path inside. With `nocopy` a new volume does not get the image's files.
    A secret or a config that is a file is a read-only bind of it, as Compose makes it; of another one (`OTHER`)
    `source` is the name, and `content` what it holds, where that is known. It may be secret, and so shows in no repr.
    """

    type: MountType
    source: str
    target: str
    read_only: bool = False
    subpath: str = ""
    create_host_path: bool = True
    nocopy: bool = False
    content: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Port:
    """One entry of `ports:`. `published` is empty when Docker would choose it."""

    target: int
    published: str = ""
    host_ip: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True, slots=True)
class Dependency:
    """One entry of `depends_on:`."""

    service: str
    condition: Condition
    required: bool = True


@dataclass(frozen=True, slots=True)
class Healthcheck:
    """A health check, Compose's or a Dockerfile's. Durations are seconds; the defaults are Docker's.

    `test` is empty when the check is disabled; else its first word is CMD or CMD-SHELL.
    """

    test: tuple[str, ...] = ()
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0
    start_interval: float = 5.0

    @classmethod
    def of_instruction(cls, words: Sequence[str], flags: Mapping[str, str], *, exec_form: bool) -> Healthcheck:
        """The check of a Dockerfile's `HEALTHCHECK [flags] CMD …` or `HEALTHCHECK NONE`; 0 is Docker's default.

        Raises:
            ValueError: It is malformed; the message says how.
        """
        kind = words[0].upper() if words else ""
        if kind == "NONE":
            return cls()
        if kind != "CMD" or len(words) < 2:
            raise ValueError("HEALTHCHECK needs CMD and a command, or NONE")
        given: dict[str, Any] = {}
        for name, value in flags.items():
            key = name.replace("-", "_")
            if key == "retries" and value.isdecimal():
                given[key] = int(value)
            elif key in ("interval", "timeout", "start_period", "start_interval"):
                given[key] = _flag_seconds(name, value)
            else:
                raise ValueError(f"HEALTHCHECK --{name}={value} is not understood")
        test = ("CMD" if exec_form else "CMD-SHELL", *words[1:])
        return cls(test, **{key: value for key, value in given.items() if value})


@dataclass(frozen=True, slots=True)
class Service:
    """One entry of `services:`, in Compose's canonical form.

    `environment` holds the resolved values (shell, `.env`, `env_file` and `environment:`), and so never shows in a
    repr. `command` and `entrypoint` are None when the image decides. `keys` are the keys the file sets, for
    engines to refuse what they cannot honour; `raw` is the canonical mapping itself.
    """

    name: str
    image: str = ""
    build: Build | None = None
    command: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    mounts: tuple[Mount, ...] = ()
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()
    depends_on: tuple[Dependency, ...] = ()
    healthcheck: Healthcheck | None = None
    restart: str = "no"
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    stop_signal: str = ""
    stop_grace_period: float = 10.0
    aliases: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    init: bool = False
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def keys(self) -> frozenset[str]:
        """The keys that the Compose file sets to something."""
        return frozenset(key for key, value in self.raw.items() if value not in (None, [], {}, ""))

    @property
    def unset(self) -> frozenset[str]:
        """The variables that `environment:` names and nothing sets: not even the image's value reaches the service."""
        return frozenset(name for name, value in (self.raw.get("environment") or {}).items() if value is None)


@dataclass(frozen=True, slots=True)
class Project:
    """A loaded set of Compose files.

    `volumes` maps the key of each top-level volume to its real name (`data` → `mlops_data`); `extension` is the
    top-level `x-gigogne`; `warnings` is what Compose warned of (a variable that is not set …). `env_files` are those
    of `--env-file`. `raw` is Compose's canonical model itself, with each `$` doubled: Compose can read it again.
    """

    name: str
    directory: Path
    files: tuple[Path, ...]
    services: Mapping[str, Service]
    volumes: Mapping[str, str] = field(default_factory=dict)
    extension: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    env_files: tuple[Path, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that an engine cannot honour, or honours in its own way.

    Attributes:
        service: The service it is about; empty for the project.
        where: The place in the user's files: a Compose key (`services.api.privileged`) or `Dockerfile:12`.
        message: What is wrong.
        hint: What to do about it. A notice without one asks for nothing: `check` shows it, `run` counts it.
        fatal: False for a notice: the run goes on, and says so.
        wrong: The files are wrong, and not only more than the engine can do.
    """

    service: str
    where: str
    message: str
    hint: str = ""
    fatal: bool = True
    wrong: bool = False

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}" + (f" — {self.hint}" if self.hint else "")


def _flag_seconds(name: str, value: str) -> float:
    try:
        return seconds(value)
    except ValueError as error:
        raise ValueError(f"HEALTHCHECK --{name}={value}: {error}") from None
