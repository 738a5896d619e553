"""The portable way: no name spaces, so the words of the container are rewritten into the words of this machine.

In the command and in the values of variables, mount targets, image paths and host names are replaced. What the code
itself spells out (`open("/data/x")`) stays out of reach: `image/spelled.py` looks for it before the run.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from gigogne.engines.process.command import Command
from gigogne.engines.process.image.environment import executables
from gigogne.engines.process.launch import Launch

__all__ = ["NOTICE", "portable_command", "rewrite_hosts", "rewrite_paths"]

NOTICE = (
    "no sandbox here: paths of volumes and names of services are rewritten in commands and variables; "
    "paths and names that the code itself spells out are not; the code sees this machine's files, paths, host name and "
    "process ids, read-only mounts can be written to, and the user is yours"
)
# Variables whose whole value may be a bare host name; elsewhere `postgres` is a user, a database, a word.
_HOST_VARIABLE = re.compile(r"HOST|SERVER|ADDR|ENDPOINT|BROKER|NODE|PEER|MASTER")
_SYSTEM = frozenset("usr etc bin lib sbin var opt tmp".split())
_NOTHING_MOVED: Mapping[tuple[str, int], int] = MappingProxyType({})
# What Windows needs of the caller's environment to start a program at all.
_WINDOWS = (
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "COMSPEC",
    "PATHEXT",
    "WINDIR",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_ARCHITECTURE",
)


def portable_command(launch: Launch, moved: Mapping[tuple[str, int], int] = _NOTHING_MOVED) -> Command:
    """The launch in the words of this machine. What the image copied is copied again, so that writes stay private.

    `moved` are the ports that others stand in for (`Network.moved`).
    """
    table = _path_table(launch)

    def translate(name: str, text: str) -> str:
        if name.endswith("PATH"):  # a list: the image separates its entries by `:`, Windows by `;`
            return os.pathsep.join(rewrite_paths(entry, table) for entry in text.split(":"))
        bare = bool(_HOST_VARIABLE.search(name))
        return rewrite_hosts(rewrite_paths(text, table), launch.hosts, moved, bare=bare)

    environment = {name: translate(name, value) for name, value in launch.environment.items()}
    environment["PATH"] = _search_path(launch, table)
    # What an editable install finds beside the image's packages is in the launched copy.
    editable = [rewrite_paths(path, table) for path in launch.image.python_path]
    if editable:
        environment["PYTHONPATH"] = os.pathsep.join([*filter(None, [environment.get("PYTHONPATH")]), *editable])
    if sys.platform == "win32":
        environment |= {name: os.environ[name] for name in _WINDOWS if name in os.environ}
    temporary = launch.scratch / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    for name in ("TMPDIR", "TEMP", "TMP") if sys.platform == "win32" else ("TMPDIR",):
        environment.setdefault(name, str(temporary))
    # An empty name: only what looks like an address is one in a command.
    program, *words = (translate("", word) for word in launch.argv)
    working_dir = _working_dir(launch, table)
    if "/" in program and not Path(program).is_absolute():
        program = str(working_dir / program)
    found = shutil.which(program, path=environment["PATH"]) or program
    return Command((found, *words), environment, working_dir)


def _working_dir(launch: Launch, table: Mapping[str, str]) -> Path:
    """The working directory in a mount, an environment or the copy; never one of this machine's own."""
    rewritten = table.get(launch.working_dir) or rewrite_paths(launch.working_dir, table)
    if rewritten != launch.working_dir and Path(rewritten).is_dir():
        return Path(rewritten)
    return launch.scratch / "rootfs" / launch.working_dir.lstrip("/")


def _path_table(launch: Launch) -> dict[str, str]:
    """Paths inside → paths on this machine: mounts, environments, then copies of what the image holds."""
    rootfs = launch.scratch / "rootfs"
    # A health check speaks of the copy that its service already has.
    if not rootfs.exists():
        shutil.copytree(launch.image.root, rootfs, symlinks=True)
        rootfs.chmod(0o755)
    sources = {mount.target: mount.source or _tmpfs(launch.scratch, mount.target) for mount in launch.mounts}
    for target, source in sources.items():
        _link(rootfs, target, source)
    with contextlib.suppress(OSError):  # a mount may be a file there
        (rootfs / launch.working_dir.lstrip("/")).mkdir(parents=True, exist_ok=True)
    table: dict[str, str] = {}
    for entry in sorted(rootfs.iterdir()):
        # A system directory of this machine keeps its name: only what the image alone has there moves.
        if entry.is_dir() and entry.name in _SYSTEM:
            inside = ((f"/{path.relative_to(rootfs).as_posix()}", path) for path in entry.rglob("*"))
            table |= {name: str(path) for name, path in inside if path.is_file() or not Path(name).exists()}
        else:
            table[f"/{entry.name}"] = str(entry)
    home = launch.scratch / "home"
    home.mkdir(parents=True, exist_ok=True)
    if launch.home != "/" and not (rootfs / launch.home.lstrip("/")).is_dir():
        table.setdefault(launch.home, str(home))
    for target, environment in launch.image.environments.items():
        table[f"{target}/bin"] = str(executables(environment))
        table[target] = str(environment)
    return table | {target: str(source) for target, source in sources.items()}


def _tmpfs(scratch: Path, target: str) -> Path:
    directory = scratch / "tmpfs" / target.strip("/").replace("/", "__")
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _link(rootfs: Path, target: str, source: Path) -> None:
    """Put the mount where a relative path of the code finds it: a link in the copy, in place of what it hides there.

    A mount inside another one gets none: it would lie in a directory of the user's.
    """
    place = rootfs / target.strip("/")
    above = [parent for parent in place.parents if parent != rootfs and parent.is_relative_to(rootfs)]
    if _is_link(place) or any(map(_is_link, above)):
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_dir():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)
    if sys.platform == "win32" and source.is_dir():
        import _winapi

        _winapi.CreateJunction(str(source), str(place))  # a link needs a privilege there, a junction none
    else:
        place.symlink_to(source, target_is_directory=source.is_dir())


def _is_link(path: Path) -> bool:
    """Whether it is a link, a junction of Windows too."""
    return path.is_symlink() or path.resolve() != path.parent.resolve() / path.name


def _search_path(launch: Launch, table: Mapping[str, str]) -> str:
    """PATH: the image's, rewritten, what the image copied there included; this machine's programs come after it."""
    entries = []
    for entry in filter(None, launch.environment.get("PATH", "").split(":")):
        copied = launch.scratch / "rootfs" / entry.strip("/")
        entries += [str(copied), rewrite_paths(entry, table)] if copied.is_dir() else [rewrite_paths(entry, table)]
    own = str(executables(launch.image.environments["/usr/local"]))
    system = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys([*entries, own, *system]))


def rewrite_paths(text: str, table: Mapping[str, str]) -> str:
    """`text` with each path of the table replaced, the longest first.

    A path counts where a word begins (so not in `s3://bucket/data`) and only up to a `/` or the end of a word (so not
    `/data` in `/database`); `file:///data` and `sqlite:////data/x.db` count.
    """
    if "/" not in text or not table:
        return text
    paths = "|".join(re.escape(path) for path in sorted(table, key=len, reverse=True))
    pattern = re.compile(rf"(?:(?<=file://)|(?<=:///)|(?<![\w./-]))(?:{paths})(?=/|$|[^\w.-])")
    return pattern.sub(lambda match: table[match.group()], text)


def rewrite_hosts(
    text: str, hosts: Mapping[str, str], moved: Mapping[tuple[str, int], int] = _NOTHING_MOVED, *, bare: bool = False
) -> str:
    """`text` with the names of services replaced by their addresses, where they are addresses.

    That is: the host of a URL, `name:port`, `host=name`, and with `bare` a value (or each of a comma list) that is
    nothing but the name. A port that has `moved` is replaced with its name, and written where a URL leaves it out.
    """
    if not hosts:
        return text
    names = "|".join(re.escape(name) for name in sorted(hosts, key=len, reverse=True))

    def address(match: re.Match[str]) -> str:
        before, name, port = match.groups()
        ours = {known: to for (of, known), to in moved.items() if of == name}
        if port is None:
            written = f":{next(iter(ours.values()))}" if before.endswith(("://", "@")) and len(ours) == 1 else ""
        else:
            written = f":{ours.get(int(port[1:]), port[1:])}"
        return f"{before}{hosts[name]}{written}"

    patterns: list[str] = [
        # What follows s3:// or gs:// is a bucket.
        rf"((?<!s3)(?<!s3a)(?<!gs)://(?:[^\s/@?#]*@)?)({names})(:\d+)?(?=[:/?#,\s]|$)",
        rf"((?:^|[\s,;=@\"'])(?:host=)?)({names})(:\d+)",
        rf"(\bhost=)({names})(:\d+)??(?=\s|$|&)",
    ]
    if bare:
        patterns.append(rf"((?:^|,))({names})(:\d+)??(?=,|$)")
    replace: Callable[[re.Match[str]], str] = address
    for pattern in patterns:
        text = re.sub(pattern, replace, text)
    return text
