"""What a container wrote, from the bytes that the daemon sends to lines: each whole, with its stream and its time.

The daemon sends frames: a header of eight bytes (stream, three zeros, length) and a text, which begins with its time. A
container with a terminal has one stream and no frames.
Source: https://docs.docker.com/reference/api/engine/version/v1.45/#tag/Container/operation/ContainerAttach
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Literal

from gigogne.core.engine import Line

__all__ = ["Position", "Reader"]

_HEADER = struct.Struct(">BxxxL")
_STREAMS: dict[int, Literal["stdout", "stderr"]] = {1: "stdout", 2: "stderr"}
# A line longer than this comes in pieces; so much is read at once. In bytes.
_LINE_MAX = _PIECE = 65536
# So far, in seconds, the times of frames may be out of order.
_DISORDER = 0.25


@dataclass(frozen=True, slots=True)
class Position:
    """Where reading goes on after a line.

    Attributes:
        since: From which time on the daemon is asked, `seconds.nanoseconds`; empty from the beginning.
        frames: How many frames from there on were read.
        given: The numbers of the streams whose last line, which has no end, was given all the same.
    """

    since: str
    frames: int = 0
    given: str = ""

    @classmethod
    def of(cls, text: str) -> Position:
        """The position that a line has."""
        since, _, rest = text.partition("+")
        frames, _, given = rest.partition("!")
        return cls(since, int(frames), given)


class Reader:
    """Puts lines together, and knows where to go on, in this process or in another one.

    The streams are stamped and kept side by side, so that the times of the frames are not quite in order: to ask for
    those after the last one would lose some. So reading goes on from a time a little before, at which no line was in
    the middle, and passes over as many frames as were read from there on.

    Args:
        position: Where to begin.
        anchored: The first frame that comes is the one at that position; else it is the first of the last ones.

    Attributes:
        since: From which time on the daemon is to be asked.
        terminal: Whether the container has one; None where that is not known yet.
    """

    def __init__(self, position: Position, *, anchored: bool) -> None:
        self.since = position.since
        self.terminal: bool | None = None
        self._frames = position.frames
        self._given = position.given
        self._anchored = anchored
        self._begun: dict[Literal["stdout", "stderr"], tuple[float, bytes]] = {}
        # The next one, for when the frames go well beyond it. Its frame is the first that has so late a stamp: from
        # there on the daemon sends everything, also what has an earlier one.
        self._latest = b""
        self._next_since, self._next_frames, self._next_moment = position.since, position.frames, 0.0

    def lines(self, raw: Any) -> Iterator[Line]:
        """The lines of one response, but those that were read before."""
        frames = _rows(raw) if self.terminal else _frames(raw)
        self._begun.clear()
        for stream, text in itertools.islice(frames, self._frames):
            stamp, _, rest = text.partition(b" ")
            self._latest = max(self._latest, stamp)
            for _ in self._whole(stream, rest, _seconds(stamp)):
                pass
        for number in self._given:
            self._begun.pop(_STREAMS[int(number)], None)
        for stream, text in frames:
            stamp, _, rest = text.partition(b" ")
            moment = _seconds(stamp)
            self._count(stamp, moment)
            yield from self._whole(stream, rest, moment)

    def rest(self) -> Iterator[Line]:
        """What was written last, without a line end."""
        given = self._given
        for stream, (moment, text) in self._begun.items():
            given += "1" if stream == "stdout" else "2"
            if text:
                yield _line(stream, text, moment, f"{self.since}+{self._frames}!{given}")

    def _count(self, stamp: bytes, moment: float) -> None:
        """Note a frame as read, and let the position follow where the frames are far enough."""
        if not self._anchored:
            self._anchored, self.since = True, _nanoseconds(stamp)
            self._next_since = self.since
        self._given = ""
        self._frames += 1
        self._next_frames += 1
        if stamp > self._latest:
            self._latest = stamp
            if moment - self._next_moment > _DISORDER and not self._begun:
                self.since, self._frames = self._next_since, self._next_frames
                self._next_since, self._next_moment = _nanoseconds(stamp), moment
                self._next_frames = 1

    def _whole(self, stream: Literal["stdout", "stderr"], text: bytes, moment: float) -> Iterator[Line]:
        """The line that this text completes. The daemon cuts long lines; so do we, where they have no end."""
        if stream in self._begun:
            moment, before = self._begun.pop(stream)
            text = before + text
        ends = text.endswith(b"\n")
        if ends or len(text) >= _LINE_MAX:
            yield _line(stream, text, moment, f"{self.since}+{self._frames}")
            text = b""
        if not ends:
            self._begun[stream] = (moment, text)


def _line(stream: Literal["stdout", "stderr"], text: bytes, moment: float, position: str) -> Line:
    return Line(stream, text.decode(errors="replace").rstrip("\r\n"), moment, position)


def _frames(raw: Any) -> Iterator[tuple[Literal["stdout", "stderr"], bytes]]:
    """The texts of the frames, each with its stream.

    Raises:
        EOFError: The connection broke in the middle of one.
    """
    held = b""
    while piece := raw.read1(_PIECE):
        held += piece
        begin, size = 0, len(held)
        while size - begin >= _HEADER.size:
            number, length = _HEADER.unpack_from(held, begin)
            text = begin + _HEADER.size
            if text + length > size:
                break
            begin = text + length
            yield _STREAMS.get(number, "stdout"), held[text:begin]
        held = held[begin:]
    if held:
        raise EOFError


def _rows(raw: Any) -> Iterator[tuple[Literal["stdout", "stderr"], bytes]]:
    """What a terminal showed, by lines."""
    row = b""
    while piece := raw.read1(_PIECE):
        row += piece
        *whole, row = row.split(b"\n")
        for line in whole:
            yield "stdout", line + b"\n"
    if row:
        yield "stdout", row


def _seconds(stamp: bytes) -> float:
    """The time of a frame, in seconds since the epoch."""
    return _second(stamp[:19]) + float(b"0" + stamp[19:29])


def _nanoseconds(stamp: bytes) -> str:
    """The time of a frame as the daemon is asked for it. A float has no room for nanoseconds."""
    return f"{_second(stamp[:19])}.{stamp[20:29].decode()}"


@lru_cache(maxsize=4)
def _second(stamp: bytes) -> int:
    """`2026-11-22T02:35:41`, UTC, in seconds since the epoch."""
    return int(datetime.fromisoformat(f"{stamp.decode()}+00:00").timestamp())
