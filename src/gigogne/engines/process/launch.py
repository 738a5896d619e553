"""What a container would be told of a service: command, environment, user, mounts, host names; in its own words.

`sandbox` makes these words true with bubblewrap; `portable` rewrites them into the words of this machine.
"""

from __future__ import annotations

import os
import posixpath
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from gigogne.core.model import Mount, MountType, Project, Service
from gigogne.engines.process.image import Image
from gigogne.engines.process.image.recipe import User
from gigogne.engines.process.image.volumes import seed_volume
from gigogne.engines.process.mounts import docker_only
from gigogne.engines.process.paths import Paths
from gigogne.errors import ComposeError, ServiceError

__all__ = ["Launch", "PlacedMount", "make_launch", "place_mount", "require_program"]

_ID_MAX = 2**31


@dataclass(frozen=True, slots=True)
class PlacedMount:
    """A mount whose source is known.

    `source` is a path on this machine; None for a tmpfs, and for a file that is in no disk but holds `content`.
    """

    source: Path | None
    target: str
    read_only: bool = False
    content: str | None = field(default=None, repr=False)


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
    argv = (*entrypoint, *(service.command or default))  # an empty command is as good as none
    if not argv:
        raise ServiceError(
            f"{service.name}: no command: neither the Dockerfile nor the Compose file names one",
            "add CMD to the Dockerfile or command: to the service",
            service=service.name,
            exit_code=127,
        )
    user = _user(service, image)
    hostname = service.hostname or service.name
    environment = {"HOSTNAME": hostname, "HOME": user.home, **config.environment, **service.environment}
    environment = {name: value for name, value in environment.items() if name not in service.unset}
    # A health check's launch is that of a service that runs already: what its volumes hold is its own affair.
    source = None if any(scratch.iterdir()) else image
    left_out = docker_only(service)
    wanted = [mount for mount in service.mounts if mount.target not in left_out]
    mounts = [place_mount(mount, service, project, paths, scratch, source) for mount in wanted]
    covered = {mount.target for mount in mounts}
    mounts += [_anonymous(scratch, t, source) for t in config.volumes if t not in covered]
    return Launch(
        service=service.name,
        argv=argv,
        environment=environment,
        working_dir=service.working_dir or config.working_dir or "/",
        uid=user.uid,
        gid=user.gid,
        home=user.home,
        hostname=hostname,
        # Without a network of its own a service meets this machine at localhost.
        hosts={**hosts, **{name: "127.0.0.1" if a == "host-gateway" else a for name, a in service.extra_hosts}},
        mounts=tuple(sorted(mounts, key=lambda mount: PurePosixPath(mount.target).parts)),
        image=image,
        scratch=scratch,
        init=service.init,
    )


def place_mount(
    mount: Mount, service: Service, project: Project, paths: Paths, scratch: Path, image: Image | None = None
) -> PlacedMount:
    """The mount with its source on this machine.

    A volume is made when it is new; with an `image`, one that is empty gets what the image has at the target.
    """
    target = str(PurePosixPath(mount.target))
    if mount.type is MountType.TMPFS or mount.content is not None:
        return PlacedMount(None, target, mount.read_only, mount.content)
    if mount.type is MountType.BIND:
        source = Path(mount.source)
        if not source.exists():
            raise ComposeError(
                f"services.{service.name}.volumes: {source} does not exist (mounted at {target})",
                f"make it, or correct the path: mkdir {source}",
            )
        return PlacedMount(source, target, mount.read_only)
    copied = None if mount.nocopy or mount.subpath else image
    if not mount.source:
        return replace(_anonymous(scratch, target, copied), read_only=mount.read_only)
    source = paths.mounted(mount, project)
    # Only a whole volume is ever copied to and needs the lock: then the directory has the volume's own name.
    _make_volume(source, target, copied, paths.cache / "locks" / f"{source.name}.lock")
    return PlacedMount(source, target, mount.read_only)


def _anonymous(scratch: Path, target: str, image: Image | None) -> PlacedMount:
    """An anonymous volume: it lives as long as this start of the service."""
    directory = scratch / "volumes" / target.strip("/").replace("/", "__")
    _make_volume(directory, target, image, directory.with_name(f"{directory.name}.lock"))
    return PlacedMount(directory, target)


def _make_volume(volume: Path, target: str, image: Image | None, lock: Path) -> None:
    if image is None:
        volume.mkdir(parents=True, exist_ok=True)
    else:
        seed_volume(volume, target, image.root, image.environments, lock)


def _user(service: Service, image: Image) -> User:
    """The user that `user:` or else the image names."""
    user = image.config.identity(service.user)
    if user is None or max(user.uid, user.gid) >= _ID_MAX:
        raise ComposeError(
            f"services.{service.name}.user: {service.user} is not known in the image",
            f"write a number, or one of: {', '.join(image.config.users)}",
        )
    return user


def require_program(launch: Launch, program: str, path: str, *, sandboxed: bool) -> None:
    """Refuse a launch whose program cannot be started, before it is: bubblewrap would say 1 where Docker says 127.

    Args:
        launch: The launch.
        program: The program in the words of the way it is started.
        path: The PATH in the same words.
        sandboxed: Whether these words are the container's.

    Raises:
        ServiceError: It is not there (127), or cannot be executed (126).
    """
    script, there = _find(launch, program, path, sandboxed=sandboxed)
    if not there:
        raise ServiceError(
            f'{launch.service}: "{launch.argv[0]}" is not there: no such program in its PATH',
            "correct command: or entrypoint:, or install the program in the Dockerfile",
            service=launch.service,
            exit_code=127,
        )
    if script is not None and not _executable(script):
        raise ServiceError(
            f'{launch.service}: "{launch.argv[0]}" cannot be executed: permission denied',
            "chmod +x it, or name its interpreter: command: sh SCRIPT",
            service=launch.service,
            exit_code=126,
        )

    interpreter = _interpreter(script) if script else b""
    if interpreter.endswith(b"\r"):
        raise ServiceError(
            f'{launch.service}: "{launch.argv[0]}" was saved with the line ends of Windows (CRLF): '
            f"there is no interpreter {interpreter.decode(errors='replace')!r}",
            "save it with LF (dos2unix), and keep it so: `*.sh text eol=lf` in .gitattributes; "
            r"or write RUN sed -i 's/\r$//' FILE in the Dockerfile",
            service=launch.service,
            exit_code=127,
        )


def _find(launch: Launch, program: str, path: str, *, sandboxed: bool) -> tuple[Path | None, bool]:
    """The program on this machine, and whether there is one: those of the system are not looked at.

    As in a shell, one that is named by its path counts whether or not it can be executed.
    """
    by_path = "/" in program
    if not sandboxed:
        found = shutil.which(program, path=path) or (program if by_path and Path(program).exists() else None)
        return (Path(found) if found else None), found is not None
    folders = [""] if by_path else path.split(":")
    places = [posixpath.normpath(posixpath.join(launch.working_dir, folder, program)) for folder in folders]
    known = filter(None, map(launch.on_this_machine, places))
    script = next((each for each in known if by_path or _executable(each)), None)
    return script, script is not None or any(map(_of_system, places))


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _interpreter(script: Path) -> bytes:
    """What the first line of a script names after `#!`; empty for another file."""
    try:
        with script.open("rb") as file:
            line = file.readline(256)
    except OSError:
        return b""
    return line[2:].rstrip(b"\n").lstrip() if line.startswith(b"#!") else b""


def _of_system(path: str) -> bool:
    """Whether this machine's own system, which the sandbox shows, has a program at this path."""
    shown = path.startswith(("/usr/", "/bin/", "/sbin/")) and not path.startswith("/usr/local/")
    return shown and os.access(path, os.X_OK)
