"""Processes that outlive the one who started them, with their logs and their exit code in files.

A started process has a directory: `status.json` (who it is), `stdout.log`, `stderr.log` (what it said) and, under
bubblewrap, `bwrap.json` (the inner process, and the exit code in the end). So another Gigogne can find it, read it,
wait for it and stop it. Process ids are used again by the system, so an id counts only with its start time.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from gigogne.engines.process.command import Command
from gigogne.engines.session import own_session

__all__ = ["Process", "end_family", "exit_code", "spawn"]

_POLL, _LONGEST_POLL = 0.02, 0.3
# Bubblewrap reports its child within milliseconds; a loaded machine may take longer.
_CHILD_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """A process by id and start time (seconds since the epoch), with its directory."""

    pid: int
    created: float
    directory: Path
    sandboxed: bool
    stop_signal: int

    @classmethod
    def read(cls, directory: Path) -> Process | None:
        """The process of a directory, or None where none was started."""
        try:
            status = json.loads((directory / "status.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return cls(status["pid"], status["created"], directory, status["sandboxed"], status["stop_signal"])

    @classmethod
    def this_one(cls, directory: Path) -> Process:
        """The process that calls, written down in a directory for others to see whether it lives."""
        process = cls(os.getpid(), psutil.Process().create_time(), directory, False, int(signal.SIGTERM))
        _write_status(process)
        return process

    def alive(self) -> bool:
        """Whether it runs now."""
        process = self._psutil()
        try:
            return process is not None and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def ended(self, timeout: float | None) -> bool:
        """Whether it ends within `timeout` seconds (None: wait for ever); for those who are not its parent."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = _POLL
        while self.alive():
            left = pause if deadline is None else min(pause, deadline - time.monotonic())
            if left <= 0:
                return False
            time.sleep(left)
            pause = min(pause * 1.2, _LONGEST_POLL)  # hours cost next to nothing
        return True

    def inner_pid(self) -> int | None:
        """The id, on this machine, of process 1 of the sandbox; of the process itself where there is no sandbox."""
        if not self.sandboxed:
            return self.pid
        deadline = time.monotonic() + _CHILD_TIMEOUT
        while time.monotonic() < deadline:
            report = self._report()
            if "child-pid" in report:
                return int(report["child-pid"])
            if not self.alive():
                break
            time.sleep(_POLL / 4)
        return None

    def leave_behind(self, code: int) -> None:
        """Write its exit code down, for those who are not its parent."""
        with contextlib.suppress(OSError):
            (self.directory / "code").write_text(str(code), encoding="ascii")

    def code_left_behind(self) -> int | None:
        """The exit code that its supervisor or else bubblewrap wrote down."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.directory / "code").read_text(encoding="ascii"))
        code = self._report().get("exit-code")
        return None if code is None else int(code)

    def signal(self, number: int) -> None:
        """Send a signal as Docker does: to process 1 of the container alone."""
        pid = self.inner_pid()
        if pid is None or not self.alive():
            return
        with contextlib.suppress(OSError, psutil.NoSuchProcess):  # Windows: another console's cannot be sent a break
            if sys.platform == "win32":
                # Windows has no signals but the console's; a process of its own group can be sent a break.
                psutil.Process(pid).send_signal(signal.CTRL_BREAK_EVENT)
            else:
                os.kill(self._addressee(pid), number)

    def _addressee(self, pid: int) -> int:
        """Who takes its signals: process 1; under an init, which is bubblewrap's and passes none on, its child."""
        first = psutil.Process(pid)
        children = first.children() if self.sandboxed and first.name() == "bwrap" else []
        return int(children[0].pid) if children else pid

    def kill(self) -> None:
        """End it and all its children at once."""
        process = self._psutil()
        if process is not None:
            end_family(process)

    def kill_inner(self) -> None:
        """End what is left inside the sandbox when bubblewrap itself was killed: process 1, and so all of it."""
        report = self._report() if self.sandboxed else {}
        if "child-pid" in report and "exit-code" not in report:
            with contextlib.suppress(psutil.Error):
                first = psutil.Process(int(report["child-pid"]))
                if 0 <= first.create_time() - self.created < _CHILD_TIMEOUT:
                    first.kill()

    def _report(self) -> dict[str, Any]:
        """What bubblewrap reported so far: one JSON object a line."""
        report: dict[str, Any] = {}
        with contextlib.suppress(OSError):
            for line in (self.directory / "bwrap.json").read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    report |= json.loads(line)
        return report

    def _psutil(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            return process if abs(process.create_time() - self.created) < 1 else None
        except psutil.NoSuchProcess:
            return None


def spawn(command: Command, directory: Path) -> tuple[Process, subprocess.Popen[bytes]]:
    """Start the command in a session of its own, its output in files of `directory`.

    Raises:
        OSError: The program cannot be started.
    """
    directory.mkdir(parents=True, exist_ok=True)
    argv = list(command.argv)
    with contextlib.ExitStack() as stack:
        out = stack.enter_context((directory / "stdout.log").open("ab"))
        err = stack.enter_context((directory / "stderr.log").open("ab"))
        options: dict[str, Any] = {}
        passed = {index: stack.enter_context(_in_memory(text)) for index, text in command.contents.items()}
        for index, descriptor in passed.items():
            argv[index] = str(descriptor)
        if command.sandboxed:
            report = stack.enter_context((directory / "bwrap.json").open("wb"))
            argv[1:1] = ["--json-status-fd", str(report.fileno())]
            options["pass_fds"] = (report.fileno(), *passed.values())
        if command.user is not None and sys.platform != "win32":
            import pwd

            options |= {"user": command.user, "group": pwd.getpwuid(command.user).pw_gid, "extra_groups": []}
        child = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(command.environment),
            cwd=command.directory,
            **options,
            **own_session(),
        )
    process = Process(child.pid, _created(child.pid), directory, command.sandboxed, int(command.stop_signal))
    try:
        _write_status(process)
    except BaseException:  # a full disk: nobody would find it again
        process.kill()
        child.wait()
        raise
    return process, child


@contextlib.contextmanager
def _in_memory(text: str) -> Iterator[int]:
    """A descriptor from which the text can be read; it is in no file, because it may be a secret."""
    assert sys.platform == "linux"  # elsewhere there is no sandbox, which alone asks for it
    with os.fdopen(os.memfd_create("content"), "wb") as file:
        file.write(text.encode())
        file.seek(0)
        yield file.fileno()


def end_family(process: psutil.Process) -> None:
    """End a process and all its children at once."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for member in [*process.children(recursive=True), process]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                member.kill()


def _created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return time.time()


def _write_status(process: Process) -> None:
    status = {
        "pid": process.pid,
        "created": process.created,
        "sandboxed": process.sandboxed,
        "stop_signal": process.stop_signal,
    }
    temporary = process.directory / "status.tmp"
    temporary.write_text(json.dumps(status), encoding="utf-8")
    temporary.replace(process.directory / "status.json")


def exit_code(returncode: int) -> int:
    """Docker's exit code: 128 + N after signal N, which Python says as -N."""
    return 128 - returncode if returncode < 0 else returncode
