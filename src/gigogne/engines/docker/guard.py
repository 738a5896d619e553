"""The guard of a project's detached jobs: it runs out of reach of who ends the process that has started them.

On a host it is a process. In a container it would end with that, and is a container beside it, of the same image.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gigogne.core.place import LocalDisk, MountPoint, Place, PlaceKind, locate, resolved
from gigogne.engines.docker.connection import endpoint
from gigogne.engines.docker.leases import Leases
from gigogne.engines.docker.owner import Owner
from gigogne.engines.session import reap, start_apart

if TYPE_CHECKING:
    from docker import DockerClient
    from docker.types import Mount

__all__ = ["end_guard", "start_guard"]

_PROJECT, _GUARD = "gigogne.project", "gigogne.guard"
_COMPOSE = "com.docker.compose."
# What a guard in a container has from the environment of who starts it, beside what leads to the daemon.
_PASSED = ("GIGOGNE_ABANDONED_AFTER", "PATH")
# One that was made so long ago, in seconds, and has not started, will not.
_STARTING = 10.0


def start_guard(
    client: DockerClient, place: Place, leases: Leases, project: str, command: Sequence[str], compose: Path
) -> None:
    """Let Python run a command, unless the project has a guard already. `compose` is the Compose binary.

    Raises:
        APIError: The daemon refuses the container.
        OSError: Python cannot be started.
    """
    if place.kind is PlaceKind.OUTSIDE:
        _start_container(client, place, project, command, compose)
    elif leases.guard() is None:
        with leases.alone("guard"):
            if leases.guard() is None:
                child = start_apart(command, subprocess.DEVNULL)
                guard = Owner.of(child.pid, place.container)
                reap(child)
                leases.note_guard(guard)


def end_guard(client: DockerClient, leases: Leases, project: str) -> None:
    """End the guard of a project of which nothing is left; one that is out of reach ends by itself."""
    from docker.errors import APIError

    guard = leases.guard()
    if guard is not None and guard.pid != os.getpid():
        guard.signal(signal.SIGTERM)
    with contextlib.suppress(APIError):
        client.api.remove_container(_name(project), force=True)


def _name(project: str) -> str:
    return f"{project}-gigogne-reaper"


def _start_container(client: DockerClient, place: Place, project: str, command: Sequence[str], compose: Path) -> None:
    from docker.errors import APIError

    name = _name(project)
    if _is_there(client, name):
        return
    settings = _settings(client, place, project, compose)
    try:
        made = client.api.create_container(name=name, command=list(command), **settings)
    except APIError as error:
        if error.status_code == 409:  # another process was quicker
            return
        raise
    client.api.start(made["Id"])


def _is_there(client: DockerClient, name: str) -> bool:
    """Whether a container of that name runs, or is about to; what is left of one is removed."""
    from docker.errors import NotFound

    try:
        found = client.api.inspect_container(name)
    except NotFound:
        return False
    age = time.time() - datetime.fromisoformat(found["Created"]).timestamp()
    if found["State"]["Running"] or (found["State"]["Status"] == "created" and age < _STARTING):
        return True
    with contextlib.suppress(NotFound):
        client.api.remove_container(found["Id"], force=True)
    return False


def _settings(client: DockerClient, place: Place, project: str, compose: Path) -> dict[str, Any]:
    """What the SDK's `create_container` is given: this container's image and user, and what leads to the daemon."""
    api = client.api
    own = api.inspect_container(place.container)
    host = own["HostConfig"]
    groups = dict.fromkeys([*(host.get("GroupAdd") or ()), *map(str, os.getgroups())])
    by_socket = endpoint().startswith("unix://")
    # The labels of the image are the container's, too: it is no service of the project that has built it.
    inherited = client.images.get(own["Image"]).labels
    return {
        "image": own["Image"],
        "entrypoint": [sys.executable],
        "working_dir": "/",
        "user": f"{os.getuid()}:{os.getgid()}",
        "environment": _environment(os.environ, compose),
        "labels": {
            **{label: "" for label in inherited if label.startswith(_COMPOSE)},
            _PROJECT: project,
            _GUARD: "",
        },
        "host_config": api.create_host_config(
            auto_remove=True,
            group_add=list(groups),
            mounts=list(_mounts(place, compose)),
            network_mode="none" if by_socket else host["NetworkMode"],
            security_opt=host.get("SecurityOpt"),
        ),
    }


def _environment(variables: Mapping[str, str], compose: Path) -> dict[str, str]:
    """What the guard is told: the daemon, its modules, the Compose binary, its patience. No other value leaves us."""
    told = {name: value for name, value in variables.items() if name.startswith("DOCKER_") or name in _PASSED}
    return told | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "GIGOGNE_COMPOSE": str(compose)}


def _mounts(place: Place, compose: Path) -> Iterator[Mount]:
    """The mounts of this container that lead to the daemon, and those that hold Python, its modules and Compose."""
    wanted = [Path(sys.executable), compose, *map(Path, filter(None, sys.path))]
    if endpoint().startswith("unix://"):
        wanted.append(Path(endpoint().removeprefix("unix://")))
    wanted += [Path(os.environ[name]) for name in ("DOCKER_CERT_PATH", "DOCKER_CONFIG") if os.environ.get(name)]
    disk = LocalDisk()
    mounts = resolved(place.mounts, disk)
    found = [located.mount for path in wanted if (located := locate(disk.resolve(str(path)), mounts))]
    for mount in dict.fromkeys(found):
        yield _mount(mount)


def _mount(mount: MountPoint) -> Mount:
    from docker.types import Mount

    made = Mount(mount.target, mount.source, read_only=True)
    made["Type"] = mount.type
    if mount.subpath:  # which the SDK does not know
        made["VolumeOptions"] = {"Subpath": mount.subpath}
    return made
