"""A stage of a Dockerfile while it is being read."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gigogne.core.model import Problem
from gigogne.engines.process.image.bases import Base
from gigogne.engines.process.image.recipe import SYSTEM, Copy, ImageConfig, Install, MakeDirectory, Step, User

__all__ = ["Draft", "Notes", "started"]

# The users of the official images that a Dockerfile may name without making them.
_USERS = {
    "root": User(0, 0, "/root"),
    "daemon": User(1, 1, "/usr/sbin"),
    "www-data": User(33, 33, "/var/www"),
    "nobody": User(65534, 65534, "/nonexistent"),
}
_GROUPS = {"root": 0, "daemon": 1, "staff": 50, "users": 100, "www-data": 33, "nogroup": 65534}


@dataclass(slots=True)
class Notes:
    """The problems found so far in one Dockerfile; one that is not `numbered` is a service's image alone."""

    service: str
    label: str
    numbered: bool = True
    found: list[Problem] = field(default_factory=list)

    def refuse(self, line: int, message: str, hint: str) -> None:
        """Something that this engine cannot honour."""
        self._add(line, message, hint, fatal=True)

    def remark(self, line: int, message: str, hint: str = "") -> None:
        """Something that it honours in another way."""
        self._add(line, message, hint, fatal=False)

    def _add(self, line: int, message: str, hint: str, *, fatal: bool) -> None:
        where = f"{self.label}:{line}" if self.numbered else self.label
        problem = Problem(self.service, where, message, hint, fatal)
        if problem not in self.found:
            self.found.append(problem)


@dataclass(slots=True)
class Draft:
    """What is known of a stage up to the instruction being read."""

    index: int
    name: str
    python: str
    line: int
    base: int | None = None
    userland: str = ""
    has_uv: bool = False
    only_uv: bool = False
    steps: list[Step] = field(default_factory=list)
    binds: tuple[Copy, ...] = ()
    needs: set[int] = field(default_factory=set)
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, str] = field(default_factory=dict)
    environments: set[str] = field(default_factory=lambda: {SYSTEM})
    working_dir: str = "/"
    user: str = ""
    user_line: int = 0
    users: dict[str, User] = field(default_factory=lambda: dict(_USERS))
    groups: dict[str, int] = field(default_factory=lambda: dict(_GROUPS))
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ("python3",)
    command_is_own: bool = False
    shell: tuple[str, ...] = ("/bin/sh", "-c")
    stop_signal: str = ""
    volumes: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()

    def heir(self, index: int, name: str, line: int) -> Draft:
        """The beginning of a stage that starts from this one: arguments and steps are not inherited."""
        return replace(
            self,
            index=index,
            name=name,
            line=line,
            base=self.index,
            steps=[],
            needs={self.index},
            arguments={},
            command_is_own=False,
            environment=dict(self.environment),
            environments=set(self.environments),
            users=dict(self.users),
            groups=dict(self.groups),
        )

    def variables(self) -> Mapping[str, str]:
        """The variables that an instruction sees: ENV wins over ARG."""
        return {**self.arguments, **self.environment}

    def path(self, text: str) -> str:
        """An absolute path of the image, without a trailing slash."""
        path = posixpath.normpath(posixpath.join(self.working_dir, text))
        return "/" + path.lstrip("/")

    def identity(self) -> User | None:
        """The user that commands run as; None when nothing says who that is."""
        name = self.user.partition(":")[0] or "root"
        if name in self.users or not name.isdecimal():
            return self.users.get(name)
        known = [user for user in self.users.values() if user.uid == int(name)]
        return known[0] if known else User(int(name), 0, "/")

    def keep_uv(self, notes: Notes) -> None:
        """Keep the program uv for a command such as `uv run`, which finds the environment as the image has it."""
        self.steps.append(Install(self.line, SYSTEM, ("pip", "install"), ("uv",), "/"))
        self.environment = {"UV_NO_SYNC": "1", "UV_PROJECT_ENVIRONMENT": self.path(".venv"), **self.environment}
        notes.remark(self.line, "the command's uv uses the environment as it is, and syncs nothing (UV_NO_SYNC=1)")

    def config(self, notes: Notes) -> ImageConfig | None:
        """The configuration of the image; None, with a problem, when its user is unknown."""
        name, _, group = self.user.partition(":")
        found = self.identity()
        gid = int(group) if group.isdecimal() else self.groups.get(group)
        if not group and found:
            gid = found.gid
        if found is None or gid is None:
            missing = f"user {name!r}" if found is None else f"group {group!r}"
            hint = "make it with RUN useradd (or groupadd) before USER, or give its number"
            notes.refuse(self.user_line, f"USER: no {missing} in this image", hint)
            return None
        return ImageConfig(
            environment=dict(self.environment),
            working_dir=self.working_dir,
            user=self.user,
            uid=found.uid,
            gid=gid,
            home=found.home,
            users=dict(self.users),
            groups=dict(self.groups),
            entrypoint=self.entrypoint,
            command=self.command,
            shell=self.shell,
            stop_signal=self.stop_signal,
            volumes=self.volumes,
            exposed=self.exposed,
        )


def started(index: int, name: str, line: int, base: Base) -> Draft:
    """The beginning of a stage that starts from an image."""
    steps: list[Step] = [
        Copy(line, (), path, mode=0o755, contents=((path, text.encode()),)) for path, text in base.scripts.items()
    ]
    steps += [MakeDirectory(line, folder) for folder in (base.working_dir, *base.folders) if folder != "/"]
    if base.packages:
        steps.append(Install(line, SYSTEM, ("pip", "install"), base.packages, "/"))
    return Draft(
        index,
        name,
        base.python,
        line,
        userland=base.userland,
        has_uv=base.has_uv,
        only_uv=base.only_uv,
        steps=steps,
        environment=dict(base.environment),
        working_dir=base.working_dir,
        user=base.user,
        user_line=line,
        users={**_USERS, **base.users},
        entrypoint=base.entrypoint,
        command=base.command,
    )
