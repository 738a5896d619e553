"""A project as the daemon must read it, when Gigogne itself runs in a container.

The daemon resolves the source of a bind mount on the disk of its own host. There a path of this container is another
one, or nothing: Docker would then mount an empty directory, and the service would succeed on no data. So each source
is translated by the mounts of this container; what cannot be translated is refused, each with what to do.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from gigogne.core.graph import kinds
from gigogne.core.model import DELIVERED, Kind, Problem, Project
from gigogne.core.place import (
    Disk,
    LocalDisk,
    Located,
    MountPoint,
    PathKind,
    Place,
    PlaceKind,
    inner_mounts,
    is_daemons,
    locate,
    resolved,
)

__all__ = ["MountPoint", "Nesting", "Place", "PlaceKind", "Staged", "nest"]


@dataclass(frozen=True, slots=True)
class Staged:
    """A read-only source that the daemon cannot see: to be copied into a volume before its service starts.

    Attributes:
        source: The file or directory, in this container.
        volume: The name of the volume. To Compose it is an external one: it must be made.
        service: The service that mounts it.
        target: Where the service sees it.
        name: The file's name in the volume; empty for a directory, whose files go to the volume's root.
        without: Paths in the directory that are mounted by themselves: they are copied as empty directories.
    """

    source: str
    volume: str
    service: str
    target: str
    name: str = ""
    without: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Nesting:
    """A project as the daemon must read it.

    Attributes:
        model: Compose's canonical model with the daemon's names of the sources, each `$` doubled.
        problems: What cannot be had, and what is had in another way.
        staged: What must be copied for the model to hold.
    """

    model: Mapping[str, Any] = field(repr=False)
    problems: tuple[Problem, ...] = ()
    staged: tuple[Staged, ...] = ()


@dataclass(frozen=True, slots=True)
class _Bind:
    """A path of this place that a service mounts. `entry` is what `volumes:` says of it, or would say."""

    service: str
    key: str
    source: str
    target: str
    read_only: bool
    entry: Mapping[str, Any] = field(default_factory=dict)

    def as_bind(self, source: str) -> _Delivery:
        """The mount with the source that the daemon knows."""
        entry = {"type": "bind", **self.entry, "source": _escaped(source), "target": _escaped(self.target)}
        return _Delivery(entries=(entry | ({"read_only": True} if self.read_only else {}),))

    def as_volume(self, key: str, subpath: str) -> _Delivery:
        """The mount of a volume's path. As in a bind, no file of the image is copied into it."""
        options = {"nocopy": True, **({"subpath": _escaped(subpath)} if subpath else {})}
        entry = {"type": "volume", "source": key, "target": _escaped(self.target), "volume": options}
        return _Delivery(entries=(entry | ({"read_only": True} if self.read_only else {}),))

    def problem(self, message: str, hint: str, *, fatal: bool = True) -> _Delivery:
        """What is to be said of it."""
        return _Delivery((Problem(self.service, f"services.{self.service}.{self.key}", message, hint, fatal),))


@dataclass(frozen=True, slots=True)
class _Delivery:
    """What makes mounts arrive: what is said and staged, entries of `volumes:`, and the volumes that they need."""

    problems: tuple[Problem, ...] = ()
    staged: tuple[Staged, ...] = ()
    entries: tuple[Mapping[str, Any], ...] = ()
    volumes: Mapping[str, Any] = field(default_factory=dict)

    def __add__(self, other: _Delivery) -> _Delivery:
        return _Delivery(
            self.problems + other.problems,
            self.staged + other.staged,
            self.entries + other.entries,
            {**self.volumes, **other.volumes},
        )


def nest(
    project: Project,
    place: Place,
    services: Collection[str] | None = None,
    *,
    disk: Disk | None = None,
    salt: str = "",
) -> Nesting:
    """The project as the daemon of this place must read it: `services`, by default all of them.

    Copies go into volumes whose names hold the `salt`: two runs with salts of their own have copies of their own.

    Servers stay what they are for the daemon, to the byte: Compose recreates one that has changed.

    Raises:
        ComposeError: A label `gigogne.kind` says neither job nor server.
    """
    translation = _Translation(project, place, disk or LocalDisk(), salt)
    kind = kinds(project)
    made = dict(project.raw.get("services") or {})
    total = _Delivery()
    for name in made if services is None else services:
        made[name], delivery = translation.service(name, made[name], kind[name])
        total += delivery
    volumes = {**(project.raw.get("volumes") or {}), **total.volumes}
    model = {**project.raw, "services": made, **({"volumes": volumes} if volumes else {})}
    return Nesting(model, total.problems, total.staged)


class _Translation:
    """The translation of one project at one place."""

    def __init__(self, project: Project, place: Place, disk: Disk, salt: str) -> None:
        self._name = project.name
        self._salt = salt
        self._volumes: Mapping[str, Any] = project.raw.get("volumes") or {}
        self._files = {key: project.raw.get(key) or {} for key in DELIVERED}
        self._place = place
        self._disk = disk
        self._mounts = resolved(place.mounts, disk)

    def service(self, name: str, raw: Mapping[str, Any], kind: Kind) -> tuple[Mapping[str, Any], _Delivery]:
        """A service as the daemon must read it, and what that takes."""
        made = dict(raw)
        files = list(self._delivered(name, raw))
        if self._place.shares_disk:
            total = self._seen([*_binds(name, raw), *files])
        else:
            total = self._translated(name, raw, files)
            made |= {"volumes": list(total.entries)} if total.entries or raw.get("volumes") else {}
            made |= {key: [e for e in raw[key] if not self._file(key, e)] for key in DELIVERED if raw.get(key)}
        if kind is Kind.JOB and made.get("volumes"):
            made["volumes"] = [_strict(entry) for entry in made["volumes"]]
        for delivery in self._devices(name, raw):
            total += delivery
        if kind is Kind.JOB and made.pop("container_name", None):
            message = "not used for a job: each run of it has a container of its own"
            where = f"services.{name}.container_name"
            total += _Delivery((Problem(name, where, message, "remove it", fatal=False),))
        return made, total

    def _seen(self, binds: Iterable[_Bind]) -> _Delivery:
        """Binds where the daemon sees this disk: only what is missing is told."""
        return sum((missing for bind in binds if (missing := self._missing(bind))), _Delivery())

    def _translated(self, service: str, raw: Mapping[str, Any], files: Sequence[_Bind]) -> _Delivery:
        """The whole of `volumes:` where the daemon does not see this disk."""
        taken = {*_targets(raw), *(file.target for file in files)}
        total = _Delivery()
        for entry in raw.get("volumes") or ():
            bind = entry["type"] == "bind"
            total += self._nested(_bind(service, entry), taken) if bind else _Delivery(entries=(entry,))
        return sum((self._nested(file, taken) for file in files), total)

    def _nested(self, bind: _Bind, taken: Collection[str]) -> _Delivery:
        """A bind where the daemon does not see this disk."""
        real = self._disk.resolve(bind.source)
        found = locate(real, self._mounts)
        if found is None and is_daemons(real):
            return bind.as_bind(bind.source)
        if missing := self._missing(bind):
            return missing
        if self._place.kind is PlaceKind.REMOTE and bind.key == "volumes":
            return bind.problem(
                f"{bind.source} is on this machine's disk, and the Docker daemon is on another one",
                "use a named volume, or COPY the files in a Dockerfile; or run gigogne on the daemon's machine",
            )
        mounted = found is not None and found.mount.type in ("bind", "volume")
        delivery = self._mounted(bind, found) if mounted and found else self._copied(bind, real, found)
        return delivery + self._inner(bind, real, taken)

    def _mounted(self, bind: _Bind, found: Located) -> _Delivery:
        """A path in a mount of this container, as the daemon finds it."""
        mount = found.mount
        # A socket is used through a read-only mount as well.
        if mount.read_only and not bind.read_only and self._disk.kind(bind.source) is not PathKind.OTHER:
            return bind.problem(
                f"{bind.source} lies in {mount.target}, which is mounted read-only in this container",
                f"mount {mount.target} without :ro into this container, or write :ro where it is only read",
            )
        if mount.type == "bind":
            return bind.as_bind(found.host_path)
        if found.subpath and not self._place.has_subpath:
            return bind.problem(
                f"{bind.source} lies in the volume {mount.source}, and Docker {self._place.engine_version} mounts only "
                "whole volumes",
                f"upgrade Docker to 26 or newer, or mount a folder of the host at {mount.target} of this container",
            )
        key, volumes = self._volume(mount.source)
        return replace(bind.as_volume(key, found.subpath), volumes=volumes)

    def _copied(self, bind: _Bind, real: str, found: Located | None) -> _Delivery:
        """A path that is in no mount of this container, or in its memory: only a copy of it can be had."""
        kind = self._disk.kind(real)
        lies = f"{bind.source} lies in {f'a {found.mount.type}' if found else 'no mount'} of this container"
        at = posixpath.dirname(real) if kind is PathKind.FILE else real
        hint = f"mount it into this container: docker run -v FOLDER-OF-THE-HOST:{at}"
        if self._place.kind is PlaceKind.REMOTE:
            lies, hint = f"{bind.source} is not on the disk of the Docker daemon", "run gigogne on the daemon's machine"
        if not bind.read_only:
            message = f"{lies}: what {bind.service} writes there would be lost"
            return bind.problem(message, f"{hint}; or use a named volume, or write :ro where it is only read")
        if kind is PathKind.OTHER or real == "/":
            return bind.problem(f"{lies}, and cannot be copied", hint)
        if kind is PathKind.FILE and not self._place.has_subpath:
            message = f"{lies}, and Docker {self._place.engine_version} cannot mount a copy of a single file"
            return bind.problem(message, f"upgrade Docker to 26 or newer, or {hint}")
        what = f"{self._salt}:{self._place.container}:{real}"
        volume = f"{self._name}_staged-{hashlib.sha256(what.encode()).hexdigest()[:12]}"
        name = posixpath.basename(real) if kind is PathKind.FILE else ""
        key, volumes = self._volume(volume)
        without = tuple(rest for rest, _ in inner_mounts(real, self._mounts))
        staged = Staged(real, volume, bind.service, bind.target, name, without)
        notice = bind.problem(f"{lies}: a copy of it is mounted at {bind.target}", hint, fatal=False)
        return notice + replace(bind.as_volume(key, name), staged=(staged,), volumes=volumes)

    def _inner(self, bind: _Bind, real: str, taken: Collection[str]) -> _Delivery:
        """The mounts of this container below the source, which come along on a plain host too."""
        total = _Delivery()
        for rest, mount in inner_mounts(real, self._mounts):
            target = posixpath.join(bind.target, rest)
            if any(_is_below(bind.target, other) and _is_within(other, target) for other in taken):
                continue  # the service itself mounts something there
            inside = replace(bind, source=posixpath.join(real, rest), target=target, entry={})
            if mount.type in ("bind", "volume"):
                total += self._mounted(replace(inside, read_only=bind.read_only or mount.read_only), Located(mount, ""))
            else:
                message = f"{inside.source} is a {mount.type} of this container: what it holds is not at {target}"
                total += bind.problem(message, "mount a folder or a volume there instead", fatal=False)
        return total

    def _missing(self, bind: _Bind) -> _Delivery | None:
        """What is said of a source that does not exist: Docker would make an empty directory there."""
        if self._disk.kind(bind.source) is not PathKind.MISSING:
            return None
        hint = "correct the path, or make it: mkdir -p " + bind.source
        if is_daemons(bind.source):
            hint = "correct the path: this machine has no such socket or device"
        elif bind.key != "volumes" or PurePosixPath(bind.target).suffix:
            hint = "correct the path, or make the file"
        if self._place.kind is PlaceKind.OUTSIDE:
            hint += "; what only the host has, must be mounted into this container"
        return bind.problem(f"{bind.source} does not exist, and would be empty at {bind.target}", hint)

    def _delivered(self, service: str, raw: Mapping[str, Any]) -> Iterator[_Bind]:
        """The secrets and configs that are files, as the binds that Compose makes of them."""
        for key, folder in DELIVERED.items():
            for entry in raw.get(key) or ():
                if file := self._file(key, entry):
                    target = posixpath.join(folder, _plain(entry.get("target") or entry["source"]))
                    yield _Bind(service, key, file, target, read_only=True)

    def _file(self, key: str, entry: Mapping[str, Any]) -> str:
        """The file of a secret or a config; empty where a variable or the Compose file holds it."""
        return _plain((self._files[key].get(entry["source"]) or {}).get("file") or "")

    def _devices(self, service: str, raw: Mapping[str, Any]) -> Iterator[_Delivery]:
        """The volumes that are binds themselves: `driver_opts` of type none, with a path of this place as device."""
        for entry in raw.get("volumes") or ():
            volume = self._volumes.get(entry.get("source", "")) if entry["type"] == "volume" else None
            options = (volume or {}).get("driver_opts") or {}
            device, flags = _plain(options.get("device") or ""), str(options.get("o", "")).split(",")
            if not volume or "bind" not in flags or not device.startswith("/"):
                continue
            read_only = bool(entry.get("read_only")) or "ro" in flags
            bind = _Bind(service, "volumes", device, _plain(entry["target"]), read_only)
            missing, found = self._missing(bind), locate(self._disk.resolve(device), self._mounts)
            if missing or self._place.shares_disk:
                yield missing or _Delivery()
            elif found is None or found.mount.type != "bind":
                message = (
                    f"the volume {entry['source']} is {device}, which is in no folder of the host that is mounted here"
                )
                yield bind.problem(message, f"write the path itself as the source: {device}:{bind.target}")
            else:
                changed = {**volume, "driver_opts": {**options, "device": _escaped(found.host_path)}}
                yield replace(self._mounted(bind, found), entries=(), volumes={entry["source"]: changed})

    def _volume(self, name: str) -> tuple[str, Mapping[str, Any]]:
        """The key of a volume by its real name, and what must be added to the model for that key."""
        for key, volume in self._volumes.items():
            if _plain((volume or {}).get("name") or key) == name:
                return key, {}
        key = name if name not in self._volumes else f"external.{name}"
        return key, {key: {"name": _escaped(name), "external": True}}


def _binds(service: str, raw: Mapping[str, Any]) -> list[_Bind]:
    return [_bind(service, entry) for entry in raw.get("volumes") or () if entry["type"] == "bind"]


def _bind(service: str, entry: Mapping[str, Any]) -> _Bind:
    source, target = _plain(entry["source"]), _plain(entry["target"])
    return _Bind(service, "volumes", source, target, bool(entry.get("read_only")), entry)


def _strict(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of a bind for which Docker makes no directory, should the source be gone by then."""
    options = entry.get("bind") or {}
    # Docker labels files for SELinux in the other form of mounts only.
    if entry["type"] != "bind" or "selinux" in options:
        return entry
    return {**entry, "bind": {**options, "create_host_path": False}}


def _targets(raw: Mapping[str, Any]) -> Iterator[str]:
    """Where a service mounts something."""
    for entry in raw.get("volumes") or ():
        yield posixpath.normpath(_plain(entry["target"]))
    for text in raw.get("tmpfs") or ():
        yield posixpath.normpath(_plain(text).partition(":")[0])


def _is_within(folder: str, path: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _is_below(folder: str, path: str) -> bool:
    return _is_within(folder, path) and PurePosixPath(path) != PurePosixPath(folder)


def _plain(text: str) -> str:
    """A text of the canonical model as it is meant."""
    return text.replace("$$", "$")


def _escaped(text: str) -> str:
    return text.replace("$", "$$")
