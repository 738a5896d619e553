"""What services wrote: files that grow while a service runs, and stay when whoever watched it is dead.

=====================  ==========================================================================
`stdout.log`           the lines as they came; the service writes them itself
`stdout.1.log` …       those of the tries before, where a restart policy made more than one
`stdout.times`         when they came: lines of `offset time`, for `logs --since`; the supervisor's
=====================  ==========================================================================

A line's position is `offset:offset`: how far one has read of each stream of the present try when one has read it.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from heapq import merge
from pathlib import Path
from typing import IO, Literal, NamedTuple

from gigogne.core.engine import Line
from gigogne.engines.process.times import GRAIN, read_times
from gigogne.errors import EngineError

__all__ = ["follow_logs", "read_logs", "rotate_logs"]

_Stream = Literal["stdout", "stderr"]
_STREAMS: tuple[_Stream, ...] = ("stdout", "stderr")
_POLL_FIRST, _POLL_LAST = 0.001, 0.05
# A line longer than this comes in pieces: memory stays flat whatever a service prints.
_LINE_MAX = 65536


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
    after: str = "",
    record: bool = False,
) -> Iterator[Line]:
    """The lines of the present try as they come, until the service has ended.

    Args:
        directory: The service's own.
        ended: Whether no more will come; waits for that, so many seconds at most.
        since: Leave out what came before, in seconds since the epoch.
        tail: Of what is there already, only so many lines.
        after: Leave out what came before the end of the line of this position.
        record: Write down when lines come; for the one who started the service.

    Raises:
        EngineError: The logs are not there any more.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(_LogFile(directory, stream, since, record)) for stream in _STREAMS]
        read = _begin_after(files, after)
        if tail is not None:
            yield from deque(_as_lines(_in_order(files, last=False), read), maxlen=tail)
        pause, over = 0.0, False
        while not over:
            over = ended(pause)  # asked before reading: what comes later is read next time
            heard = False
            for file in files:
                for line in _as_lines(file.read(last=over), read):
                    heard = True
                    yield line
            # What is said is heard at once, and a job of hours costs next to nothing.
            pause = _POLL_FIRST if heard else min(max(pause * 1.5, _POLL_FIRST), _POLL_LAST)


def read_logs(
    directory: Path, *, since: float = 0.0, tail: int | None = None, after: str = "", present: bool = False
) -> Iterator[Line]:
    """The lines so far, both streams in the order of their times as far as these are known.

    Of all tries; with `present` or `after` of the present one alone.
    """
    lines = _all_lines(directory, since, after, present=present or bool(after))
    return lines if tail is None else iter(deque(lines, maxlen=tail))


def _all_lines(directory: Path, since: float, after: str, *, present: bool) -> Iterator[Line]:
    tries = [] if present else sorted(int(path.name.split(".")[1]) for path in directory.glob("stdout.*.log"))
    for number in (*(f".{each}" for each in tries), ""):
        with contextlib.ExitStack() as stack:
            files = [
                stack.enter_context(_LogFile(directory, f"{stream}{number}", since, record=False))
                for stream in _STREAMS
                if (directory / f"{stream}{number}.log").exists()
            ]
            # A position is one of the present try.
            yield from _as_lines(_in_order(files, last=True), None if number else _begin_after(files, after))


class _Said(NamedTuple):
    """A line of one stream; `end` is where the next one begins."""

    stream: _Stream
    text: str
    time: float
    end: int


def _in_order(files: Sequence[_LogFile], *, last: bool) -> Iterator[_Said]:
    return merge(*(file.read(last=last) for file in files), key=lambda said: said.time)


def _begin_after(files: Sequence[_LogFile], position: str) -> dict[_Stream, int]:
    """Go to a position; how far one has read of each stream then."""
    read = dict.fromkeys(_STREAMS, 0)
    if position:
        read = dict(zip(_STREAMS, map(int, position.split(":")), strict=True))
        for file in files:
            file.go_to(read[file.stream])
    return read | {file.stream: file.offset for file in files}


def _as_lines(said: Iterable[_Said], read: dict[_Stream, int] | None) -> Iterator[Line]:
    """The lines, with their positions where it is known how far one has `read`, which is noted there."""
    for stream, text, seen, end in said:
        if read is None:
            yield Line(stream, text, seen)
        else:
            read[stream] = end
            yield Line(stream, text, seen, f"{read['stdout']}:{read['stderr']}")


def _pieces(text: bytes) -> Iterator[tuple[bytes, int]]:
    """The whole lines of a text, and how many bytes each takes; of one that is too long, the same pieces each time."""
    *lines, rest = text.split(b"\n")
    for line, end in [*((line, 1) for line in lines), (rest, 0)]:
        for begin in range(0, len(line) - _LINE_MAX, _LINE_MAX):
            yield line[begin : begin + _LINE_MAX], _LINE_MAX
        if end:
            begin = (len(line) - 1) // _LINE_MAX * _LINE_MAX if line else 0
            yield line[begin:], len(line) - begin + end


class _LogFile:
    """The new lines of a growing file, bytes in, text out; keeps the beginning of an unfinished line."""

    def __init__(self, directory: Path, name: str, since: float, record: bool) -> None:
        self.stream: _Stream = "stdout" if name.startswith("stdout") else "stderr"
        try:
            self._file = (directory / f"{name}.log").open("rb")
        except FileNotFoundError:
            hint = "`gigogne down` removes them"
            raise EngineError(f"the logs of {directory.name} are gone: {directory}", hint) from None
        times = directory / f"{name}.times"
        self._record: IO[str] | None = times.open("a", encoding="ascii") if record else None
        self._known = [] if record else list(read_times(times))
        self._next = 0  # of the known times, the first that may still be of use
        self._recorded, self._recorded_end = 0.0, 0
        self._heard, self._heard_end = 0.0, 0  # what came last, recorded or not
        self._rest = b""
        self._end = 0  # the offset of what comes next
        if since:
            self._begin(since)

    @property
    def offset(self) -> int:
        """Where reading goes on."""
        return self._end - len(self._rest)

    def go_to(self, offset: int) -> None:
        """Go on reading at an offset, where a line begins."""
        self._end, self._rest = offset, b""
        self._file.seek(offset)

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

    def read(self, *, last: bool) -> Iterator[_Said]:
        """Every line that is whole, and with `last` the unfinished one too."""
        while chunk := self._file.read(_LINE_MAX) or self._settle():
            begin = self.offset
            self._end += len(chunk)
            now = self._note()
            text = self._rest + chunk
            pieces = list(_pieces(text))
            self._rest = text[sum(length for _, length in pieces) :]
            for line, length in pieces:
                seen = now or self._time(begin)
                begin += length
                yield self._said(line, seen, begin)
        if last and self._rest:
            rest, self._rest = self._rest, b""
            yield self._said(rest, self._time(self._end - len(rest)), self._end)

    def _settle(self) -> bytes:
        """Write down what came last, when nothing came after it: who reads the record next has it whole."""
        if self._record is not None and self._heard_end > self._recorded_end and time.time() - self._heard >= GRAIN:
            self._write(self._heard, self._heard_end)
        return b""

    def _note(self) -> float:
        """Write down that the file has come so far; the time, or 0 where the record is only read."""
        if self._record is None:
            return 0.0
        now = time.time()
        if now - self._recorded >= GRAIN:
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

    def _said(self, line: bytes, seen: float, end: int) -> _Said:
        return _Said(self.stream, line.removesuffix(b"\r").decode("utf-8", errors="replace"), seen, end)
