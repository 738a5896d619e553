"""What a run ends with: each service, its time, what it wrote and where, how to look at it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from gigogne.core.engine import Engine
from gigogne.core.model import Kind, MountType, Project
from gigogne.core.outcome import Outcome, Result, Verdict
from gigogne.core.plan import Action, Plan

__all__ = ["Watermark", "Written", "summary"]

# A volume with more files than this is counted no further: the summary must not take longer than the run.
_MOST_FILES = 20_000
_COLOURS = {
    Verdict.SUCCEEDED: "green",
    Verdict.FAILED: "bold red",
    Verdict.SKIPPED: "yellow",
    Verdict.STOPPED: "yellow",
}


@dataclass(frozen=True, slots=True)
class Written:
    """A directory that jobs may write: how many files there are, their bytes, and how many are new or changed."""

    name: str
    directory: Path
    files: int
    size: int
    changed: int


@dataclass(frozen=True, slots=True)
class Watermark:
    """The writable directories of a plan's jobs, and the time (seconds since the epoch) before the run."""

    directories: dict[str, Path]
    since: float

    @classmethod
    def now(cls, plan: Plan, project: Project, engine: Engine) -> Watermark:
        """The mark to set before a run begins."""
        found: dict[str, Path] = {}
        for step in plan.launches:
            if step.action is not Action.RUN:
                continue
            for mount in project.services[step.service].mounts:
                if mount.read_only or mount.type not in (MountType.BIND, MountType.VOLUME) or not mount.source:
                    continue
                place = engine.place(mount, project)
                if place is not None:
                    found[mount.source] = place
        return cls(found, time.time())

    def written(self) -> Iterator[Written]:
        """What the directories hold now."""
        for name, directory in self.directories.items():
            sizes = list(_sizes(directory))
            changed = sum(modified >= self.since for _, modified in sizes)
            yield Written(name, directory, len(sizes), sum(size for size, _ in sizes), changed)


def _sizes(directory: Path) -> Iterator[tuple[int, float]]:
    """Size in bytes and time of the last change of each file, up to a bound."""
    for number, path in enumerate(path for path in directory.rglob("*") if path.is_file()):
        if number >= _MOST_FILES:
            return
        with contextlib.suppress(OSError):  # gone since it was listed
            stat = path.stat()
            yield stat.st_size, stat.st_mtime


def summary(
    result: Result, plan: Plan, project: Project, engine: Engine, mark: Watermark
) -> tuple[RenderableType, dict[str, Any]]:
    """The summary, for people and as plain JSON types."""
    written = list(mark.written())
    served = {o.service for o in result.outcomes if o.verdict in (Verdict.SERVED, Verdict.STOPPED)}
    servers = {
        step.service: engine.where(project.services[step.service], project)
        for step in plan.launches
        if step.action is Action.START and step.service in served
    }
    facts: dict[str, Any] = {
        "event": "summary",
        "code": result.code,
        "seconds": round(result.seconds, 3),
        "services": [_fact(outcome) for outcome in result.outcomes],
        "written": [
            {"name": w.name, "directory": str(w.directory), "files": w.files, "bytes": w.size, "changed": w.changed}
            for w in written
        ],
        "servers": servers,
    }
    jobs = [outcome for outcome in result.outcomes if outcome.kind is Kind.JOB]
    good = sum(outcome.verdict is Verdict.SUCCEEDED for outcome in jobs)
    counted = f"{good} of {len(jobs)} jobs" if len(jobs) > 1 else f"{good} of 1 job"
    head = f"{counted} succeeded in {result.seconds:.1f} s"
    parts: list[RenderableType] = [
        Text(""),
        Text(head, "bold green" if result.code == 0 else "bold red"),
        _services(result),
    ]
    if any(entry.files for entry in written):
        parts.append(_written([entry for entry in written if entry.files]))
    parts.append(_look(result, servers, engine, project))
    return Group(*parts), facts


def _fact(outcome: Outcome) -> dict[str, Any]:
    return {
        "service": outcome.service,
        "kind": str(outcome.kind),
        "result": str(outcome.verdict),
        "code": outcome.code,
        "seconds": round(outcome.seconds, 3),
        "last_line": outcome.last_line,
        "last_error": outcome.last_error,
        "reason": outcome.reason,
    }


def _services(result: Result) -> Table:
    table = _table()
    for outcome in result.outcomes:
        word = str(outcome.verdict) + (
            f" ({outcome.code})" if outcome.verdict is Verdict.FAILED and outcome.code else ""
        )
        seconds = f"{outcome.seconds:.1f} s" if outcome.seconds else ""
        said = outcome.reason or (outcome.last_error if outcome.verdict is Verdict.FAILED else "")
        said = said or (outcome.last_line if outcome.kind is Kind.JOB else "")
        table.add_row(outcome.service, Text(word, _COLOURS.get(outcome.verdict, "")), seconds, Text(said))
    return table


def _written(written: list[Written]) -> Table:
    table = _table()
    for entry in written:
        count = f"{entry.files:,} files" if entry.files != 1 else "1 file"
        table.add_row(
            entry.name, f"{entry.changed:,} new", f"{count}, {_bytes(entry.size)}", Text(str(entry.directory))
        )
    return table


def _look(result: Result, servers: dict[str, str], engine: Engine, project: Project) -> Text:
    lines = []
    if servers:
        addresses = ", ".join(f"{name} at {where}" for name, where in servers.items() if where)
        lines.append(f"look:  gigogne up {' '.join(servers)}" + (f"   ({addresses})" if addresses else ""))
    if result.code:
        failed = next((outcome.service for outcome in result.outcomes if outcome.verdict is Verdict.FAILED), None)
        ours = [h for h in engine.find(project, ended=True) if (h.run, h.service) == (result.run, failed)]
        lines += [f"logs:  {handle.data['left']}" for handle in ours[-1:] if handle.data["left"]]
    lines.append("clean: gigogne down -v   (removes the volumes and the servers' data)")
    return Text("\n".join(lines), "dim")


def _table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    table.add_column(justify="right")
    table.add_column(overflow="fold")
    return table


def _bytes(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
