"""The engine protocol: where one service runs.

The plan decides, the engines obey. An engine is given to an orchestrator by a composition root (`cli`, `airflow`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol

from gigogne.core.model import Mount, Problem, Project, Service

__all__ = [
    "LIFETIME",
    "RESULT_LIMIT",
    "RESULT_VARIABLE",
    "Detached",
    "Engine",
    "Handle",
    "Line",
    "Run",
    "State",
    "Status",
]

# For so many seconds a detached run without a deadline is kept, and the servers that it needs.
LIFETIME = 86400.0
# The variable that names the file for the result of a job, and how many bytes that may have.
RESULT_VARIABLE, RESULT_LIMIT = "GIGOGNE_RESULT", 2**20


class State(StrEnum):
    """Where a started service is in its life."""

    STARTING = "starting"  # has a health check that has not passed yet
    RUNNING = "running"  # has no health check
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    EXITED = "exited"


@dataclass(frozen=True, slots=True)
class Status:
    """What an engine observes of a service; `code` is its exit code once it has ended (128 + N after signal N).

    `settled` says that the engine has followed the restart policy itself, to its end.
    """

    state: State
    code: int | None = None
    detail: str = ""
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One line that a service wrote, without its line end; `time` is when it was seen, in seconds since the epoch.

    `position` is where reading goes on after it, in the engine's own words.
    """

    stream: Literal["stdout", "stderr"]
    text: str
    time: float = field(default=0.0, compare=False)
    position: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Detached:
    """What lets services outlive the process that starts them: who sees to them comes and goes.

    Attributes:
        deadline: When they are ended at the latest, in seconds since the epoch; None for no such time. The servers that
            a run needs are kept for it until then, or for `LIFETIME`.
        attempt: The number of the first try of a job; what an earlier process has started has a smaller one.
        labels: Who asked for them, in words that people can read. No value of a variable.
    """

    deadline: float | None = None
    attempt: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a plan. `id` is unique, sorts by time, and is safe in a file name.

    `services` are those that the plan starts: while the run lives, no other run stops a server among them. A run that
    is `detached` lives in several processes, one after the other; its jobs find `GIGOGNE_RESULT` in their environment,
    the path of a file for their result.
    """

    id: str
    project: Project
    services: tuple[str, ...] = ()
    detached: Detached | None = None


@dataclass(frozen=True, slots=True)
class Handle:
    """A small serialisable reference to a started service. Holds no value of a variable.

    `data` is the engine's own (a process id, a container id), of which all know `title` (what runs, in words, where
    that is not plain), `address` (where a server is reached from this machine), `orphan` (whether its supervisor is
    dead), `began` (when it was started, in seconds since the epoch) and `left` (where what it leaves when it has failed
    is looked at, empty where nothing is left); `run` is the id of the run that started it, empty where none did. That
    of a detached job says so (`detached`), with its `deadline` and whether a living process `attended` to it when it
    was found.
    """

    service: str
    engine: str
    run: str
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The handle as plain JSON types."""
        return asdict(self)


class Engine(Protocol):
    """Where one service runs. Its `str` is what the run calls it."""

    name: str

    def check(self, project: Project, services: Sequence[str], *, publish: bool = True) -> list[Problem]:
        """Everything that this engine cannot honour or honours differently of these services. Changes nothing.

        Without `publish` nobody counts on published ports: one that is not to be had is a notice.
        """
        ...

    def prepare(self, service: Service, run: Run) -> None:
        """Build or pull what the service needs to start, or make its environment."""
        ...

    def cancel(self) -> None:
        """End what is being prepared or started; those who wait for it get an error."""
        ...

    def turn(
        self, run: Run, hurry: Callable[[], bool], *, last: bool = False
    ) -> AbstractContextManager[frozenset[str]]:
        """A turn, during which no other run of the project begins or ends: the services that the others need.

        What nobody has started for a run is the user's, who needs it. A run's turn tells the others what it needs
        itself, and its `last` one that it needs nothing any more.
        It is waited for until `hurry` says otherwise.
        """
        ...

    def attend(self, run: Run) -> AbstractContextManager[None]:
        """While it holds, this process sees to a detached run: to others it is not abandoned, nor what it needs."""
        ...

    def guard(self, project: Project, command: Sequence[str]) -> None:
        """Keep Python running `command`, once for the project, out of reach of who ends this process."""
        ...

    def start(self, service: Service, run: Run) -> Handle:
        """Start the service and return as soon as it has started; again, when it has ended, for another try."""
        ...

    def status(self, handle: Handle) -> Status:
        """What the service is doing now."""
        ...

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait until the service has ended, or for `timeout` seconds."""
        ...

    def ended(self, handles: Sequence[Handle]) -> list[Handle]:
        """Those that run no more, asked with one question for all."""
        ...

    def logs(
        self, handle: Handle, *, follow: bool, since: float = 0.0, tail: int | None = None, after: str = ""
    ) -> Iterator[Line]:
        """What the service wrote after `since` (seconds since the epoch), at most the `tail` last lines of it.

        With `after`, what it wrote after the line of that position: each line once. With `follow`, what it writes from
        then on too, until it has ended.
        """
        ...

    def environment(self, handle: Handle) -> Mapping[str, str] | None:
        """The variables that the service was started with; None where that is not known any more. Values are secret."""
        ...

    def result(self, handle: Handle) -> bytes | None:
        """What an ended job of a detached run wrote to its `GIGOGNE_RESULT`, until it is discarded."""
        ...

    def stop(self, handle: Handle, *, grace: float) -> None:
        """Ask the service to end by its stop signal, and end it after `grace` seconds. Safe to call twice."""
        ...

    def discard(self, handle: Handle) -> None:
        """Give back what an ended try of a service holds: nobody waits for it or reads it any more."""
        ...

    def find(self, project: Project, *, ended: bool = False) -> list[Handle]:
        """The services of the project that run now, whoever started them; with `ended`, also the last that ended."""
        ...

    def end_runs(self, project: Project) -> list[str]:
        """End the other runs of the project that are under way, each in good order; their ids."""
        ...

    def remove(self, project: Project, *, volumes: bool) -> None:
        """Remove what the project left: state of ended services and, with `volumes`, its named volumes."""
        ...

    def place(self, mount: Mount, project: Project) -> Path | None:
        """Where what a mount shows lies on this machine; None where that cannot be reached, or is forgotten."""
        ...

    def where(self, service: Service, project: Project) -> str:
        """How to reach a server from this machine, in words; empty where it is not reached from here."""
        ...
