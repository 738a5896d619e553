"""What Docker there is: a daemon, who may talk to it, what it can, and whose disk it sees. All of it is tried."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from gigogne.core.finding import Finding, Probe
from gigogne.core.place import MountPoint, Place, PlaceKind
from gigogne.errors import EngineError

__all__ = ["daemon_findings", "docker_probes"]

_PATIENCE = 3.0
_RULES = "who may use it rules the daemon, and with it the daemon's machine as root"


def docker_probes() -> Mapping[str, Probe]:
    """What there is to try, by name; the probes may run side by side."""
    return {"Docker": _daemon, "buildx": _buildx}


def _daemon() -> list[Finding]:
    """The daemon and all that it says of itself; without one, why, and whether that matters."""
    # The SDK takes a tenth of a second to import.
    from docker.errors import DockerException
    from requests import RequestException

    from gigogne.engines.docker.connection import connect, endpoint
    from gigogne.engines.docker.place import find_place

    try:
        with closing(connect(timeout=_PATIENCE)) as client:
            encrypted = client.api.base_url.startswith("https")
            return daemon_findings(client.info(), find_place(client), endpoint(), encrypted=encrypted)
    except EngineError as error:
        return [_absent(error.message, error.hint)]
    except (DockerException, RequestException, OSError, KeyError) as error:
        return [_absent(f"the daemon answers, and then fails: {error}", "restart it; its own log says more")]


def daemon_findings(info: Mapping[str, Any], place: Place, endpoint: str, *, encrypted: bool = False) -> list[Finding]:
    """What a daemon that answers says of itself, each thing with what it means.

    Args:
        info: Its answer to `/info`.
        place: Where Gigogne is, seen from it.
        endpoint: Its address.
        encrypted: Whether it is reached by TLS.
    """
    at = urlsplit(endpoint)
    # Without the name and the password that may stand before the host.
    address = f"{at.scheme}://{at.netloc.rpartition('@')[2]}{at.path}"
    return [
        _engine(info, address),
        _access(address, info, encrypted=encrypted),
        _storage(info),
        _subpath(place),
        _place(place),
    ]


def _absent(message: str, hint: str) -> Finding:
    """No daemon, which only matters to those who ask for it."""
    if os.environ.get("GIGOGNE_ENGINE") == "docker":
        return Finding("Docker", "missing", message, f"{hint}; GIGOGNE_ENGINE asks for Docker: unset it")
    return Finding("Docker", "note", f"{message}: nothing needs one, gigogne run works without", hint)


def _engine(info: Mapping[str, Any], address: str) -> Finding:
    system = " ".join(filter(None, (info.get("OperatingSystem"), info.get("Architecture"))))
    cgroups = f"cgroup v{info['CgroupVersion']}" if info.get("CgroupVersion") else ""
    words = ", ".join(filter(None, (f"engine {info['ServerVersion']} at {address}", system, cgroups)))
    return Finding("Docker", "ok", words)


def _access(address: str, info: Mapping[str, Any], *, encrypted: bool) -> Finding:
    """Who else gets in by the way that was taken, and what that gives away."""
    name, at = "Docker access", urlsplit(address)
    rootless = any("rootless" in option for option in info.get("SecurityOptions") or ())
    rules = "the daemon is rootless: it has its user's rights, and not root's" if rootless else _RULES
    if at.scheme == "unix" and hasattr(os, "getuid"):
        return _socket(name, Path(at.path), rules)
    if at.scheme in ("tcp", "http") and not encrypted:
        words = f"{address} without TLS: {_RULES}"
        fix = "let it speak TLS (DOCKER_TLS_VERIFY=1, DOCKER_CERT_PATH=…), or go by ssh: DOCKER_HOST=ssh://USER@HOST"
        return Finding(name, "note", words, fix)
    by = "TLS, with a certificate" if encrypted else at.scheme
    return Finding(name, "ok", f"by {by}; {rules}")


def _socket(name: str, path: Path, rules: str) -> Finding:
    """The Unix socket of the daemon: its group, and whether this user is in it."""
    import grp

    status = path.stat()
    try:
        group = f"{grp.getgrgid(status.st_gid).gr_name} ({status.st_gid})"
    except KeyError:  # in a container the host's groups have no names
        group = str(status.st_gid)
    if status.st_mode & stat.S_IWOTH:
        fix = f"chmod 660 {path}, and put those who may into its group {group}"
        return Finding(name, "note", f"{path} is open to everybody on this machine; {rules}", fix)
    yours = status.st_gid in (os.getegid(), *os.getgroups())
    you = "you are root" if os.geteuid() == 0 else "you are in it" if yours else "it is your own"
    return Finding(name, "ok", f"{path}, group {group}: {you}; {rules}")


def _storage(info: Mapping[str, Any]) -> Finding:
    name, driver = "Docker storage", str(info.get("Driver"))
    if driver != "vfs":
        return Finding(name, "ok", f"{driver}: images share their layers")
    words = "vfs: each layer is a whole copy, so builds take many times the time and the disk"
    fix = "of a daemon in a container, put /var/lib/docker on a volume (-v NAME:/var/lib/docker); else use overlay2"
    return Finding(name, "note", words, fix)


def _subpath(place: Place) -> Finding:
    name = "volume subpath"
    if place.has_subpath:
        return Finding(name, "ok", "a folder of a volume can be mounted, so a project that lies on a volume works")
    words = f"engine {place.engine_version} mounts the whole volume in place of the folder that is asked for"
    fix = "upgrade Docker to 26 or newer; or, in a container, keep the project in a folder (-v FOLDER:/home/hosted)"
    return Finding(name, "note", words, fix)


def _place(place: Place) -> Finding:
    """Whose disk the daemon sees, and what that means for folders that are mounted."""
    name = "place"
    match place.kind:
        case PlaceKind.HOST:
            return Finding(name, "ok", "host: not in a container, and the daemon sees the folders that you see")
        case PlaceKind.INSIDE:
            return Finding(name, "ok", "inside: perhaps in a container, and the daemon sees the folders that you see")
        case PlaceKind.OUTSIDE:
            table = "".join(f"\n{mount.target} is {_origin(mount)}" for mount in place.mounts)
            words = f"outside: in the container {place.container[:12]}, and the daemon sees its host's folders{table}"
            if place.mounts:
                return Finding(name, "ok", words)
            fix = "mount the project (docker run -v FOLDER:/home/hosted …), or start with gigogne nest"
            return Finding(name, "note", f"{words}, and none of yours", fix)
    words = "remote: the daemon sees another disk, and can mount no folder of this one"
    fix = "keep code in images (COPY) and data in named volumes; or run gigogne on the daemon's machine"
    return Finding(name, "note", words, fix)


def _origin(mount: MountPoint) -> str:
    """What the daemon calls the source of a mount."""
    source = mount.source if mount.type == "bind" else f"{mount.type} {mount.source}".strip()
    return "/".join(filter(None, (source, mount.subpath))) + (", read-only" if mount.read_only else "")


def _buildx() -> list[Finding]:
    """The builder that Compose uses where it finds it; without it, images are built by the daemon's old one."""
    name = "buildx"
    program = "docker-buildx.exe" if sys.platform == "win32" else "docker-buildx"
    found = [folder / program for folder in _plugin_folders() if (folder / program).is_file()]
    fix = "install your system's package docker-buildx (of Docker's own: docker-buildx-plugin), 0.17 or newer"
    lost = "images are built by the old builder, without RUN --mount; the process engine needs none"
    if not found:
        return [Finding(name, "note", f"not here: {lost}", fix)]
    try:
        command = [str(found[0]), "version"]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=_PATIENCE, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        return [Finding(name, "note", f"{found[0]} does not run ({error}): {lost}", fix)]
    return [Finding(name, "ok", f"{ran.stdout.strip()}: {found[0]}")]


def _plugin_folders() -> Iterator[Path]:
    """Where the Docker CLI and Compose look for plug-ins, in their order."""
    yield Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker", "cli-plugins")
    if sys.platform == "win32":
        for variable in ("ProgramData", "ProgramFiles"):
            yield Path(os.environ.get(variable, "C:/"), "Docker", "cli-plugins")
        return
    for prefix in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec"):
        yield Path(prefix, "docker", "cli-plugins")
