"""What every program of the reference stack has: its settings, its ends, its progress."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.stack.conftest import environment

from job.errors import JobError, SettingError
from job.postgres import first_line, parts_of
from job.program import fail
from job.progress import Heartbeat, ProgressBar, size
from job.settings import flag, number, text, whole_number

NAME = "A_SETTING"
# A program of the test's own.
PROGRAM = """\
import sys, time
from job.errors import JobError, SettingError
from job.program import run, undisturbed

def begin():
    print("→ begun", flush=True)

def main():
    {body}

run(main, farewell={farewell!r})
"""


def program(body: str, farewell: str = "") -> subprocess.Popen[str]:
    """A program that has begun."""
    command, pipe = [sys.executable, "-c", PROGRAM.format(body=body, farewell=farewell)], subprocess.PIPE
    # An encoding that lacks what it says.
    given = {**environment(), "PYTHONIOENCODING": "ascii"}
    made = subprocess.Popen(command, env=given, stdout=pipe, stderr=pipe, encoding="utf-8")
    assert made.stdout is not None and made.stdout.readline() == "→ begun\n"
    return made


def test_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blanks around a value are none of it, and an empty one is not set."""
    assert (text(NAME, "so"), flag(NAME), whole_number(NAME, 7), number(NAME, 0.5, least=0)) == ("so", False, 7, 0.5)
    for value, meant in ((" 1 ", True), ("Yes", True), ("off", False), (" ", False)):
        monkeypatch.setenv(NAME, value)
        assert flag(NAME) is meant
    monkeypatch.setenv(NAME, " 12 ")
    assert (text(NAME), whole_number(NAME, 7), number(NAME, 0.5, least=0, whole=True)) == ("12", 12, 12)


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (flag, "perhaps", "A_SETTING='perhaps' is neither yes nor no: write 1 or 0"),
        (lambda name: whole_number(name, 7), "1.5", "A_SETTING='1.5' is not a whole number"),
        (lambda name: whole_number(name, 7, least=2), "1", "A_SETTING=1 is too small: 2 is the least"),
        (lambda name: number(name, 7, least=0, most=9), "ten", "A_SETTING='ten' is not a number"),
        (lambda name: number(name, 7, least=0, most=9), "10", "A_SETTING=10 is not possible: write a number from 0 to"),
        (lambda name: number(name, 7, least=0), "nan", "A_SETTING=nan is not possible"),
        (lambda name: parts_of(text(name), name), "postgresql://u:secret-7@[h", "A_SETTING is not an address that"),
    ],
)
def test_settings_that_cannot_be(
    monkeypatch: pytest.MonkeyPatch, read: Callable[[str], object], value: str, said: str
) -> None:
    """The message names the variable, and no password."""
    monkeypatch.setenv(NAME, value)
    with pytest.raises(SettingError) as refused:
        read(NAME)
    assert str(refused.value).startswith(said) and "secret-7" not in str(refused.value)


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("begin()", 0, ""),
        ("begin(); raise JobError('S3 is away:\\n  start it')", 1, "error: S3 is away: start it\n"),
        ("begin(); raise SettingError('A is not set')", 2, "error: A is not set\n"),
        ("begin(); raise KeyboardInterrupt", 130, "interrupted\n"),
    ],
)
def test_how_a_program_ends(body: str, code: int, said: str) -> None:
    """One line on stderr, and an exit code that tells what is whose fault."""
    with program(body) as ended:
        _, err = ended.communicate(timeout=60)
    assert (ended.returncode, err) == (code, said)


def test_a_defect_is_no_failure() -> None:
    """Whoever mends it needs the traceback."""
    with program("begin(); 1 / 0") as ended:
        _, err = ended.communicate(timeout=60)
    assert ended.returncode == 1 and "ZeroDivisionError" in err


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(
    ("number", "farewell", "code", "said"),
    [
        (signal.SIGTERM, "", 143, "undone\nstopped by SIGTERM\n"),
        (signal.SIGINT, "", 130, "undone\ninterrupted\n"),
        (signal.SIGTERM, "it stays", 143, "stopped by SIGTERM: it stays\n"),
        (signal.SIGINT, "it stays", 130, "stopped by Ctrl-C: it stays\n"),
    ],
)
def test_signals(number: signal.Signals, farewell: str, code: int, said: str) -> None:
    """The program may undo what it has begun, where it does not say that there is nothing; nothing swallows them."""
    body = """
    try:
        try:
            begin()
            while True: time.sleep(0.05)
        except Exception:
            pass
    finally:
        print("undone", file=sys.stderr)"""
    with program(body, farewell) as ended:
        ended.send_signal(number)
        _, err = ended.communicate(timeout=60)
    assert (ended.returncode, err) == (code, said)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_what_must_not_be_left_half_begun(number: signal.Signals, code: int) -> None:
    """A signal waits for its end, and then ends the program as ever."""
    body = """
    with undisturbed():
        begin()
        for _ in range(10): time.sleep(0.05)
        print("whole", file=sys.stderr)
    print("never", file=sys.stderr)"""
    with program(body) as ended:
        ended.send_signal(number)
        _, err = ended.communicate(timeout=60)
    assert (ended.returncode, err.splitlines()[0]) == (code, "whole") and "never" not in err


def test_many_failures(capsys: pytest.CaptureFixture[str]) -> None:
    """Each has a line, up to ten, and the first one is what the program ends with."""
    fail([])
    with pytest.raises(JobError, match=r"^0$"):
        fail([JobError(str(each)) for each in range(12)])
    assert capsys.readouterr().err.splitlines() == [
        *(f"error: {each}" for each in range(1, 10)),
        "error: and 2 more like these",
    ]


def test_progress(capsys: pytest.CaptureFixture[str]) -> None:
    """Short work is silent; long work says every few seconds how far it is."""
    bar, heartbeat = ProgressBar("rows", 3_000), Heartbeat(every=0)
    bar.show(1)
    assert capsys.readouterr().err == ""
    bar._next = 0.0
    for done in (1_500, 1_600):
        bar.show(done)
    bar.end()
    heartbeat.show("so far")
    assert capsys.readouterr().err == "rows: 1,500 of 3,000 (50%)\nso far\n"
    assert [size(count) for count in (0, 999, 1_234_567, 5e12)] == ["0 B", "999 B", "1.2 MB", "5.0 TB"]


@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_a_bar_on_a_terminal(tmp_path: Path) -> None:
    """It is drawn in one line, which is empty in the end."""
    import pty

    ours, theirs = pty.openpty()
    script = "import time; from job.progress import ProgressBar; b = ProgressBar('rows', 2); time.sleep(0.2); "
    subprocess.run([sys.executable, "-c", f"{script}b.show(1); b.end()"], env=environment(), stderr=theirs, check=True)
    os.close(theirs)
    assert os.read(ours, 1000).decode() == f"\r[{'#' * 15}{' ' * 15}] rows: 1 of 2 (50%)\033[K\r\033[K"
    os.close(ours)


def test_what_postgresql_says() -> None:
    """The first line, without the address before it."""
    said = 'connection failed: connection to server at "127.0.0.1", port 9 failed: refused\n\tIs it running?'
    assert first_line(OSError(said)) == 'connection to server at "127.0.0.1", port 9 failed: refused'
    assert first_line(OSError("")) == "OSError"
