"""The first start of MongoDB's stand-in, which makes its data directory, and in it the root user.

SecantusDB makes its first user for whoever asks while it runs without authentication. So it starts once on a port
that nobody knows; and before it is ended it tells how many connections it had, which must have been ours alone.
"""

from __future__ import annotations

import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.children import note_child
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded.mongod import MongodRequest
from gigogne.engines.process.embedded.opmsg import CommandError, Connection
from gigogne.engines.process.processes import Process, spawn
from gigogne.errors import EngineError

__all__ = ["end_leftover", "provision"]

_TIMEOUT = 60.0
_MECHANISMS = ("SCRAM-SHA-1", "SCRAM-SHA-256")


def provision(request: MongodRequest, command: Callable[[Endpoint], Command], watched: Path) -> None:
    """Let a server make its data directory, and the root user where one is asked for.

    Args:
        request: What the service asks for.
        command: The server's command without authentication, listening at an endpoint.
        watched: A directory that keeps which process it is, and its words.

    Raises:
        EngineError: The server does not start or refuses, or somebody else was there too.
    """
    at = _free_endpoint()
    try:
        process, child = spawn(command(at), watched)
        note_child(child)
        try:
            with _connected(at, process, watched) as connection:
                if request.user:
                    roles = [{"role": "root", "db": "admin"}]
                    user = {"createUser": request.user, "pwd": request.password, "roles": roles}
                    connection.command({**user, "mechanisms": _MECHANISMS})
                connections = connection.command({"serverStatus": 1})["connections"]["totalCreated"]
                if sys.platform != "win32":
                    # At once: a login or a command of somebody else takes longer. What it acknowledged is on the disk.
                    process.signal(signal.SIGKILL)
        finally:
            process.kill()
            child.wait()
    except (CommandError, OSError) as error:
        raise EngineError(
            f"SecantusDB did not make its data directory: {error}", "run it again; if it fails again, report it to us"
        ) from None
    if request.user and connections != 1:
        raise EngineError(
            "somebody else connected to the new MongoDB before it asked for passwords",
            "nothing of it was kept: find out which program of this machine tries all its ports, and run it again",
        )
    shutil.rmtree(watched, ignore_errors=True)


def end_leftover(watched: Path) -> None:
    """End the server of a first start that was killed."""
    process = Process.read(watched)
    if process is not None:
        process.kill()
        process.ended(_TIMEOUT)
    shutil.rmtree(watched, ignore_errors=True)


def _connected(at: Endpoint, process: Process, watched: Path) -> Connection:
    """A connection as soon as the server listens."""
    deadline = time.monotonic() + _TIMEOUT
    while process.alive() and time.monotonic() < deadline:
        try:
            return Connection(at)
        except OSError:
            time.sleep(0.02)
    last = "\n".join((watched / "stderr.log").read_text(encoding="utf-8", errors="replace").splitlines()[-4:])
    raise EngineError(f"SecantusDB does not start:\n{last}", "see its words above")


def _free_endpoint() -> Endpoint:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return Endpoint("127.0.0.1", probe.getsockname()[1])
