"""Run a server that listens on a Unix socket (or a port of 127.0.0.1), and be its address for everybody else.

    python relay.py --listen 127.77.0.2:9000 --to unix:s3.sock [--bwrap] [--grace SECONDS] [--remove PATH]… -- COMMAND…

SeaweedFS takes a dozen fixed ports, also on 127.0.0.1, and most of its parts trust whoever reaches them. So it
runs in a network of its own (`--bwrap`), and this process carries the bytes of the one port that is for others.
It ends when the server ends, with its exit code, passes SIGTERM and SIGINT on, and takes the server with it when
it is killed.

It is started as a file by any Python, isolated (`-I -S`): only the standard library, and nothing of gigogne.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

__all__ = ["accept_for", "main"]

_PR_SET_PDEATHSIG = 1
_CHUNK = 256 * 1024
_SIGKILL = 9  # not in `signal` on Windows, where any signal ends a process at once


def _connect(target: str) -> socket.socket:
    kind, _, place = target.partition(":")
    if kind == "unix":
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(place)
        except OSError:
            connection.close()
            raise
        return connection
    host, _, port = place.rpartition(":")
    return socket.create_connection((host, int(port)))


def _copy(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end. Only half of the connection ends with it."""
    buffer = memoryview(bytearray(_CHUNK))
    try:
        while count := source.recv_into(buffer):
            sink.sendall(buffer[:count])
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # one side is gone: so is the other, whatever it still had to say
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def _serve(client: socket.socket, target: str) -> None:
    with client:
        try:
            server = _connect(target)
        except OSError:  # not up yet: the client sees a closed connection, as it would see a refused one
            return
        with server:
            # Whatever is sent goes at once: waiting for more, one end would wait for the other's delayed answer, 40 ms.
            for end in (client, server):
                if end.family in (socket.AF_INET, socket.AF_INET6):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def accept_for(listener: socket.socket, target: str) -> None:
    """Carry every connection to the target, until the listener is closed."""
    while True:
        try:
            client, _ = listener.accept()
        except OSError:
            if listener.fileno() < 0:
                return
            continue  # a client that left before it was accepted
        threading.Thread(target=_serve, args=(client, target), daemon=True).start()


def _listen(place: str) -> socket.socket:
    host, _, port = place.rpartition(":")
    return socket.create_server((host, int(port)), backlog=256)


def _die_with_parent() -> Callable[[], None] | None:
    if not sys.platform.startswith("linux"):
        return None
    import ctypes

    library = ctypes.CDLL(None)
    return lambda: library.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) and None


def _start(command: list[str], behind_bwrap: bool) -> tuple[subprocess.Popen[bytes], int]:
    """The started server, and the process id that takes its signals: bubblewrap does not pass them on."""
    if not behind_bwrap:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent())
        return child, child.pid
    reader, writer = os.pipe()
    child = subprocess.Popen(
        [command[0], "--info-fd", str(writer), *command[1:]], stdin=subprocess.DEVNULL, pass_fds=(writer,)
    )
    os.close(writer)
    with os.fdopen(reader, encoding="utf-8") as stream:
        text = stream.read()
    return child, int(json.loads(text)["child-pid"]) if text else child.pid


def _kill(pid: int, number: int) -> None:
    with contextlib.suppress(OSError):
        os.kill(pid, number)


def _end_at_last(pid: int, grace: float) -> None:
    """Kill the server that is still there.

    SeaweedFS stops taking requests at once and writes what it has in a second or so, but then waits up to half a
    minute for unused connections between its own parts. Everything is with the system by then.
    """
    time.sleep(grace)
    _kill(pid, _SIGKILL)


def _remove(paths: list[str]) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path(path).unlink()


def main(arguments: list[str]) -> int:
    """Run it; the result is the server's exit code, 128 + N after signal N."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--listen", required=True)
    parser.add_argument("--to", required=True)
    parser.add_argument("--bwrap", action="store_true")
    parser.add_argument("--grace", type=float, default=4.0)
    parser.add_argument("--remove", action="append", default=[])
    parser.add_argument("command", nargs="+")
    options = parser.parse_args(arguments)
    try:
        listener = _listen(options.listen)
    except OSError as error:
        sys.stderr.write(f"cannot listen on {options.listen}: {error.strerror}\n")
        return 1
    # A signal that comes before the server can take it must not be lost: it waits for the handler.
    asked: list[int] = []
    pid = 0

    def pass_on(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        if pid:
            _kill(pid, signal.SIGTERM)
            threading.Thread(target=_end_at_last, args=(pid, options.grace), daemon=True).start()

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, pass_on)
    child, pid = _start(options.command, options.bwrap)
    if asked:
        pass_on(asked[0], None)
    threading.Thread(target=accept_for, args=(listener, options.to), daemon=True).start()
    code = child.wait()
    listener.close()
    _remove(options.remove)
    if asked and code in (-_SIGKILL, 128 + _SIGKILL):
        return 0  # it was asked to end, and has
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    threading.stack_size(256 * 1024)
    result = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(result)  # threads may still hold connections, and they are of no use any more
