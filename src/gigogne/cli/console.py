"""The only printer: events as lines for people, live on a terminal, or as JSON for programs."""

from __future__ import annotations

import json
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping
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
    Restarting,
    RunStarted,
    Skipped,
    Started,
    Stopped,
    Stopping,
)
from gigogne.errors import GigogneError

__all__ = ["Printer"]

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


# The last words of a server that failed, when nobody listened to the others.
_LAST_WORDS = 20


class Printer:
    """Prints events. As a context it shows, on a terminal, a line for each service at work below what they say.

    Args:
        as_json: One JSON object a line in place of text.
        servers: Print what servers say; without it, only the last words of one that failed.
    """

    def __init__(self, *, as_json: bool = False, servers: bool = False) -> None:
        self.as_json = as_json
        self._servers = servers
        self._unheard: dict[str, deque[Output]] = {}
        # `highlight` would colour numbers in what services say; `soft_wrap` leaves their lines whole, and a file or
        # a pipe has no width at which a path should be broken.
        width = None if sys.stdout.isatty() else 500
        self._out = Console(highlight=False, soft_wrap=True, width=width)
        self._err = Console(stderr=True, highlight=False, soft_wrap=True)
        # Events come from several threads. Rich's own refreshing thread may write between the moment when another
        # one measures the board and the moment when it moves over it, and then a line is lost: so one lock for all.
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._live: Live | None = None
        self._states: dict[str, str] = {}
        self._colours: dict[str, str] = {}
        self._width = 0
        self.deaf = False  # nobody reads what we print any more

    def __enter__(self) -> Printer:
        if self._out.is_terminal and not self.as_json:
            self._live = Live(console=self._out, auto_refresh=False, transient=True, get_renderable=self._board)
            self._live.start()
            threading.Thread(target=self._refresh, name="board", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        with self._lock:
            if self._live is not None:
                self._live.stop()
                self._live = None

    def emit(self, event: Event) -> None:
        """Print an event. Safe to call from any thread."""
        with self._lock:
            if self.deaf:
                return
            try:
                if self.as_json:
                    self.json(event.as_dict())
                else:
                    self._print(event)
            except (OSError, SystemExit):  # SystemExit is rich's for a closed pipe; the services must still be seen to
                self.deaf = True

    def _refresh(self) -> None:
        while not self._ended.wait(0.12):
            with self._lock:
                if self._live is not None:
                    self._live.refresh()

    def _print(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._width = max((len(name) for name in event.services), default=0)
        self._follow(event)
        for heard in self._audible(event):
            if isinstance(heard, Output) and not self._out.is_terminal and heard.text.isprintable():
                # What jobs say may be much, and without colours there is nothing for rich to do.
                sys.stdout.write(f"{heard.service:<{self._width}} | {heard.text}\n")
                sys.stdout.flush()
                continue
            line = self._line(heard)
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

    def _audible(self, event: Event) -> Iterator[Event]:
        """The event, unless a server says it; before the news of a server's failure, its last words."""
        if isinstance(event, Started) and event.kind == "server" and not self._servers:
            self._unheard[event.service] = deque(maxlen=_LAST_WORDS)
        unheard = self._unheard.get(event.service)
        if unheard is not None and isinstance(event, Output):
            unheard.append(event)
            return
        if unheard and isinstance(event, Exited | Restarting):
            yield from unheard
            unheard.clear()
        yield event

    def _follow(self, event: Event) -> None:
        """Keep the board of the services at work."""
        match event:
            case Preparing(text=text):
                self._states[event.service] = text
            case Started(kind=kind):
                self._states[event.service] = "starting" if kind == "server" else "running"
            case Healthy():
                self._states[event.service] = "healthy"
            case Restarting():
                self._states[event.service] = "restarting"
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
            case Preparing(text=text) if self._live is None:
                return Text.assemble(name, (text, "dim"))
            case Started():
                words = "runs already, used as it is" if event.adopted else "started"
                words += f" ({event.detail})" if event.detail else ""
                return Text.assemble(name, (words, "bold"), f" at {event.address}" if event.address else "")
            case Healthy():
                return Text.assemble(name, (f"healthy after {event.seconds:.1f} s", "green"))
            case Exited():
                colour = "red" if event.code else "green"
                detail = f": {event.detail}" if event.detail else ""
                return Text.assemble(name, (f"exited {event.code} after {event.seconds:.1f} s{detail}", colour))
            case Restarting():
                words = f"exited {event.code}, starts again in {event.pause:.1f} s (restart {event.number})"
                return Text.assemble(name, (words, "yellow"))
            case Skipped(reason=reason):
                return Text.assemble(name, (f"not run: {reason}", "yellow"))
            case Stopped():
                return Text.assemble(name, ("stopped", "dim"))
            case _:
                return None

    def _colour(self, service: str) -> str:
        return self._colours.setdefault(service, _COLOURS[len(self._colours) % len(_COLOURS)])
