"""What a service writes, in the log of its task: each line once, in order, with its stream and its level.

A line of plain text is `info`, whichever stream it came by (most programs log to stderr what is no warning), and the
field `stream` tells. A line that is a JSON object keeps its level, its message and its other fields.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from datetime import UTC, datetime
from typing import Any

import structlog

from gigogne.airflow.masking import masked
from gigogne.core.engine import Engine, Handle, Line
from gigogne.errors import GigogneError

__all__ = ["Follower", "TaskLog"]

_MESSAGE, _LEVEL = ("message", "msg", "event"), ("level", "severity", "levelname", "log.level")
# What Airflow's own log lines mean by these, or how it calls the parameters of what it hands a line on with, here and
# in the task's supervisor; a field of a service that is called so gets a `_`.
_TAKEN = frozenset(
    "timestamp level event logger logger_name stream exception error_detail exc_info stack stack_info trigger_id ti_id "
    "dag_id task_id run_id try_number map_index chan loc filename lineno positional_args self method_name target msg "
    "_record".split()
)
_LEVELS = {
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "information": logging.INFO,
    "notice": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "err": logging.ERROR,
    "error": logging.ERROR,
    "alert": logging.CRITICAL,
    "crit": logging.CRITICAL,
    "critical": logging.CRITICAL,
    "emergency": logging.CRITICAL,
    "fatal": logging.CRITICAL,
    "panic": logging.CRITICAL,
}
_MICROSECOND = 1e-6


class TaskLog:
    """The log of one task, as services and Gigogne write to it.

    Attributes:
        last_line: The last line of stdout that says something.
        last_error: That of stderr.
    """

    def __init__(self) -> None:
        self.last_line = self.last_error = ""
        self._log = structlog.get_logger(logger_name="gigogne")
        self._least = self._log.bind().get_effective_level()
        self._time = 0.0
        self._lock = threading.Lock()

    def say(self, text: str, level: int = logging.INFO, at: float = 0.0) -> None:
        """A line of Gigogne's own, of now or of a time that has been."""
        self._log.log(level, text, timestamp=self._moment(at))

    def write(self, line: Line, service: str = "") -> None:
        """A line of a service; with its name, where the task has several."""
        if text := line.text.strip():
            if line.stream == "stdout":
                self.last_line = text
            else:
                self.last_error = text
        level, event, fields = _read(line.text)
        if level < self._least:  # Airflow would drop it
            fields["severity"], level = logging.getLevelName(level).lower(), self._least
        if service:
            fields["service"] = service
        moment = self._moment(line.time)
        # Airflow masks again where it writes; but not everywhere (`airflow dags test`) with what this process knows.
        try:
            self._log.log(level, masked(event), timestamp=moment, stream=line.stream, **masked(fields))
        except Exception:  # JSON may hold what no log takes (half a character, depth): it must not end the log
            self._log.log(level, masked(line.text), timestamp=moment, stream=line.stream)

    def _moment(self, seconds: float) -> str:
        """When it was written. Of two equal lines of one moment Airflow shows only one: so no two are of one."""
        with self._lock:
            self._time = max(seconds or datetime.now(UTC).timestamp(), self._time + _MICROSECOND)
            return f"{datetime.fromtimestamp(self._time, UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


class Follower:
    """Brings what a job writes into the task's log, from a thread of its own.

    Attributes:
        position: Where to read on: all before it is in the log.
    """

    def __init__(
        self, engine: Engine, handle: Handle, log: TaskLog, after: str = "", note: Callable[[str], None] | None = None
    ) -> None:
        """Reads from the beginning, or `after` a position on; `note` hears of each new one."""
        self.position = after
        self._engine, self._handle, self._log, self._note = engine, handle, log, note
        self._stopped = False
        self._lock = threading.Lock()
        context = copy_context()  # which says whose log it is
        self._thread = threading.Thread(target=context.run, args=(self._read,), name="gigogne-logs", daemon=True)

    def start(self) -> Follower:
        """Begin to read."""
        self._thread.start()
        return self

    def join(self, timeout: float | None = None) -> bool:
        """Wait until all that the job wrote is in the log, which is after its end; whether that is so."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def stop(self) -> str:
        """Write nothing from now on; where to read on. The thread itself may wait for the job's next line."""
        with self._lock:
            self._stopped = True
            return self.position

    def _read(self) -> None:
        try:
            for line in self._engine.logs(self._handle, follow=True, after=self.position):
                with self._lock:
                    if self._stopped:
                        return
                    self._log.write(line)
                    self.position = line.position
                    if self._note is not None:
                        self._note(line.position)
        except (GigogneError, OSError) as error:  # OSError: somebody has removed its files
            if not self._stopped:
                said = error.message if isinstance(error, GigogneError) else error
                self._log.say(f"the rest of the log is not to be had: {said}", logging.WARNING)


def _read(text: str) -> tuple[int, str, dict[str, Any]]:
    """Level, message and further fields of a line."""
    if text[:1] == "{" and text.rstrip()[-1:] == "}":
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return logging.INFO, text, {}
        message = next((key for key in _MESSAGE if isinstance(found.get(key), str)), None)
        if message is not None:
            event = found.pop(message)
            name = next((key for key in _LEVEL if _level(found.get(key))), "")
            level = _level(found.pop(name, None)) or logging.INFO
            return level, event, {f"{key}_" if key in _TAKEN else key: value for key, value in found.items()}
    return logging.INFO, text, {}


def _level(value: object) -> int | None:
    """A level by its name, or by the number that bunyan and pino give it (30 is info)."""
    if isinstance(value, str):
        return _LEVELS.get(value.lower())
    if isinstance(value, int) and not isinstance(value, bool) and 10 <= value <= 60:
        return max(logging.DEBUG, value // 10 * 10 - 10)
    return None
