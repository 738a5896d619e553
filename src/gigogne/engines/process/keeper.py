"""The keeper of a service that outlives who started it: its parent, which writes down how it ended.

    python -P -m gigogne.engines.process.keeper DIRECTORY

The starter may end at any moment, or be killed; the keeper is out of its reach, and does what the end of a container
does: what is left in the service's session ends, its scratch goes, its exit code stays. The command arrives on
standard input, because its environment is secret; its last line, of JSON, says what became of it.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import psutil

from gigogne.engines.process.command import Command
from gigogne.engines.process.processes import Process, Terms, end_family, end_session, exit_code, spawn
from gigogne.engines.process.times import record_times
from gigogne.engines.session import own_session, reap
from gigogne.errors import EngineError

__all__ = ["keep", "main", "start"]


def start(command: Command, directory: Path, terms: Terms) -> tuple[Process, subprocess.Popen[bytes] | None]:
    """Start a service's command as its terms have it; the process, and where it has no keeper, itself as a child.

    Raises:
        OSError: The program cannot be started.
        EngineError: Its keeper cannot.
    """
    return (keep(command, directory, terms), None) if terms.detached else spawn(command, directory, terms)


def keep(command: Command, directory: Path, terms: Terms) -> Process:
    """Start the command under a keeper.

    Raises:
        OSError: The program cannot be started.
        EngineError: The keeper itself cannot.
    """
    argv = [sys.executable, "-P", "-m", "gigogne.engines.process.keeper", str(directory)]
    keeper = subprocess.Popen(
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        **own_session(),
    )
    assert keeper.stdin and keeper.stdout
    try:
        with keeper.stdout, contextlib.suppress(BrokenPipeError):
            with keeper.stdin:
                keeper.stdin.write(_as_json(command, terms))
            said = keeper.stdout.read().decode(errors="replace")
        process = _answered(said, directory)
    except BaseException:  # a time limit of Airflow's too: without a handle nobody could stop it
        with contextlib.suppress(psutil.NoSuchProcess):
            end_family(psutil.Process(keeper.pid))
        keeper.wait()
        raise
    reap(keeper)
    return process


def _answered(said: str, directory: Path) -> Process:
    last = (said.strip().splitlines() or ["no word of it"])[-1]  # Python may have had its warnings before
    try:
        error = json.loads(last)
    except ValueError:
        raise EngineError(f"the keeper of {directory.name} did not start: {last}", "report it to us") from None
    if error:
        raise OSError(error["errno"], error["strerror"], error["filename"])
    process = Process.read(directory)
    if process is None:
        raise EngineError(f"{directory} was removed while {directory.name} was started", "run it again")
    return process


def main(arguments: Sequence[str]) -> None:
    """Start the command that standard input names, and see it to its end."""
    directory = Path(arguments[0])
    command, terms = _from_json(sys.stdin.buffer.read())
    try:
        process, child = spawn(command, directory, terms, kept=True)
    except OSError as error:
        _answer({"errno": error.errno, "strerror": error.strerror, "filename": error.filename})
        return
    # What ends all others of this machine lets it write down how the service ended.
    for name in ("SIGHUP", "SIGINT", "SIGTERM"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    _answer(None)
    _see_to_the_end(process, child)


def _answer(error: dict[str, Any] | None) -> None:
    """Say what became of the command, and nothing after it; hold no file of the starter's."""
    sys.stdout.write(json.dumps(error))
    sys.stdout.flush()
    with open(os.devnull, "r+b", buffering=0) as nothing:  # noqa: PTH123
        for descriptor in range(3):
            os.dup2(nothing.fileno(), descriptor)


def _see_to_the_end(process: Process, child: subprocess.Popen[bytes]) -> None:
    over = threading.Event()
    recorder = threading.Thread(target=record_times, args=(process.directory, over.wait))
    recorder.start()
    code = exit_code(child.wait())
    if process.sandboxed:
        process.kill_inner()
    else:
        end_session(process.pid)
    over.set()
    recorder.join()
    shutil.rmtree(process.directory / "scratch", ignore_errors=True)
    process.leave_behind(code)
    os._exit(0)  # at once: nothing is left to do


def _as_json(command: Command, terms: Terms) -> bytes:
    given = {each.name: getattr(command, each.name) for each in fields(command)}
    for name in ("environment", "contents"):
        given[name] = dict(given[name])
    return json.dumps({"command": given, "terms": asdict(terms)}, default=str).encode()


def _from_json(text: bytes) -> tuple[Command, Terms]:
    given = json.loads(text)
    command, terms = given["command"], given["terms"]
    command |= {
        "argv": tuple(command["argv"]),
        "directory": Path(command["directory"]),
        "contents": {int(index): content for index, content in command["contents"].items()},
        "result": Path(command["result"]) if command["result"] else None,
    }
    return Command(**command), Terms(**terms)


if __name__ == "__main__":
    main(sys.argv[1:])
