"""A run of several services in the log of one task: its events, and a table of what became of each."""

from __future__ import annotations

import logging
from typing import Any

from gigogne.airflow.logs import TaskLog
from gigogne.airflow.masking import masked
from gigogne.airflow.outcome import fail
from gigogne.core.engine import Line
from gigogne.core.events import Event, Exited, Healthy, Notice, Output, Preparing, Restarting, Skipped, Started, Stopped
from gigogne.core.model import Kind
from gigogne.core.outcome import Outcome, Result, Verdict

__all__ = ["RunLog", "summarised"]


class RunLog(TaskLog):
    """The log of a task that runs several services."""

    def emit(self, event: Event) -> None:
        """Write an event of an orchestrator."""
        if isinstance(event, Output):
            self.write(Line(event.stream, event.text), event.service)
        elif text := _words(event):
            level = logging.ERROR if isinstance(event, Exited) and event.code else logging.INFO
            self.say(f"{event.service}: {text}" if event.service else text, level)


def summarised(result: Result, log: TaskLog) -> dict[str, Any]:
    """What became of each service of a run, as a table in the log and as plain data.

    Raises:
        AirflowException: A job failed, or the run was interrupted.
    """
    width = max((len(outcome.service) for outcome in result.outcomes), default=0)
    log.say(f"run {result.run}: exit code {result.code} after {result.seconds:.1f} s")
    for outcome in result.outcomes:
        log.say(f"  {outcome.service:<{width}}  {_row(outcome)}")
    failed = next((o for o in result.outcomes if o.verdict is Verdict.FAILED), None)
    if failed is not None:
        why = failed.reason or failed.last_error
        fail(f"{failed.service} failed with exit code {failed.code}" + (f": {why}" if why else ""))
    if result.code:
        fail(f"the run was ended with exit code {result.code}")
    return {outcome.service: _facts(outcome) for outcome in result.outcomes}


def _row(outcome: Outcome) -> str:
    code = "" if outcome.code is None or outcome.kind is Kind.SERVER else f"{outcome.code}"
    why = outcome.reason or outcome.last_line
    return f"{outcome.verdict:<9}  {code:>3}  {outcome.seconds:7.1f} s  {masked(why)}".rstrip()


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        "verdict": str(outcome.verdict),
        "code": outcome.code,
        "seconds": round(outcome.seconds, 3),
        "last_line": masked(outcome.last_line),
    }


def _words(event: Event) -> str:
    """An event as a line of a log; empty where it is of no interest there."""
    match event:
        case Notice() | Preparing():
            return event.text
        case Started():
            how = "is up already" if event.adopted else "started"
            return how + (f" ({event.detail})" if event.detail else "") + (f" at {event.address}" * bool(event.address))
        case Healthy():
            return f"healthy after {event.seconds:.1f} s"
        case Exited():
            return f"exit code {event.code} after {event.seconds:.1f} s" + (f": {event.detail}" * bool(event.detail))
        case Restarting():
            return f"exit code {event.code}, restart {event.number} in {event.pause:.1f} s"
        case Skipped():
            return f"not run: {event.reason}"
        case Stopped():
            return "stopped"
        case _:
            return ""
