"""What a Dockerfile says, as data: the steps of each stage, and the configuration of the image.

`dockerfile.py` makes a `Recipe` from text; `layout.py` follows its steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gigogne.core.model import Problem

__all__ = [
    "BASE_DIRECTORIES",
    "PYTHON_ENVIRONMENT",
    "SYSTEM",
    "ChangeMode",
    "Copy",
    "CopyInside",
    "ImageConfig",
    "ImagePath",
    "Install",
    "MakeDirectory",
    "MakeEnvironment",
    "MakeFile",
    "MakeLink",
    "Recipe",
    "Remove",
    "Stage",
    "Step",
    "UnixLines",
    "User",
    "names",
]

SYSTEM = "/usr/local"
"""Where the official Python images keep their own Python, which a plain `pip install` changes."""

PYTHON_ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "LANG": "C.UTF-8",
}
"""What the official Python images set, beside PYTHON_VERSION."""


def names(text: str) -> frozenset[str]:
    """The words of `text`, as a set."""
    return frozenset(text.split())


BASE_DIRECTORIES = names(
    "/ /bin /etc /home /media /mnt /opt /root /run /sbin /srv /tmp /usr /usr/bin /usr/local "
    "/usr/local/bin /usr/local/lib /usr/local/share /var /var/lib /var/log /var/tmp"
)
"""Directories that the base image has, so that `COPY file /tmp` copies into it."""


@dataclass(frozen=True, slots=True)
class ImagePath:
    """A path in the image inside a command; `suffix` follows it, as the `[etl]` of `.[etl]` does."""

    path: str
    suffix: str = ""


@dataclass(frozen=True, slots=True)
class Copy:
    """`COPY`: `sources` are of the build context, or absolute paths of `stage`.

    A `target` that ends with a slash is a directory. `contents` are the files that a heredoc gives. With `unpack`, as
    `ADD` has it, archives of the build context are unpacked.
    """

    line: int
    sources: tuple[str, ...]
    target: str
    stage: int | None = None
    mode: int | None = None
    contents: tuple[tuple[str, bytes], ...] = ()
    unpack: bool = False


@dataclass(frozen=True, slots=True)
class MakeDirectory:
    """`WORKDIR`, `mkdir`, or the home that `useradd -m` makes."""

    line: int
    path: str


@dataclass(frozen=True, slots=True)
class ChangeMode:
    """`chmod`: `clear` and `add` are bits to take away and to give."""

    line: int
    paths: tuple[str, ...]
    clear: int
    add: int
    recursive: bool


@dataclass(frozen=True, slots=True)
class MakeFile:
    """`touch`, which only makes what is not there, or `echo … > FILE`, which gives it `content`.

    With `append` the content goes after what the file holds.
    """

    line: int
    path: str
    content: bytes | None = field(default=None, repr=False)
    append: bool = False


@dataclass(frozen=True, slots=True)
class MakeLink:
    """`ln -s`: a symbolic link at `path`; with a trailing slash, in that directory."""

    line: int
    target: str
    path: str


@dataclass(frozen=True, slots=True)
class CopyInside:
    """`cp`, or with `move` `mv`: of files that the image has."""

    line: int
    sources: tuple[str, ...]
    target: str
    move: bool = False


@dataclass(frozen=True, slots=True)
class Remove:
    """`rm`: what the image does not have, it need not lose."""

    line: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class UnixLines:
    """`dos2unix`, or the `sed` that does the same: no carriage returns at line ends."""

    line: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MakeEnvironment:
    """`uv venv PATH`, or any command that makes an empty environment at `path`."""

    line: int
    path: str


@dataclass(frozen=True, slots=True)
class Install:
    """One command that installs into `environment`, in uv's own words.

    Attributes:
        line: Its line in the Dockerfile.
        environment: The path in the image of what it changes.
        verb: `("pip", "install")` or `("sync",)`.
        arguments: The rest of the command line; paths of the image are `ImagePath`.
        directory: The working directory, in the image.
        files: The files that decide what is installed: what they hold is part of the cache's key.
        folders: The directories that it installs from.
        variables: The index settings of the Dockerfile, which may hold passwords.
        binds: What `RUN --mount=type=bind` shows while it runs.
        plain: Whether `environment` is a plain directory of packages (`pip install --target`), with no Python in it.
    """

    line: int
    environment: str
    verb: tuple[str, ...]
    arguments: tuple[str | ImagePath, ...] = field(repr=False)
    directory: str
    files: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    binds: tuple[Copy, ...] = ()
    plain: bool = False


Step = (
    Copy
    | CopyInside
    | ChangeMode
    | Install
    | MakeDirectory
    | MakeEnvironment
    | MakeFile
    | MakeLink
    | Remove
    | UnixLines
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage: what it starts from, and its steps in order.

    `base` is the index of the stage that it starts from; None for an image.
    """

    index: int
    name: str
    base: int | None
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class User:
    """A line of the image's `/etc/passwd`."""

    uid: int
    gid: int
    home: str


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """What a container of the image gets when Compose says nothing else.

    `user` is as the Dockerfile writes it, `uid`, `gid` and `home` are what it means. `users` and `groups` have every
    name that the image knows. `stop_signal` is empty when it is Docker's own, SIGTERM.
    """

    environment: Mapping[str, str] = field(repr=False)
    working_dir: str
    user: str
    uid: int
    gid: int
    home: str
    users: Mapping[str, User]
    groups: Mapping[str, int]
    entrypoint: tuple[str, ...]
    command: tuple[str, ...]
    shell: tuple[str, ...]
    stop_signal: str
    volumes: tuple[str, ...]
    exposed: tuple[str, ...]

    def identity(self, user: str) -> User | None:
        """Who a `user:` of Compose is: a name or a number, with or without a group. None: the image knows no such."""
        if not user:
            return User(self.uid, self.gid, self.home)
        name, _, group = user.partition(":")
        found = self.users.get(name)
        if found is None and name.isdecimal():
            known = (each for each in self.users.values() if each.uid == int(name))
            found = next(known, User(int(name), 0, "/"))
        if found is None or not group:
            return found
        gid = int(group) if group.isdecimal() else self.groups.get(group)
        return None if gid is None else replace(found, gid=gid)


@dataclass(frozen=True, slots=True)
class Recipe:
    """A Dockerfile, read for one target.

    Attributes:
        service: The service that it is for.
        label: How to name the Dockerfile to its owner.
        python: The Python that the image asks for (`3.12`); `3` when it names none.
        python_line: The line that asks for it.
        stages: The stages that the target needs, each after those it needs; the target is the last.
        config: The configuration of the target; None when a problem hides it.
        problems: What cannot be honoured, and what is honoured in another way.
        numbered: Whether there are lines to name: not where a service has only an image.
        userland: The image whose commands are this machine's own (`busybox`), if that is what it starts from.
    """

    service: str
    label: str
    python: str
    python_line: int
    stages: tuple[Stage, ...]
    config: ImageConfig | None
    problems: tuple[Problem, ...]
    numbered: bool = True
    userland: str = ""

    def where(self, line: int) -> str:
        """A line of the Dockerfile, as problems name it."""
        return f"{self.label}:{line}" if self.numbered else self.label
