"""What runs, and what it says: `ps` and `logs`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from heapq import merge
from typing import Any

from rich.table import Table
from rich.text import Text

from gigogne.core.durations import seconds
from gigogne.core.engine import Engine, Handle, Line, State
from gigogne.core.events import Event, Output
from gigogne.core.graph import kinds
from gigogne.core.model import Project
from gigogne.errors import ComposeError

__all__ = ["as_table", "moment", "observed", "show_logs"]

# How often `logs --follow` looks for services that have started since.
_LOOK = 0.5
# How long `ps` waits for the first look at a server's health, in seconds.
_HEALTH = 1.0
_COLOURS = {State.HEALTHY: "green", State.UNHEALTHY: "red", State.STARTING: "yellow"}


def observed(engine: Engine, project: Project, *, ended: bool) -> list[dict[str, Any]]:
    """What runs of the project, and with `ended` what ran last, as plain JSON types."""
    kind, found = kinds(project), engine.find(project, ended=ended)
    deadline = time.monotonic() + _HEALTH
    while any(engine.status(handle).state is State.STARTING for handle in found) and time.monotonic() < deadline:
        time.sleep(0.02)  # its health was asked for by `find`, and is not known at once
    return [
        {
            "service": handle.service,
            "kind": str(kind.get(handle.service, "")),
            "state": str(status.state),
            "code": status.code,
            "address": handle.data.get("address", ""),
            "title": handle.data.get("title", ""),
            "began": handle.data["began"],
            "run": handle.run,
            "orphan": handle.data["orphan"] and status.state is not State.EXITED,
            "pid": handle.data.get("pid"),
        }
        for handle in sorted(found, key=lambda handle: float(handle.data["began"]))
        for status in (engine.status(handle),)
    ]


def as_table(services: Sequence[dict[str, Any]]) -> Table:
    """The same for people."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("SERVICE", "KIND", "STATE", "SINCE", "ADDRESS", "RUN"):
        table.add_column(title, overflow="fold")
    for service in services:
        state = service["state"] if service["code"] is None else f"exited {service['code']}"
        if service["orphan"]:
            state += ", orphan"
        colour = _COLOURS.get(service["state"], "red" if service["code"] else "")
        address = f"{service['address']} ({service['title']})" if service["title"] else service["address"]
        told = (
            service["kind"],
            Text(state, colour),
            _ago(service["began"]),
            Text(address),
            Text(service["run"], "dim"),
        )
        table.add_row(Text(service["service"], "bold"), *told)
    return table


def _ago(when: float) -> str:
    lived = max(0.0, time.time() - when)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if lived >= 2 * size:
            return f"{lived / size:.0f} {unit}"
    return f"{lived:.0f} s"


def moment(since: str) -> float:
    """A moment in seconds since the epoch, from how long ago it was (`10m`) or a time (`2026-11-21T18:00`, local).

    Raises:
        ComposeError: It is neither.
    """
    try:
        return time.time() - seconds(since)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(since).timestamp()
    except ValueError:
        raise ComposeError(
            f"--since {since}: no time and no duration", "write 10m, 1h30m or 2026-11-21T18:00"
        ) from None


def show_logs(
    engine: Engine,
    project: Project,
    services: Sequence[str],
    emit: Callable[[Event], None],
    *,
    follow: bool,
    since: float,
    tail: int | None,
    heard: Callable[[], bool],
) -> int:
    """Tell `emit` what the services wrote; how many services there were.

    With `follow`, as long as it is `heard`: of those that run, and of those that start later.
    """
    if follow:
        return _follow(engine, project, services, emit, since, tail, heard)
    handles = _latest(engine, project, services, ended=True)
    past = [_labelled(h, engine.logs(h, follow=False, since=since, tail=tail)) for h in handles]
    for handle, line in merge(*past, key=lambda pair: pair[1].time):
        emit(Output(handle.service, line.stream, line.text))
    return len(handles)


def _labelled(handle: Handle, lines: Iterator[Line]) -> Iterator[tuple[Handle, Line]]:
    return ((handle, line) for line in lines)


def _latest(engine: Engine, project: Project, services: Sequence[str], *, ended: bool) -> list[Handle]:
    """What runs of the services, or the last of each that does not."""
    found = engine.find(project, ended=ended)
    return [handle for handle in found if not services or handle.service in services]


def _follow(
    engine: Engine,
    project: Project,
    services: Sequence[str],
    emit: Callable[[Event], None],
    since: float,
    tail: int | None,
    heard: Callable[[], bool],
) -> int:
    followed: set[tuple[str, str, float]] = set()

    def tell(handle: Handle) -> None:
        for line in engine.logs(handle, follow=True, since=since, tail=tail):
            emit(Output(handle.service, line.stream, line.text))

    while heard():
        for handle in _latest(engine, project, services, ended=True):  # a short job has ended when it is seen
            key = (handle.run, handle.service, float(handle.data["began"]))
            if key not in followed:
                followed.add(key)
                threading.Thread(target=tell, args=(handle,), daemon=True).start()
        time.sleep(_LOOK)
    return len(followed)
