"""Log files: lines as they are written, whole, in order, by time; whatever the bytes are."""

from __future__ import annotations

import threading
import time
import tracemalloc
from pathlib import Path

import pytest

from gigogne.engines.process.logs import follow_logs, read_logs, rotate_logs


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The directory of a service that has said nothing yet."""
    (tmp_path / "stdout.log").touch()
    (tmp_path / "stderr.log").touch()
    return tmp_path


def say(directory: Path, text: bytes, stream: str = "stdout") -> None:
    """Write as the service would."""
    with (directory / f"{stream}.log").open("ab") as file:
        file.write(text)


def supervise(directory: Path, parts: list[bytes], pause: float = 0.15) -> list[str]:
    """What a supervisor hears of parts that are written one after the other."""
    writing = threading.Event()

    def write() -> None:
        for part in parts:
            say(directory, part)
            time.sleep(pause)
        writing.set()

    thread = threading.Thread(target=write)
    thread.start()
    heard = [line.text for line in follow_logs(directory, writing.wait, record=True)]
    thread.join()
    return heard


@pytest.mark.parametrize(
    ("parts", "lines"),
    [
        ([b"x" * 65536 + b"\n", b"x" * 65537 + b"\n"], ["x" * 65536, "x" * 65536, "x"]),
        ([b"one\ntwo\n"], ["one", "two"]),
        ([b"no end"], ["no end"]),
        ([b"begun ", b"ended\n"], ["begun ended"]),
        ([b"windows\r\n"], ["windows"]),
        ([b"\xff\xfe broken\n"], ["\ufffd\ufffd broken"]),
        ([b"caf\xc3", b"\xa9\n"], ["café"]),
        ([b"\n\nx\n"], ["", "", "x"]),
        ([b"x" * 150_000 + b"\n"], ["x" * 65536, "x" * 65536, "x" * 18928]),
    ],
)
def test_lines(directory: Path, parts: list[bytes], lines: list[str]) -> None:
    """Lines come whole, the last one without an end too; a very long one in pieces; what is no UTF-8 is marked."""
    assert supervise(directory, parts) == lines
    assert [line.text for line in read_logs(directory)] == lines


def test_since_and_tail(directory: Path) -> None:
    """`since` leaves out what came before, to a twentieth of a second; `tail` all but the last lines."""
    supervise(directory, [b"early\n", b"middle\n", b"late\n"], pause=0.3)
    times = [line.time for line in read_logs(directory)]
    assert times == sorted(times) and times[2] - times[0] > 0.4
    assert [line.text for line in read_logs(directory, since=times[0] + 0.1)] == ["middle", "late"]
    assert [line.text for line in read_logs(directory, since=times[2] + 0.1)] == []
    assert [line.text for line in read_logs(directory, tail=2)] == ["middle", "late"]
    assert [line.text for line in follow_logs(directory, lambda _seconds: True, tail=1)] == ["late"]
    assert [line.text for line in follow_logs(directory, lambda _seconds: True, since=times[1] + 0.1)] == ["late"]


def test_streams_are_merged_by_time(directory: Path) -> None:
    """What was said on both streams comes in the order in which it was seen."""
    over = threading.Event()

    def write() -> None:
        for number in range(4):
            say(directory, f"{number}\n".encode(), "stdout" if number % 2 else "stderr")
            time.sleep(0.2)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert len(list(follow_logs(directory, over.wait, record=True))) == 4
    thread.join()
    assert [line.text for line in read_logs(directory)] == ["0", "1", "2", "3"]


def test_every_position_is_exact(directory: Path) -> None:
    """From the position of any line on one hears the rest: each line of both streams once, whatever its bytes."""
    say(directory, "same\nsame\n\ncafé\r\n".encode() + b"x" * 70_000 + b"\n\xff\nno end")
    say(directory, b"same\nsame\nerror\n", "stderr")
    for whole in (list(read_logs(directory)), list(follow_logs(directory, lambda _seconds: True))):
        assert len(whole) == 11 and all(whole[number].text for number in (4, 5))
        for number, line in enumerate(whole, 1):
            assert list(read_logs(directory, after=line.position)) == whole[number:]
            after = list(follow_logs(directory, lambda _seconds: True, after=line.position))
            for stream in ("stdout", "stderr"):
                assert [each for each in after if each.stream == stream] == [
                    each for each in whole[number:] if each.stream == stream
                ]
    *_, last = follow_logs(directory, lambda _seconds: True, tail=1)
    assert list(read_logs(directory, after=last.position)) == []


def test_positions_are_of_the_present_try(directory: Path) -> None:
    """Lines of tries before have none; who goes on after one reads nothing of them again."""
    say(directory, b"before\n")
    rotate_logs(directory)
    say(directory, b"one\ntwo\n")
    (directory / "stderr.log").touch()
    before, one, two = read_logs(directory)
    assert before.position == "" and list(read_logs(directory, after=one.position)) == [two]
    assert list(read_logs(directory, present=True)) == [one, two]


def test_rotated_tries_stay(directory: Path) -> None:
    """Each try has its own files; reading gives them in order, also with ten and more."""
    for number in range(12):
        say(directory, f"try {number}\n".encode())
        (directory / "stderr.log").touch()
        rotate_logs(directory)
    assert [line.text for line in read_logs(directory)] == [f"try {number}" for number in range(12)]


def test_a_long_log_in_flat_memory(directory: Path) -> None:
    """A log of 30 MB is read line by line in a few of them, whole and in order."""
    block = b"".join(b"%0399d\n" % number for number in range(2500))
    with (directory / "stdout.log").open("wb") as file:
        for _ in range(30):
            file.write(block)
    tracemalloc.start()
    count = sum(1 for _ in follow_logs(directory, lambda _seconds: True, record=True))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 75_000 and peak < 8_000_000
