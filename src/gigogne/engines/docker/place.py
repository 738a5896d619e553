"""Find the place: is this a container of the daemon, does the daemon share this disk, or is it far away?

A container finds its own id in what Docker leaves in its files; the daemon tells its mounts. Where that fails a probe
settles it: a file with random bytes, mounted and read back by the daemon.
"""

from __future__ import annotations

import contextlib
import io
import re
import secrets
import socket
import struct
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from gigogne.core.place import MountPoint, Place, PlaceKind
from gigogne.engines.docker.connection import endpoint, is_local, telling
from gigogne.engines.docker.empty import create_empty
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Traces", "find_place", "mount_points"]

_Inspect = Callable[[str], Mapping[str, Any] | None]

_ID = re.compile(r"[0-9a-f]{64}")
_SHORT_ID = re.compile(r"[0-9a-f]{12}")
# The files that Docker and Podman mount into each container from its own directory.
_OWN_FILES = ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf")
_OWN_DIRECTORY = re.compile(r"/(?:overlay-)?containers/([0-9a-f]{64})/")


@dataclass(frozen=True, slots=True)
class _MountLine:
    """What is read of a line of /proc/self/mountinfo."""

    root: str
    at: str
    filesystem: str
    options: str

    @classmethod
    def of(cls, line: str) -> _MountLine | None:
        """The line, where it is one."""
        left, _, right = line.partition(" - ")
        first, last = left.split(), right.split()
        return cls(first[3], first[4], last[0], last[-1]) if len(first) > 4 and last else None

    @property
    def upper(self) -> str:
        """The directory of a container's own layer; empty where an overlay does not say."""
        found = re.search(r"(?:^|,)upperdir=([^,]+)", self.options)
        return found[1] if found else ""


@dataclass(frozen=True, slots=True)
class Traces:
    """What a container finds of itself in its own files.

    `marked` is whether the runtime left its mark (`/.dockerenv`), `hostname` is this machine's.
    """

    mountinfo: str = ""
    cgroup: str = ""
    hostname: str = ""
    marked: bool = False

    @classmethod
    def read(cls) -> Traces:
        """The traces of this process; none where there is no /proc, as on macOS and Windows."""
        process = Path("/proc/self")
        if not process.is_dir():
            return cls()
        marks = (Path("/.dockerenv"), Path("/run/.containerenv"))
        return cls(
            _text(process / "mountinfo"),
            _text(process / "cgroup"),
            socket.gethostname(),
            any(mark.exists() for mark in marks),
        )

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids that may be this container's, the surest first.

        The control group is the process's own. The mounted files are those of another container where it shares that
        one's network. The host name is an id only where nobody gave another one.
        """
        groups = [found[-1] for line in self.cgroup.splitlines() if (found := _ID.findall(line))]
        files = [_OWN_DIRECTORY.search(line.root) for line in self._lines if line.at in _OWN_FILES]
        names = [self.hostname] if _SHORT_ID.fullmatch(self.hostname) else []
        return tuple(dict.fromkeys([*groups, *(found[1] for found in files if found), *names]))

    @property
    def is_container(self) -> bool:
        """Whether this may be a container. It may be none all the same: then a probe tells."""
        own = any(line.at in _OWN_FILES for line in self._lines)
        return (
            self.marked
            or own
            or "kubepods" in self.cgroup
            or self._root.filesystem == "overlay"
            or bool(_ID.search(self.cgroup))
        )

    def fit(self, inspected: Mapping[str, Any]) -> bool:
        """Whether an inspected container is this one: it runs on this layer, or has its mounts where these are."""
        upper = ((inspected.get("GraphDriver") or {}).get("Data") or {}).get("UpperDir")
        if upper and self._root.upper:
            return str(upper).endswith(self._root.upper)  # long ones are mounted by a relative path
        # By their last part: the way there may be by a symbolic link, as /var/run is one.
        here = {PurePosixPath(line.at).name for line in self._lines}
        return all(PurePosixPath(mount["Destination"]).name in here for mount in inspected.get("Mounts") or ())

    @property
    def _lines(self) -> list[_MountLine]:
        lines = map(_MountLine.of, self.mountinfo.splitlines())
        return [line for line in lines if line is not None]

    @property
    def _root(self) -> _MountLine:
        return next((line for line in self._lines if line.at == "/"), _MountLine("", "/", "", ""))


def find_place(client: DockerClient, directory: Path | None = None, *, traces: Traces | None = None) -> Place:
    """Where this process is, seen from the daemon.

    Args:
        client: The daemon.
        directory: The project's directory: whether the daemon shares it decides. Where nothing can be written in it,
            or none is given, the directory of temporary files does.
        traces: What tells of the container; by default what this process finds.

    Raises:
        EngineError: The daemon does not answer, or refuses.
    """
    traces = traces or Traces.read()
    with telling(client):
        version = client.version()["Version"]
        if is_local(client) and not traces.is_container:
            return Place(PlaceKind.HOST, engine_version=version)
        found = _own_container(client, traces)
        if found is not None:
            mounts = mount_points(found, _inspector(client))
            return Place(PlaceKind.OUTSIDE, mounts, found["Id"], version)
        if _shares_mounts(client):
            return Place(PlaceKind.INSIDE, engine_version=version)
        folders = [*([directory] if directory else []), Path(tempfile.gettempdir())]
        answers = (_is_shared(client, folder) for folder in folders)
        shared = next((answer for answer in answers if answer is not None), False)
        return Place(PlaceKind.INSIDE if shared else PlaceKind.REMOTE, engine_version=version)


def _own_container(client: DockerClient, traces: Traces) -> Mapping[str, Any] | None:
    """The inspection of the container in which this process is; None where the daemon has none that fits."""
    inspect = _inspector(client)
    for candidate in traces.ids:
        found = inspect(candidate)
        if found is None or not found["Id"].startswith(candidate):
            continue
        # The files of a container that shares another one's network are that one's.
        mode = f"container:{found['Id']}"
        sharers = (each["Id"] for each in client.api.containers() if each["HostConfig"]["NetworkMode"] == mode)
        for fitting in (found, *(seen for id_ in sharers if (seen := inspect(id_)))):
            if fitting["State"]["Running"] and traces.fit(fitting):
                return fitting
    return None


def _inspector(client: DockerClient) -> _Inspect:
    def inspect(container: str) -> Mapping[str, Any] | None:
        from docker.errors import NotFound

        try:
            found: Mapping[str, Any] = client.api.inspect_container(container)
        except NotFound:
            return None
        return found

    return inspect


def mount_points(inspected: Mapping[str, Any], inspect: _Inspect) -> tuple[MountPoint, ...]:
    """The mounts of an inspected container. `inspect` finds those from which it takes volumes (`--volumes-from`).

    Raises:
        EngineError: One of those is gone.
    """
    subpaths = dict(_subpaths(inspected, inspect))
    found = [
        MountPoint(
            target=mount["Destination"],
            type=mount["Type"],
            source=mount.get("Name") or mount.get("Source") or "",
            subpath=subpaths.get(mount["Destination"], ""),
            read_only=not mount.get("RW", True),
        )
        for mount in inspected.get("Mounts") or ()
    ]
    return (*found, *(MountPoint(target, "tmpfs", "") for target in inspected["HostConfig"].get("Tmpfs") or ()))


def _subpaths(inspected: Mapping[str, Any], inspect: _Inspect) -> Iterator[tuple[str, str]]:
    """The part of its volume that is at a target. `Mounts` hides it, for volumes of other containers too."""
    host = inspected["HostConfig"]
    for name in host.get("VolumesFrom") or ():
        other = inspect(name.partition(":")[0])
        if other is None:
            raise EngineError(
                f"the container {name}, whose volumes this one uses, is gone, and with it what part of them it used",
                "start this container again, with --mount in place of --volumes-from",
            )
        yield from _subpaths(other, inspect)
    for mount in host.get("Mounts") or ():
        yield mount["Target"], (mount.get("VolumeOptions") or {}).get("Subpath", "")


def _shares_mounts(client: DockerClient) -> bool:
    """Whether the daemon itself listens on the socket, and has this process's mounts. Else a probe has to tell."""
    path = endpoint().removeprefix("unix://")
    if not sys.platform.startswith("linux") or not is_local(client):
        return False
    try:
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(path)
            told = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        listening = Path("/proc", str(struct.unpack("3i", told)[0]))  # 0 where it is in no namespace of ours
        if (listening / "comm").read_text() != "dockerd\n":  # it passes requests on to a daemon elsewhere
            return False
        return (listening / "ns/mnt").readlink() == Path("/proc/self/ns/mnt").readlink()
    except OSError:  # it is another user's
        return False


def _is_shared(client: DockerClient, folder: Path) -> bool | None:
    """Whether the daemon sees the files of a folder: it reads random bytes back from one. None if none can be made."""
    from docker.errors import APIError

    said = secrets.token_bytes(32)
    with contextlib.ExitStack() as cleanup:
        try:
            made = Path(cleanup.enter_context(tempfile.TemporaryDirectory(prefix=".gigogne-probe-", dir=folder)))
            made.chmod(0o755)  # the daemon may be another user
            file = made.resolve() / "probe"
            file.write_bytes(said)
        except OSError:
            return None
        try:
            return _read_back(client, file) == said
        except APIError as error:
            if error.status_code in (400, 404, 500):  # there is no such file where the daemon is
                return False
            raise


def _read_back(client: DockerClient, file: Path) -> bytes:
    """What the daemon reads in a file of this place, which it mounts into a container that is never started."""
    from docker.types import Mount

    config = client.api.create_host_config(mounts=[Mount("/probe", str(file), type="bind", read_only=True)])
    made = create_empty(client, host_config=config)
    try:
        chunks, _ = client.api.get_archive(made, "/probe")
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            inside = archive.extractfile(archive.getmembers()[0])
            return b"" if inside is None else inside.read()
    finally:
        client.api.remove_container(made, v=True, force=True)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
