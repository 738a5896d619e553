"""What `explain` finds out about a service, as data. It holds values: they show in no repr, and else only masked."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from gigogne.compose.locate import Location

__all__ = [
    "Explanation",
    "Feed",
    "FeedKind",
    "Form",
    "Lost",
    "MountPath",
    "Setting",
    "SettingKind",
    "TaskSetting",
    "Variable",
]


class SettingKind(StrEnum):
    """What sets a variable of a service, in the order of precedence: Compose's, below what Airflow adds."""

    OPERATOR = "operator environment"
    AIRFLOW = "Airflow"
    ENVIRONMENT = "environment"
    ENV_FILE = "env_file"
    IMAGE = "image ENV"


class Form(StrEnum):
    """How a setting is written: a value, a value with `${…}` in it, or a name alone, whose value is the shell's.

    In Airflow also a Jinja template, or nothing that can be read before the task runs.
    """

    LITERAL = "literal"
    INTERPOLATED = "interpolated"
    PASSED = "passed through"
    TEMPLATE = "template"
    RUNTIME = "set when the task runs"


class FeedKind(StrEnum):
    """Where Compose found a variable that a Compose file refers to."""

    SHELL = "the shell"
    HOST_CONTAINER = "the host container"  # and before that, the shell in which `gigogne nest` was typed
    FILE = "an env file"
    COMPOSE = "Compose itself"
    UNSET = "nowhere"


@dataclass(frozen=True, slots=True)
class Feed:
    """A variable that a setting reads, and where its value came from.

    Attributes:
        name: The variable that is read: X of `${X:-default}`.
        kind: Where it was found.
        where: The line of the env file.
        taken: `default` or `replacement` where the text behind `:-` or `:+` was taken.
        hides: Lines of env files that set it too, and lose.
    """

    name: str
    kind: FeedKind
    where: Location | None = None
    taken: str = ""
    hides: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """One place that sets a variable. `value` is what it gives, alone; None: it leaves the variable unset.

    `where` is None where Compose says that it is set, and no line of the files that were read accounts for it.
    """

    kind: SettingKind
    form: Form
    where: Location | None
    value: str | None = field(repr=False)
    feeds: tuple[Feed, ...] = ()


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the service: its value as Compose resolves it, and all that set it, the winner first.

    With `value` None it does not reach the service, and hides what the settings below the winner say.
    """

    name: str
    value: str | None = field(repr=False)
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Lost:
    """A variable that is set somewhere and does not reach the service: `where` it is, the reason, what to do.

    `layer` is where it is lost in place of a line.
    """

    name: str
    where: Location | None
    reason: str
    fix: str
    value: str | None = field(default=None, repr=False)
    layer: FeedKind = FeedKind.SHELL

    @property
    def place(self) -> str:
        """`where` in words."""
        return str(self.where or self.layer)


@dataclass(frozen=True, slots=True)
class MountPath:
    """The chain of paths of one mount, from the file that asks for it to the module.

    Attributes:
        kind: bind, volume, anonymous volume, tmpfs, secret, config.
        written: The text in the Compose file.
        where: Its line.
        source: The path on this machine, or the volume's real name.
        place: Where the engine keeps it on this machine; None where it does not say.
        target: The path in the module.
        read_only: Whether the module may only read.
        content: What is there now: `3 entries`, `empty`, `1.2 kB`.
        problem: What is wrong with it, with what to do; empty where nothing is.
        overrides: Lines that mount something else at the same target, and lose.
        outside: What `source` is outside the container in which Gigogne is at work, the daemon's host first.
    """

    kind: str
    written: str
    where: Location | None
    source: str
    place: Path | None
    target: str
    read_only: bool
    content: str
    problem: str = ""
    overrides: tuple[Location, ...] = ()
    outside: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TaskSetting:
    """What the files set of a service's Airflow task.

    Attributes:
        name: The task's own name of it: retries, pool.
        value: What it is set to.
        key: The key that sets it: a label, or `restart`.
        where: The line of the key.
        meaning: What it does, in words.
    """

    name: str
    value: str
    key: str
    where: Location | None
    meaning: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where each variable and each mount of a service comes from, and what does not arrive.

    `directory` is the project's; `notes` are sentences on what could not be seen, or is not there. `task` is what the
    files set of the service's task, None where nobody asked for Airflow.
    """

    service: str
    directory: Path
    variables: tuple[Variable, ...]
    lost: tuple[Lost, ...]
    mounts: tuple[MountPath, ...]
    notes: tuple[str, ...] = ()
    task: tuple[TaskSetting, ...] | None = None
