"""Where Gigogne itself runs, and what the daemon calls the paths that are seen from there.

A container sees its own paths; the daemon that starts the next container sees those of its host. The mounts of this
container are the table between the two: container path → host path, or volume and path in it.
"""

from __future__ import annotations

import re
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Protocol

__all__ = [
    "Disk",
    "LocalDisk",
    "Located",
    "MountPoint",
    "PathKind",
    "Place",
    "PlaceKind",
    "chain",
    "inner_mounts",
    "is_daemons",
    "locate",
    "resolved",
]

_SUBPATH_ENGINE = 26
"""The first engine that mounts a path of a volume; older ones take `subpath`, and mount the whole volume."""

# What each machine has of its own, and who names it means the daemon's: the kernel's file systems, Docker's sockets.
_DAEMONS = (
    *("/proc", "/sys", "/dev"),
    *("/var/run/docker.sock", "/run/docker.sock", "/run/host-services", "/run/guest-services"),
)
# Below /dev, and a container's own all the same.
_MEMORY = ("/dev/shm", "/dev/mqueue")  # noqa: S108 - the names of mounts, no temporary files
# `C:\work`, `C:/work` and `\\server\share`, as an engine of Docker Desktop spells the disks of Windows.
_WINDOWS = re.compile(r"[A-Za-z]:[\\/]|\\\\")


class PlaceKind(StrEnum):
    """What the daemon sees of this place."""

    HOST = "host"  # not in a container
    OUTSIDE = "outside"  # in a container of this daemon: it sees its host's paths
    INSIDE = "inside"  # the daemon shares this disk: it sees the same paths
    REMOTE = "remote"  # the daemon is on another disk: it sees nothing of this one


class PathKind(StrEnum):
    """What is at a path of this place. What cannot be looked at is OTHER, as sockets and devices are."""

    MISSING = "missing"
    FILE = "file"
    DIRECTORY = "directory"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class MountPoint:
    """One mount of the container in which Gigogne runs.

    `source` is the daemon's name of it: the host's path of a bind, the name of a volume; `subpath` is the part of that.
    """

    target: str
    type: str
    source: str
    subpath: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Place:
    """Where Gigogne runs. `container` is its own container's id, and `mounts` are that one's, where they are known."""

    kind: PlaceKind
    mounts: tuple[MountPoint, ...] = ()
    container: str = ""
    engine_version: str = ""

    @property
    def has_subpath(self) -> bool:
        """Whether the engine mounts a path of a volume."""
        major = self.engine_version.partition(".")[0]
        return major.isdecimal() and int(major) >= _SUBPATH_ENGINE

    @property
    def shares_disk(self) -> bool:
        """Whether the daemon sees the paths of this place as they are."""
        return self.kind in (PlaceKind.HOST, PlaceKind.INSIDE)


class Disk(Protocol):
    """The paths of this place, as it sees them itself."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links."""
        ...

    def kind(self, path: str) -> PathKind:
        """What is at the path."""
        ...


class LocalDisk:
    """The disk of this process."""

    def resolve(self, path: str) -> str:
        """The path without symbolic links; a loop of them stays as it is."""
        try:
            return str(Path(path).resolve())
        except (OSError, RuntimeError):
            return path

    def kind(self, path: str) -> PathKind:
        """What is at the path, behind symbolic links."""
        # Docker Desktop keeps its daemon in a machine of its own, whose these are.
        if (sys.platform == "win32" and path.startswith("/")) or (sys.platform == "darwin" and is_daemons(path)):
            return PathKind.OTHER
        try:
            mode = Path(path).stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            return PathKind.MISSING
        except OSError:
            return PathKind.OTHER  # the daemon may see what this user may not
        if stat.S_ISREG(mode):
            return PathKind.FILE
        return PathKind.DIRECTORY if stat.S_ISDIR(mode) else PathKind.OTHER


@dataclass(frozen=True, slots=True)
class Located:
    """A path of this container as its daemon finds it: a mount, and the way below its target."""

    mount: MountPoint
    rest: str

    @property
    def host_path(self) -> str:
        """The path on the daemon's host, for a bind: in the spelling of its source."""
        return _joined(self.mount.source, self.rest)

    @property
    def subpath(self) -> str:
        """The path in the volume, for a volume."""
        return "/".join(part for part in (self.mount.subpath.strip("/"), self.rest) if part)


def resolved(mounts: Sequence[MountPoint], disk: Disk) -> tuple[tuple[str, MountPoint], ...]:
    """The mounts by where they really are: `/var/run/docker.sock` is at `/run/docker.sock`."""
    return tuple((disk.resolve(mount.target), mount) for mount in mounts)


def is_daemons(path: str) -> bool:
    """Whether a path is the daemon's own, wherever it is named: of the kernel, or Docker's socket."""
    at = PurePosixPath(path)
    return any(map(at.is_relative_to, _DAEMONS)) and not any(map(at.is_relative_to, _MEMORY))


def locate(path: str, mounts: Sequence[tuple[str, MountPoint]]) -> Located | None:
    """The innermost mount that holds a resolved path; None where the path is in the container's own layer."""
    holders = [(at, mount) for at, mount in mounts if PurePosixPath(path).is_relative_to(at)]
    if not holders:
        return None
    at, mount = max(holders, key=lambda holder: len(PurePosixPath(holder[0]).parts))
    rest = str(PurePosixPath(path).relative_to(at))
    return Located(mount, "" if rest == "." else rest)


def inner_mounts(path: str, mounts: Sequence[tuple[str, MountPoint]]) -> list[tuple[str, MountPoint]]:
    """The mounts below a resolved path, the outer ones first, each with the way to it from there."""
    below = [(at, mount) for at, mount in mounts if at != path and PurePosixPath(at).is_relative_to(path)]
    below.sort(key=lambda found: len(PurePosixPath(found[0]).parts))
    return [(str(PurePosixPath(at).relative_to(path)), mount) for at, mount in below]


def chain(path: str, place: Place, disk: Disk | None = None) -> tuple[str, ...]:
    r"""The names of a mount's source from the daemon's host to this place: `C:\work\app`, `/home/hosted/app`."""
    if place.kind is not PlaceKind.OUTSIDE:
        return (path,)
    disk = disk or LocalDisk()
    real = disk.resolve(path)
    found = locate(real, resolved(place.mounts, disk))
    return tuple(dict.fromkeys((_origin(found), real, path)))


def _origin(found: Located | None) -> str:
    """Where a path of this container comes from, in words where the daemon has no path for it."""
    if found is None:
        return "this container's own layer"
    if found.mount.type == "bind":
        return found.host_path
    if found.mount.type == "volume":
        return f"volume {found.mount.source}" + (f", {found.subpath}" if found.subpath else "")
    return f"{found.mount.type} of this container"


def _joined(source: str, rest: str) -> str:
    if not rest:
        return source
    if _WINDOWS.match(source) and "/" not in source:
        return source.rstrip("\\") + "\\" + rest.replace("/", "\\")
    return f"{source.rstrip('/')}/{rest}"
