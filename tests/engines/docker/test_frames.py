"""Lines from the daemon's frames: each once, wherever another reader goes on."""

from __future__ import annotations

import io
import itertools
import random
import struct
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from gigogne.core.engine import Line
from gigogne.engines.docker.frames import Position, Reader

_BEGAN = 1795328000 * 10**9
# Of a frame: the number of its stream, its time in nanoseconds, and what was written.
Frame = tuple[int, int, bytes]


def response(frames: Sequence[Frame], since: str = "") -> io.BytesIO:
    """What the daemon sends: in the order of its file, the first frame of that time or later, and all after it."""
    second, _, nanos = since.partition(".")
    first = int(second) * 10**9 + int(nanos) if since else 0
    sent = io.BytesIO()
    for stream, time, text in itertools.dropwhile(lambda frame: frame[1] < first, frames):
        at = datetime.fromtimestamp(time // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        stamped = f"{at}.{time % 10**9:09d}Z ".encode() + text
        sent.write(struct.pack(">BxxxL", stream, len(stamped)) + stamped)
    sent.seek(0)
    return sent


def read(frames: Sequence[Frame], after: str = "") -> list[Line]:
    """What a new reader gives after that position."""
    reader = Reader(Position.of(after) if after else Position(""), anchored=True)
    reader.terminal = False
    return [*reader.lines(response(frames, reader.since)), *reader.rest()]


def hand_over_everywhere(frames: Sequence[Frame]) -> None:
    """Another reader goes on after each line, and one more after some line of that one."""
    whole = read(frames)
    for number, line in enumerate(whole):
        rest = read(frames, line.position)
        assert rest == whole[number + 1 :], line.position
        for further in range(0, len(rest), 7):
            assert read(frames, rest[further].position) == rest[further + 1 :]


def test_one_time_for_many() -> None:
    """Lines that share one time are told apart, and so are those of a long line, whose frames share one."""
    frames = [(1 + number % 2, _BEGAN, f"{number}\n".encode()) for number in range(20)]
    long = [*((1, _BEGAN + 1, b"x" * 16384) for _ in range(3)), (1, _BEGAN + 1, b"end\n")]
    frames += [long[0], (2, _BEGAN + 2, b"between\n"), *long[1:], (1, _BEGAN + 3, b"last")]
    assert [len(line.text) for line in read(frames)[-3:]] == [len("between"), 3 * 16384 + 3, len("last")]
    hand_over_everywhere(frames)


@pytest.mark.parametrize("seed", range(8))
def test_times_out_of_order(seed: int) -> None:
    """Two streams are written side by side: times go back a little, lines are in the middle of others."""
    dice = random.Random(seed)
    frames: list[Frame] = []
    begun: dict[int, int] = {}
    for number in range(70):
        time = _BEGAN + number * dice.choice((0, 10**7, 10**8)) - dice.randrange(2 * 10**8)
        stream = dice.choice((1, 2))
        ends = dice.random() < 0.8
        frames.append((stream, begun.get(stream, time), f"{number}{'|' if not ends else chr(10)}".encode()))
        # The frames of one line have the time of its first one.
        begun.pop(stream, None) if ends else begun.setdefault(stream, time)
    # Times grow with the numbers but for what the dice takes: the file is in the order of writing.
    hand_over_everywhere(sorted(frames, key=lambda frame: frame[1] // (2 * 10**8)))


def test_what_has_no_end() -> None:
    """Last words without a line end are given once, of each stream."""
    frames = [(1, _BEGAN, b"a\n"), (1, _BEGAN + 5, b"out"), (2, _BEGAN + 6, b"err")]
    assert [line.text for line in read(frames)] == ["a", "out", "err"]
    hand_over_everywhere(frames)


def test_positions_stay_near() -> None:
    """A position goes along with the lines: who reads on after an hour does not read the hour again."""
    frames = [(1, _BEGAN + number * 10**7, b"line\n") for number in range(3000)]
    last = Position.of(read(frames)[-1].position)
    assert last.frames < 60 and float(last.since) > (_BEGAN + 2900 * 10**7) / 10**9


def test_the_last_lines() -> None:
    """Who has asked for the last lines goes on after them, not at the beginning."""
    frames = [(1, _BEGAN + number, f"{number}\n".encode()) for number in range(50)]
    reader = Reader(Position(""), anchored=False)
    reader.terminal = False
    lines = list(reader.lines(response(frames[-5:])))
    assert [line.text for line in lines] == ["45", "46", "47", "48", "49"]
    assert [line.text for line in read(frames, lines[1].position)] == ["47", "48", "49"]
    assert list(reader.lines(response(frames, reader.since))) == [], "the connection broke, and is made again"
