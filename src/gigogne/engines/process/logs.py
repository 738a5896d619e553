"""What services wrote: files that grow while a service runs, and stay when whoever watched it is dead.

=====================  ==========================================================================
`stdout.log`           the lines as they came; the service writes them itself
`stdout.1.log` …       those of the tries before, where a restart policy made more than one
`stdout.times`         when they came: lines of `offset time`, for `logs --since`; the supervisor's
=====================  ==========================================================================
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import IO, Literal

from gigogne.core.engine import Line

__all__ = ["follow_logs", "read_logs", "rotate_logs"]

_Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[_Stream, ...] = ("stdout", "stderr")
_POLL_FIRST, _POLL_LAST = 0.001, 0.05
# A line longer than this comes in pieces: memory stays flat whatever a service prints.
_LINE_MAX = 65536
# How fine the record of times is, in seconds.
_GRAIN = 0.05


def rotate_logs(directory: Path) -> None:
    """Put the logs of a try that is over beside those of the tries before it."""
    number = 1 + len(list(directory.glob("stdout.*.log")))
    for stream in _STREAMS:
        for suffix in ("log", "times"):
            file = directory / f"{stream}.{suffix}"
            with contextlib.suppress(FileNotFoundError, PermissionError):  # Windows: while somebody reads it, it stays
                file.replace(directory / f"{stream}.{number}.{suffix}")


def follow_logs(
    directory: Path,
    ended: Callable[[float], bool],
    *,
    since: float = 0.0,
    tail: int | None = None,
    record: bool = False,
) -> Iterator[Line]:
    """The lines of the present try as they come, until the service has ended.

    Args:
        directory: The service's own.
        ended: Whether no more will come; waits for that, so many seconds at most.
        since: Leave out what came before, in seconds since the epoch.
        tail: Of what is there already, only so many lines.
        record: Write down when lines come; for the one who started the service.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_LogFile(directory, stream, since, record)) for stream in _STREAMS]
        if tail is not None:
            yield from deque(_in_order(files, last=False), maxlen=tail)
        pause, over = 0.0, False
        while not over:
            over = ended(pause)  # asked before reading: what comes later is read next time
            heard = False
            for file in files:
                for line in file.read(last=over):
                    heard = True
                    yield line
            # What is said is heard at once, and a job of hours costs next to nothing.
            pause = _POLL_FIRST if heard else min(max(pause * 1.5, _POLL_FIRST), _POLL_LAST)


def read_logs(directory: Path, *, since: float = 0.0, tail: int | None = None) -> Iterator[Line]:
    """The lines so far, of all tries, both streams in the order of their times as far as these are known."""
    lines = _all_lines(directory, since)
    return lines if tail is None else iter(deque(lines, maxlen=tail))


def _all_lines(directory: Path, since: float) -> Iterator[Line]:
    tries = sorted(int(path.name.split(".")[1]) for path in directory.glob("stdout.*.log"))
    for number in (*(f".{each}" for each in tries), ""):
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context(_LogFile(directory, f"{stream}{number}", since, record=False))
                for stream in _STREAMS
                if (directory / f"{stream}{number}.log").exists()
            ]
            yield from _in_order(files, last=True)


def _in_order(files: Sequence[_LogFile], *, last: bool) -> Iterator[Line]:
    return merge(*(file.read(last=last) for file in files), key=lambda line: line.time)


class _LogFile:
    """The new lines of a growing file, bytes in, text out; keeps the beginning of an unfinished line."""

    def __init__(self, directory: Path, name: str, since: float, record: bool) -> None:
        self._stream: _Stream = "stdout" if name.startswith("stdout") else "stderr"
        self._file = (directory / f"{name}.log").open("rb")
        times = directory / f"{name}.times"
        self._record: IO[str] | None = times.open("a", encoding="ascii") if record else None
        self._known = [] if record else list(_times(times))
        self._next = 0  # of the known times, the first that may still be of use
        self._recorded, self._recorded_end = 0.0, 0
        self._heard, self._heard_end = 0.0, 0  # what came last, recorded or not
        self._rest = b""
        self._end = 0  # the offset of what comes next
        if since:
            self._begin(since)

    def __enter__(self) -> _LogFile:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
        if self._record:
            if self._end > self._recorded_end:
                self._write(self._heard, self._end)
            self._record.close()

    def _begin(self, since: float) -> None:
        """Go to the first line that came after `since`; what nobody saw come counts as later."""
        before = [offset for offset, seen in self._known if seen <= since]
        self._end = before[-1] if before else 0
        self._file.seek(self._end)
        if before and self._end:
            # The record may end in the middle of a line.
            self._file.seek(self._end - 1)
            self._end += len(self._file.readline()) - 1

    def read(self, *, last: bool) -> Iterator[Line]:
        """Every line that is whole, and with `last` the unfinished one too."""
        while chunk := self._file.read(_LINE_MAX) or self._settle():
            self._end += len(chunk)
            now = self._note()
            *whole, self._rest = (self._rest + chunk).split(b"\n")
            begin = self._end - len(chunk)
            for line in whole:
                yield self._line(line, now or self._time(begin))
                begin += len(line) + 1
            if len(self._rest) >= _LINE_MAX:
                yield self._line(self._rest, now or self._time(begin))
                self._rest = b""
        if last and self._rest:
            yield self._line(self._rest, self._time(self._end - len(self._rest)))
            self._rest = b""

    def _settle(self) -> bytes:
        """Write down what came last, when nothing came after it: who reads the record next has it whole."""
        if self._record is not None and self._heard_end > self._recorded_end and time.time() - self._heard >= _GRAIN:
            self._write(self._heard, self._heard_end)
        return b""

    def _note(self) -> float:
        """Write down that the file has come so far; the time, or 0 where the record is only read."""
        if self._record is None:
            return 0.0
        now = time.time()
        if now - self._recorded >= _GRAIN:
            if self._heard_end > self._recorded_end:  # it must not get the time of what comes now
                self._write(self._heard, self._heard_end)
            self._write(now, self._end)
        self._heard, self._heard_end = now, self._end
        return now

    def _write(self, seen: float, end: int) -> None:
        assert self._record is not None
        self._recorded, self._recorded_end = seen, end
        self._record.write(f"{end} {seen:.3f}\n")
        self._record.flush()

    def _time(self, offset: int) -> float:
        """When the byte at an offset came, by the record; where it has none, when the file was last written to."""
        while self._next < len(self._known) and self._known[self._next][0] <= offset:
            self._next += 1
        if self._next < len(self._known):
            return self._known[self._next][1]
        return Path(self._file.name).stat().st_mtime

    def _line(self, line: bytes, seen: float) -> Line:
        return Line(self._stream, line.removesuffix(b"\r").decode("utf-8", errors="replace"), seen)


def _times(record: Path) -> Iterator[tuple[int, float]]:
    """The offsets and times of a record; a line that is only half written is no line."""
    with contextlib.suppress(OSError):
        for line in record.read_text(encoding="ascii").splitlines(keepends=True):
            offset, _, seen = line.partition(" ")
            if line.endswith("\n"):
                yield int(offset), float(seen)
