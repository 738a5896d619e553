"""The host container as a Compose project of its own: one service, in which the user's project is mounted.

Docker Compose runs it, so terminal, signals and exit code are Compose's work, on every system. The model has the names
of the user's variables and never a value: those go from process to daemon, by the API.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from gigogne.core.model import MountType, Project
from gigogne.core.place import LocalDisk, PathKind

__all__ = [
    "HOSTED",
    "SERVICE",
    "Bind",
    "Daemon",
    "HostContainer",
    "home",
    "project_root",
    "sources_elsewhere",
    "where_hosted",
]

Daemon = Literal["outside", "inside"]

SERVICE = "host"
HOSTED = PurePosixPath("/home/hosted")
# The home in the container, for a user whose own home has no name there.
HOME = "/home/nest"

# Directories that the host container cannot do without: one from outside in their place would be its end.
_ITS_OWN = (
    *("/bin", "/dev", "/etc", "/home/hosted", "/lib", "/lib64", "/opt/gigogne", "/proc", "/run", "/sbin", "/sys"),
    *("/tmp", "/usr/bin", "/usr/lib", "/usr/local/bin", "/usr/local/lib", "/var/lib/docker"),  # noqa: S108
)


@dataclass(frozen=True, slots=True)
class Bind:
    """A file or directory of this machine in the host container."""

    source: str
    target: str
    read_only: bool = False

    def as_model(self) -> dict[str, Any]:
        """The entry of `volumes:`, as Compose prints it. A source that is not there is an error, not a directory."""
        return {
            "type": "bind",
            "source": _escaped(self.source),
            "target": _escaped(self.target),
            "bind": {"create_host_path": False},
            **({"read_only": True} if self.read_only else {}),
        }


@dataclass(frozen=True, slots=True)
class HostContainer:
    """What a host container is made of.

    Attributes:
        project: The name of the project that is hosted.
        image: The host image.
        working_dir: Where the command starts.
        binds: What is mounted.
        passed: The variables that are passed, by name.
        settings: The variables that Gigogne itself sets; no value of the user's is among them.
        user: `UID:GID`; empty is root.
        groups: The groups that the user is in besides, by number.
        daemon: Whose daemon it talks to: the one that runs it, or its own.
        home: Its home directory, which is new and empty.
    """

    project: str
    image: str
    working_dir: str
    binds: tuple[Bind, ...]
    passed: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    groups: tuple[str, ...] = ()
    daemon: Daemon = "outside"
    home: str = HOME

    @property
    def name(self) -> str:
        """The name of the Compose project that the container is."""
        return f"gigogne-nest-{self.project}"

    @property
    def storage(self) -> str:
        """The named volume in which the engine inside keeps images and containers, from one time to the next."""
        return f"{self.project}_nest-docker"

    def as_model(self) -> dict[str, Any]:
        """The canonical Compose model of the host container."""
        service: dict[str, Any] = {
            "image": self.image,
            "pull_policy": "never",
            "working_dir": _escaped(self.working_dir),
            "environment": {
                **dict.fromkeys(self.passed),
                **{name: _escaped(value) for name, value in self.settings.items()},
                "HOME": _escaped(self.home),
                "GIGOGNE_NEST_PASSED": ",".join(self.passed),
            },
            "volumes": [bind.as_model() for bind in self.binds],
            "tmpfs": [f"{_escaped(self.home)}:exec,mode=1777"],
        }
        model = {"name": self.name, "services": {SERVICE: service}}
        if self.daemon == "inside":
            service |= {"privileged": True, "network_mode": "bridge"}
            service["environment"] |= {"NEST_USER": self.user} if self.user else {}
            service["volumes"] += [{"type": "volume", "source": "docker", "target": "/var/lib/docker"}]
            return {**model, "volumes": {"docker": {"name": self.storage}}}
        # The ports that services publish are where they are for the user: on this machine's 127.0.0.1.
        service |= {"network_mode": "host"}
        service |= {"user": self.user} if self.user else {}
        service |= {"group_add": list(self.groups)} if self.groups else {}
        return model


def project_root(project: Project) -> Path:
    """The directory to mount: the project's, or the one above it that has its Compose files and build contexts too."""
    contexts = [service.build.context for service in project.services.values() if service.build]
    files = [file.parent for file in (*project.files, *project.env_files)]
    directory = Path(os.path.normpath(project.directory))
    try:
        root = Path(os.path.commonpath([directory, *map(os.path.normpath, (*contexts, *files))]))
    except ValueError:  # on two drives
        return directory
    return directory if root == Path(root.anchor) else root


def where_hosted(path: Path, root: Path) -> str | None:
    """The path in the host container of a file below the root; None for others."""
    path = Path(os.path.normpath(path))
    return str(HOSTED / path.relative_to(root).as_posix()) if path.is_relative_to(root) else None


def sources_elsewhere(project: Project, root: Path, files: Sequence[Path] = ()) -> list[Bind]:
    """The files and directories of the project that lie elsewhere, mounted so that their names mean the same in there.

    A name may be a path, or the way there from the project: `~/.aws` is at its own path, `../data` beside the project.
    Not those in whose place the host container has something of its own.

    Args:
        project: The project.
        root: What is mounted as the project.
        files: The files that Compose reads; they and secrets, configs and Dockerfiles are read-only.
    """
    wanted = dict.fromkeys((str(path) for path in (*files, *_read_elsewhere(project))), True)
    for mount in (mount for service in project.services.values() for mount in service.mounts):
        if mount.type is MountType.BIND:
            wanted[mount.source] = wanted.get(mount.source, True) and mount.read_only
    here = {
        source: read_only
        for source, read_only in sorted(wanted.items())
        if Path(source).is_absolute()
        and not Path(source).is_relative_to(root)
        and LocalDisk().kind(source) in (PathKind.FILE, PathKind.DIRECTORY)
    }
    own = {source: Bind(source, source, ro) for source, ro in here.items() if _is_free(source)}
    beside = {target: Bind(s, target, ro) for s, ro in here.items() if (target := _beside(s, root))}
    found = {**beside, **own}
    return [bind for bind in found.values() if not any(_holds(other, bind) for other in found.values())]


def _read_elsewhere(project: Project) -> Iterator[str | Path]:
    """What Compose itself reads of a project besides its files: secrets, configs, what is built."""
    for key in ("secrets", "configs"):
        for entry in (project.raw.get(key) or {}).values():
            yield ((entry or {}).get("file") or "").replace("$$", "$")
    for build in (service.build for service in project.services.values() if service.build):
        yield from (build.context, *([build.dockerfile] if build.dockerfile else []))


def _is_free(path: str) -> bool:
    """Whether a path of this machine hides nothing of the host container in the same place."""
    own = (*_ITS_OWN, home())
    return path.startswith("/") and not any(PurePosixPath(each).is_relative_to(path) for each in own)


def _beside(source: str, root: Path) -> str | None:
    """Where a relative path of the project leads in the host container; None where that has something of its own."""
    try:
        way = Path(os.path.relpath(source, root)).as_posix()
    except ValueError:  # on another drive
        return None
    target = posixpath.normpath(HOSTED / way)
    inside = any(PurePosixPath(target).is_relative_to(own) for own in (*_ITS_OWN, home()))
    return target if _is_free(target) and not inside else None


def _holds(other: Bind, bind: Bind) -> bool:
    """Whether what a bind brings is there already, below another one: then that would be a mount in a mount."""
    if other is bind or not Path(bind.source).is_relative_to(other.source):
        return False
    way = Path(bind.source).relative_to(other.source).as_posix()
    return posixpath.join(other.target, way) == bind.target and (bind.read_only or not other.read_only)


def home() -> str:
    """The home in the container, new and empty: at the caller's own path where it can be, so `~/…` means the same."""
    here = Path.home().as_posix()
    covers = any(PurePosixPath(own).is_relative_to(here) for own in _ITS_OWN)
    return here if here.startswith("/") and not covers and os.access(here, os.W_OK) else HOME


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
