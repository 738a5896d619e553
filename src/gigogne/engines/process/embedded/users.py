"""Another user for servers that refuse to run as root.

With bubblewrap, a user namespace shows root as `nobody`, and the files stay root's. Without it, the server
really runs as `nobody`, on a directory that it owns and can reach.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gigogne.errors import EngineError

__all__ = [
    "Account",
    "give",
    "is_root",
    "nobody",
    "refuse_unreachable",
    "this_machine",
    "with_mounts",
    "within_user_namespace",
]

# Where container engines mount what their containers see.
_OF_ENGINES = tuple(map(Path, ("/run/containerd", "/run/docker", "/var/lib/containerd", "/var/lib/docker")))


def is_root() -> bool:
    """Whether the caller is root (never, on Windows)."""
    return sys.platform != "win32" and os.geteuid() == 0


class Account(tuple[int, int]):
    """A uid and its gid."""

    @property
    def uid(self) -> int:
        """The user."""
        return self[0]

    @property
    def gid(self) -> int:
        """Its group."""
        return self[1]


def nobody() -> Account:
    """The user without rights of this machine; it has an entry in `/etc/passwd`, as PostgreSQL wants."""
    if sys.platform == "win32":
        raise EngineError("Windows has no user nobody", "report it to us")
    import pwd

    try:
        entry = pwd.getpwnam("nobody")
    except KeyError:
        raise EngineError(
            "this server must not run as root, and this machine has no user 'nobody'",
            "run gigogne as an ordinary user",
        ) from None
    # macOS gives nobody the uid -2
    return Account((entry.pw_uid & 0xFFFFFFFF, entry.pw_gid & 0xFFFFFFFF))


def within_user_namespace(bwrap: Path, account: Account) -> list[str]:
    """The bubblewrap command line that shows the caller as `account`, and everything else as it is.

    Its own pid namespace ends all of the server with its first process. The IPC namespace stays shared:
    PostgreSQL sees there that another server holds the same data.
    """
    return [
        str(bwrap), "--unshare-user", "--uid", str(account.uid), "--gid", str(account.gid),
        "--unshare-pid", "--as-pid-1", "--new-session", *this_machine("--dev-bind"), "--proc", "/proc", "--",
    ]  # fmt: skip


def this_machine(bind: str, at: Path = Path("/"), left_out: Sequence[Path] = _OF_ENGINES) -> list[str]:
    """Bubblewrap's words that show this machine's files as they are, by `bind` (`--dev-bind` or `--ro-bind`).

    What container engines mount and unmount is left out: bubblewrap fails where a mount goes while it looks at it.
    """
    inner = [path for path in left_out if path.is_relative_to(at) and path.exists()]
    if not inner:
        return [bind, str(at), str(at)]
    if at in inner:
        return []
    words: list[str] = []
    for path in sorted(at.iterdir()):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        else:
            words += this_machine(bind, path, inner)
    return words


def with_mounts(bwrap: Path, binds: Iterable[tuple[Path, str]]) -> list[str]:
    """The bubblewrap command line that shows this machine as it is, and a service's mounts at their own paths.

    Root is shown as `nobody`. Left out are mounts below a directory that this machine has too, for their paths would
    have to be made on its disk; not those below `/run`, where secrets are. Processes see each other, and a Ctrl-C of
    the terminal reaches them.
    """
    uid, gid = nobody() if is_root() else (os.getuid(), os.getgid())
    words = [str(bwrap), "--unshare-user", "--uid", str(uid), "--gid", str(gid), "--tmpfs", "/run"]
    tops = [path for path in Path("/").iterdir() if path.name != "run"]
    for path in (*tops, *Path("/run").iterdir()):
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            words += ["--dev-bind", str(path), str(path)]
    own = {path.name for path in tops}
    shown: dict[PurePosixPath, Path] = {}
    for target, source in sorted((PurePosixPath(target), source) for source, target in binds):
        if target.parts[1] not in own and _has_place(target, shown):
            words += ["--ro-bind", str(source), str(target)]
            shown[target] = source
    return [*words, "--"]


def _has_place(target: PurePosixPath, shown: Mapping[PurePosixPath, Path]) -> bool:
    """Whether there is a mount point: below another mount it must be there, elsewhere it can be made."""
    if target.parts[1] == "run" and len(target.parts) > 2 and Path("/run", target.parts[2]).exists():
        return False
    above = [place for place in shown if target.is_relative_to(place)]
    return not above or (shown[above[-1]] / target.relative_to(above[-1])).exists()


def give(directory: Path, account: Account) -> None:
    """Make `account` the owner of all of a directory, unless it is (the last run was of the other way)."""
    if sys.platform == "win32" or not directory.exists() or directory.stat().st_uid == account.uid:
        return
    for parent, folders, files in os.walk(directory, topdown=False):
        for name in (*folders, *files):
            os.chown(Path(parent, name), account.uid, account.gid, follow_symlinks=False)
    os.chown(directory, account.uid, account.gid)  # last: an interrupted walk is seen and done again


def refuse_unreachable(paths: Iterable[Path], account: Account) -> None:
    """Raise when `account` cannot enter a directory above one of the paths."""
    for path in paths:
        for parent in (path, *path.parents):
            if parent.exists() and not _enterable(parent.stat(), account):
                raise EngineError(
                    f"{parent} cannot be entered by the user 'nobody', as whom this server must run when the "
                    f"caller is root and user namespaces are denied (on the way to {path})",
                    f"`chmod o+x {parent}`, or name other directories in GIGOGNE_DATA_DIR and "
                    "GIGOGNE_CACHE_DIR, or run gigogne as an ordinary user",
                )


def _enterable(status: os.stat_result, account: Account) -> bool:
    if not stat.S_ISDIR(status.st_mode):
        return bool(status.st_mode & stat.S_IXOTH)
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
