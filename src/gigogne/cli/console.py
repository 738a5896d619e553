"""The only printer: events as lines for people, live on a terminal, or as JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from gigogne.core.events import (
    Event,
    Exited,
    Healthy,
    Notice,
    Output,
    Preparing,
    RunStarted,
    Skipped,
    Started,
    Stopped,
    Stopping,
)
from gigogne.errors import GigogneError

__all__ = ["Printer"]

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


class Printer:
    """Prints events. As a context it shows, on a terminal, a line for each service at work below what they say."""

    def __init__(self, *, as_json: bool = False, quiet: bool = False) -> None:
        self.as_json = as_json
        self._quiet = quiet
        # `highlight` would colour numbers in what services say; `soft_wrap` leaves their lines whole, and a file or
        # a pipe has no width at which a path should be broken.
        width = None if sys.stdout.isatty() else 500
        self._out = Console(highlight=False, soft_wrap=True, width=width)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._states: dict[str, str] = {}
        self._colours: dict[str, str] = {}
        self._width = 0

    def __enter__(self) -> Printer:
        if self._out.is_terminal and not self.as_json:
            self._live = Live(console=self._out, refresh_per_second=8, transient=True, get_renderable=self._board)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def emit(self, event: Event) -> None:
        """Print an event."""
        if self.as_json:
            self.json(event.as_dict())
            return
        if isinstance(event, RunStarted):
            self._width = max((len(name) for name in event.services), default=0)
        self._follow(event)
        line = self._line(event)
        if line is not None:
            self._out.print(line)

    def json(self, value: Mapping[str, Any]) -> None:
        """Print one JSON object on a line of its own, at once."""
        sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
        sys.stdout.flush()

    def text(self, text: str, style: str = "") -> None:
        """Print plain text."""
        self._out.print(Text(text, style))

    def show(self, what: RenderableType) -> None:
        """Print a table."""
        self._out.print(what, soft_wrap=False)

    def error(self, error: GigogneError) -> None:
        """Print an error and what to do about it, on stderr."""
        if self.as_json:
            value = {"event": "error", "message": error.message, "hint": error.hint, "code": error.exit_code}
            self.json(value)
            return
        self._err.print(Text.assemble(("error: ", "bold red"), error.message))
        if error.hint:
            self._err.print(Text.assemble(("  fix: ", "bold"), error.hint))

    def _follow(self, event: Event) -> None:
        """Keep the board of the services at work."""
        match event:
            case Preparing(text=text):
                self._states[event.service] = text
            case Started(kind=kind):
                self._states[event.service] = "starting" if kind == "server" else "running"
            case Healthy():
                self._states[event.service] = "healthy"
            case Stopping():
                self._states[event.service] = "stopping"
            case Exited() | Stopped() | Skipped():
                self._states.pop(event.service, None)
            case _:
                pass

    def _board(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for name, state in list(self._states.items()):
            table.add_row(
                Spinner("dots"), Text(name, self._colour(name)), Text(state, "dim", overflow="ellipsis", no_wrap=True)
            )
        return Group(table)

    def _line(self, event: Event) -> Text | None:
        name = Text(f"{event.service:<{self._width}} ", self._colour(event.service)) if event.service else Text()
        match event:
            case Output(text=text, stream=stream):
                return Text.assemble(
                    name, ("| ", "dim"), Text.from_ansi(text, style="" if stream == "stdout" else "dim")
                )
            case RunStarted():
                names = ", ".join(event.services)
                return Text(f"{event.project} on {event.engine}: {names}", "bold")
            case Notice(text=text):
                return Text.assemble(name, ("note: ", "yellow"), (text, "dim"))
            case Preparing(text=text) if self._live is None and not self._quiet:
                return Text.assemble(name, (text, "dim"))
            case Started():
                words = "runs already, used as it is" if event.adopted else "started"
                return Text.assemble(name, (f"{words}{f' ({event.detail})' if event.detail else ''}", "bold"))
            case Healthy():
                return Text.assemble(name, (f"healthy after {event.seconds:.1f} s", "green"))
            case Exited():
                colour = "red" if event.code else "green"
                detail = f": {event.detail}" if event.detail else ""
                return Text.assemble(name, (f"exited {event.code} after {event.seconds:.1f} s{detail}", colour))
            case Skipped(reason=reason):
                return Text.assemble(name, (f"not run: {reason}", "yellow"))
            case Stopped():
                return Text.assemble(name, ("stopped", "dim"))
            case _:
                return None

    def _colour(self, service: str) -> str:
        return self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
