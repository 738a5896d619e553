"""Processes that outlive the one who started them, with their logs and their exit code in files.

A started process has a directory: `status.json` (who it is), `stdout.log`, `stderr.log` (what it said) and, under
bubblewrap, `bwrap.json` (the inner process, and the exit code in the end). So another Gigogne can find it, read it,
wait for it and stop it. Process ids are used again by the system, so an id counts only with its start time, and only
where it was given: another container counts from 1 anew.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from gigogne.engines.birth import birth_of, lives, process_of
from gigogne.engines.process.command import Command
from gigogne.engines.session import own_session

__all__ = ["Process", "Terms", "end_family", "end_session", "exit_code", "process_space", "spawn"]

_POLL, _LONGEST_POLL = 0.02, 0.3
# Bubblewrap reports its child within milliseconds; a loaded machine may take longer.
_CHILD_TIMEOUT = 5.0


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a service was started.

    Attributes:
        job: Whether it is a job.
        detached: Whether it outlives its starter.
        deadline: When it is then ended at the latest, in seconds since the epoch.
        attempt: Which try it is.
        labels: Who asked for it.
    """

    job: bool = False
    detached: bool = False
    deadline: float | None = None
    attempt: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


_PLAIN = Terms()


@dataclass(frozen=True, slots=True)
class Process:
    """A process by id and start, with its directory.

    Attributes:
        pid: Its id.
        created: When it was started, in seconds since the epoch.
        directory: Where its files are.
        sandboxed: Whether it is bubblewrap, with the service inside.
        stop_signal: The signal that asks it to end.
        birth: The same as the system tells it without the clock, which may be set meanwhile.
        space: Whose process ids these are; empty where the system has only one kind.
        terms: On which terms it was started.
        keeper: The id of the process that waits for it and writes its exit code down; 0 where its starter does.
        keeper_birth: When that was started, as `birth`.
        result: Where a job leaves its result on this machine; empty where it has no place for it.
    """

    pid: int
    created: float
    directory: Path
    sandboxed: bool
    stop_signal: int
    birth: float = 0.0
    space: str = ""
    terms: Terms = field(default_factory=Terms)
    keeper: int = 0
    keeper_birth: float = 0.0
    result: str = ""

    @classmethod
    def read(cls, directory: Path, name: str = "status.json") -> Process | None:
        """The process that a file in a directory names, or None where none was started, or another version did it."""
        try:
            status = json.loads((directory / name).read_text(encoding="utf-8"))
            terms = Terms(**status.pop("terms", {}))
            return cls(**status, directory=directory, terms=terms)
        except (OSError, ValueError, TypeError):
            return None

    @classmethod
    def note(cls, pid: int, directory: Path, name: str = "status.json") -> Process:
        """A process that is no service, written down in a directory for others to see whether it lives."""
        created, birth = _started(pid)
        process = cls(pid, created, directory, False, int(signal.SIGTERM), birth, process_space())
        process.write(name)
        return process

    def write(self, name: str = "status.json") -> None:
        """Write down who it is, whole or not at all."""
        status = asdict(self)
        del status["directory"]
        temporary = self.directory / f"{name}.tmp"
        temporary.write_text(json.dumps(status), encoding="utf-8")
        temporary.replace(self.directory / name)

    @property
    def detached_job(self) -> bool:
        """Whether it is a job that outlives its starter, and whose end somebody will ask for."""
        return self.terms.job and self.terms.detached

    @property
    def far(self) -> bool:
        """Whether it may live, but out of sight: its id is one of another container of this machine."""
        boot, own = self.space.partition(" ")[0], process_space()
        return self.space not in ("", own) and boot == own.partition(" ")[0]

    def alive(self) -> bool:
        """Whether it runs now, or its keeper has yet to write down how it ended."""
        if self.space not in ("", process_space()):
            return False
        if lives(self.pid, self.birth):
            return True
        return self.keeper > 0 and not self.seen_to() and lives(self.keeper, self.keeper_birth)

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

    def environment(self) -> dict[str, str] | None:
        """The variables that it was started with; None where it runs no more. Values are secret."""
        with contextlib.suppress(psutil.Error):
            process = self._psutil()
            return process.environ() if process is not None else None
        return None

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
        """Write its exit code down, whole or not at all, for those who are not its parent."""
        with contextlib.suppress(OSError):
            temporary = self.directory / "code.tmp"
            temporary.write_text(str(code), encoding="ascii")
            temporary.replace(self.directory / "code")

    def seen_to(self) -> bool:
        """Whether somebody has cleaned up after it, and written its exit code down."""
        return (self.directory / "code").exists()

    def code_left_behind(self) -> int | None:
        """The exit code that its supervisor or else bubblewrap wrote down."""
        with contextlib.suppress(OSError, ValueError):
            return int((self.directory / "code").read_text(encoding="ascii"))
        code = self._report().get("exit-code")
        return None if code is None else int(code)

    def signal(self, number: int) -> None:
        """Send a signal as Docker does: to process 1 of the container alone."""
        pid = self.inner_pid()
        if pid is None or self._psutil() is None:
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
        return process_of(self.pid, self.birth) if self.space in ("", process_space()) else None


def spawn(
    command: Command, directory: Path, terms: Terms = _PLAIN, *, kept: bool = False
) -> tuple[Process, subprocess.Popen[bytes]]:
    """Start the command in a session of its own, its output in files of `directory`.

    Args:
        command: The command.
        directory: The service's own.
        terms: On which terms it runs.
        kept: Whether the process that calls is its keeper.

    Raises:
        OSError: The program cannot be started.
    """
    directory.mkdir(parents=True, exist_ok=True)
    child = _open(command, directory)
    created, birth = _started(child.pid)
    process = Process(
        child.pid,
        created,
        directory,
        command.sandboxed,
        int(command.stop_signal),
        birth,
        process_space(),
        terms,
        os.getpid() if kept else 0,
        _started(os.getpid())[1] if kept else 0.0,
        str(command.result or ""),
    )
    try:
        process.write()
    except BaseException:  # a full disk: nobody would find it again
        process.kill()
        child.wait()
        raise
    return process, child


def _open(command: Command, directory: Path) -> subprocess.Popen[bytes]:
    """The command as a child, with its files; an argument that is to be read is a descriptor."""
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
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=dict(command.environment),
            cwd=command.directory,
            **options,
            **own_session(),
        )


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


def end_session(pid: int) -> None:
    """End what a process that has ended left behind in its session, as the end of a container would."""
    if sys.platform != "win32":
        for member in psutil.pids():  # a shell's jobs have groups of their own, in the same session
            with contextlib.suppress(ProcessLookupError, PermissionError):
                if os.getsid(member) == pid:
                    os.kill(member, signal.SIGKILL)


def _started(pid: int) -> tuple[float, float]:
    """When a process was started: in seconds since the epoch, and as the system tells it without the clock."""
    try:
        process = psutil.Process(pid)
        return process.create_time(), birth_of(process)
    except psutil.NoSuchProcess:
        return time.time(), 0.0


@functools.cache
def process_space() -> str:
    """Whose process ids this process sees: the start of the machine, and on Linux the container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def exit_code(returncode: int) -> int:
    """Docker's exit code: 128 + N after signal N, which Python says as -N."""
    return 128 - returncode if returncode < 0 else returncode
