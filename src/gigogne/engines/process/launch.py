"""What a container would be told of a service: command, environment, user, mounts, host names; in its own words.

`sandbox` makes these words true with bubblewrap; `portable` rewrites them into the words of this machine.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from gigogne.core.model import Mount, MountType, Project, Service
from gigogne.engines.process.image import Image
from gigogne.engines.process.paths import Paths
from gigogne.errors import ComposeError, ServiceError

__all__ = ["Launch", "PlacedMount", "make_launch"]

_ID_MAX = 2**31


@dataclass(frozen=True, slots=True)
class PlacedMount:
    """A mount whose source is known: `source` is a path on this machine, or None for a tmpfs."""

    source: Path | None
    target: str
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """A service as its container would see it.

    Attributes:
        service: Its name.
        argv: Entry point and command.
        environment: The whole environment; values are secret.
        working_dir: Absolute, inside.
        uid: The user id inside.
        gid: The group id inside.
        home: The user's home inside.
        hostname: Its own host name.
        hosts: The names of other services → their addresses.
        mounts: Sorted so that a mount inside another comes after it.
        image: The files and the Python environments.
        scratch: A private directory on this machine for this start of the service.
        init: Whether a small init is process 1 and the command its child.
    """

    service: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    working_dir: str
    uid: int
    gid: int
    home: str
    hostname: str
    hosts: Mapping[str, str]
    mounts: tuple[PlacedMount, ...]
    image: Image
    scratch: Path
    init: bool = False

    def on_this_machine(self, path: str) -> Path | None:
        """Where a path of the container lies here: in a mount, an environment or the image; else None."""
        inside = PurePosixPath(path)
        places = [(mount.target, mount.source) for mount in self.mounts if mount.source is not None]
        places += list(self.image.environments.items())
        within = [(PurePosixPath(t), source) for t, source in places if inside.is_relative_to(t)]
        if within:
            target, source = max(within, key=lambda pair: len(pair[0].parts))
            found = source / inside.relative_to(target)
            if found.exists():
                return found
        in_image = self.image.root / inside.relative_to("/")
        return in_image if in_image.exists() else None


def make_launch(
    service: Service, project: Project, image: Image, paths: Paths, hosts: Mapping[str, str], scratch: Path
) -> Launch:
    """The launch of a service of a project.

    Raises:
        ComposeError: The user is not known in the image.
        ServiceError: There is no command (127, as in Docker).
    """
    config = image.config
    entrypoint = config.entrypoint if service.entrypoint is None else service.entrypoint
    # As in Docker, an entry point of the user's own makes the image's command void.
    default = config.command if service.entrypoint is None else ()
    argv = (*entrypoint, *(default if service.command is None else service.command))
    if not argv:
        raise ServiceError(
            f"{service.name}: no command: neither the Dockerfile nor the Compose file names one",
            "add CMD to the Dockerfile or command: to the service",
            service=service.name,
            exit_code=127,
        )
    uid, gid, home = _identity(service, image)
    hostname = service.hostname or service.name
    environment = {"HOSTNAME": hostname, "HOME": home, **config.environment, **service.environment}
    mounts = [place_mount(mount, service, project, paths, scratch) for mount in service.mounts]
    covered = {mount.target for mount in mounts}
    mounts += [PlacedMount(_anonymous(scratch, t), t) for t in config.volumes if t not in covered]
    return Launch(
        service=service.name,
        argv=argv,
        environment=environment,
        working_dir=service.working_dir or config.working_dir or "/",
        uid=uid,
        gid=gid,
        home=home,
        hostname=hostname,
        # Without a network of its own a service meets this machine at localhost.
        hosts={**hosts, **{name: "127.0.0.1" if a == "host-gateway" else a for name, a in service.extra_hosts}},
        mounts=tuple(sorted(mounts, key=lambda mount: PurePosixPath(mount.target).parts)),
        image=image,
        scratch=scratch,
        init=service.init,
    )


def place_mount(mount: Mount, service: Service, project: Project, paths: Paths, scratch: Path) -> PlacedMount:
    """The mount with its source on this machine; a named volume is made when it is new."""
    target = str(PurePosixPath(mount.target))
    if mount.type is MountType.TMPFS:
        return PlacedMount(None, target)
    if mount.type is MountType.BIND:
        source = Path(mount.source)
        if not source.exists():
            raise ComposeError(
                f"services.{service.name}.volumes: {source} does not exist (mounted at {target})",
                f"make it, or correct the path: mkdir {source}",
            )
        return PlacedMount(source, target, mount.read_only)
    if not mount.source:
        return PlacedMount(_anonymous(scratch, target), target, mount.read_only)
    source = paths.volume(project.volumes.get(mount.source, mount.source)) / mount.subpath
    source.mkdir(parents=True, exist_ok=True)
    return PlacedMount(source, target, mount.read_only)


def _anonymous(scratch: Path, target: str) -> Path:
    """The directory of an anonymous volume: it lives as long as this start of the service."""
    directory = scratch / "volumes" / target.strip("/").replace("/", "__")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _identity(service: Service, image: Image) -> tuple[int, int, str]:
    """uid, gid and home of the user that `user:` or else the image names."""
    config = image.config
    if not service.user:
        return config.uid, config.gid, config.home
    name, _, group = service.user.partition(":")
    users = {"root": 0, **config.users}
    uid = int(name) if name.isdigit() else users.get(name)
    gid = (int(group) if group.isdigit() else users.get(group)) if group else (uid if not name.isdigit() else 0)
    if uid is None or gid is None or uid >= _ID_MAX:
        raise ComposeError(
            f"services.{service.name}.user: {service.user} is not known in the image",
            f"write a number, or one of: {', '.join(users)}",
        )
    home = config.home if uid == config.uid else "/root" if uid == 0 else "/"
    return uid, gid, home
