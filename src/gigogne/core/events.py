"""What happens in a run, as it happens: the orchestrator says it, the console prints it, `--json` writes it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = [
    "Event",
    "Exited",
    "Healthy",
    "Notice",
    "Output",
    "Preparing",
    "Restarting",
    "RunEnded",
    "RunStarted",
    "Skipped",
    "Started",
    "Stopped",
    "Stopping",
    "Waiting",
]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened in a run. `service` is empty when it is about the run itself."""

    service: str

    @property
    def name(self) -> str:
        """The event's name in `--json`."""
        return type(self).__name__.lower()

    def as_dict(self) -> dict[str, Any]:
        """The event as plain JSON types."""
        return {"event": self.name, **asdict(self)}


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run begins. `run` is its id, `engine` says where it runs, `services` what it will start."""

    run: str
    project: str
    engine: str
    services: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Notice(Event):
    """Something that the user should know and need not act on."""

    text: str


@dataclass(frozen=True, slots=True)
class Preparing(Event):
    """What is being built or installed for the service, now."""

    text: str


@dataclass(frozen=True, slots=True)
class Waiting(Event):
    """The service waits for others; `text` says for whom and for what."""

    text: str


@dataclass(frozen=True, slots=True)
class Started(Event):
    """The service was started; `adopted` when it ran already. `address` is where a server is reached."""

    kind: str
    adopted: bool = False
    detail: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Output(Event):
    """A line that the service wrote."""

    stream: Literal["stdout", "stderr"]
    text: str


@dataclass(frozen=True, slots=True)
class Healthy(Event):
    """The service's health check passed for the first time, `seconds` after it was started."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Exited(Event):
    """The service ended by itself."""

    code: int
    seconds: float
    kind: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Restarting(Event):
    """The service ended with `code` and starts again in `pause` seconds, for the `number`th time."""

    code: int
    pause: float
    number: int


@dataclass(frozen=True, slots=True)
class Skipped(Event):
    """The service was not started; `reason` says whose fault it was."""

    reason: str


@dataclass(frozen=True, slots=True)
class Stopping(Event):
    """The service is asked to end; it has `grace` seconds."""

    grace: float


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The service was ended by us."""


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """The run is over; `code` is the exit code of the command."""

    code: int
    seconds: float
