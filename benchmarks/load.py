"""Load on an HTTP server over connections that are kept alive: when each answer came, after how long, and what failed.

Each connection sends its next request when the last one was answered. One thread waits for all of them, and
`httptools`, the parser that uvicorn uses, reads the answers. Tools like wrk do not tell when a slow answer came, and a
change of the model is to be told from the usual.
"""

from __future__ import annotations

import itertools
import json
import selectors
import socket
import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Self

import httptools

__all__ = ["Load", "post", "run"]

# Who answers later has failed.
PATIENCE = 10.0


@dataclass(frozen=True)
class Load:
    """What came of some load.

    Attributes:
        seconds: How long it was.
        answers: When each answer came, by the monotonic clock, and after how many seconds.
        failures: What came instead: a status other than 200, the name of an error.
        processor: How many seconds of processor the server took for it.
    """

    seconds: float
    answers: list[tuple[float, float]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    processor: float = 0.0

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.answers) / self.seconds

    def percentile(self, percent: int) -> float:
        """The seconds in which so many of a hundred answers came."""
        return statistics.quantiles([taken for _, taken in self.answers], n=100)[percent - 1]

    def between(self, begin: float, end: float) -> Load:
        """The answers that came within a time, with the failures of all of it."""
        return Load(end - begin, [each for each in self.answers if begin <= each[0] < end], self.failures)


def post(address: str, path: str, body: Any) -> bytes:
    """A request with a JSON body, as it goes over the wire."""
    content = json.dumps(body, ensure_ascii=False).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


def run(
    address: str, requests: Sequence[bytes], connections: int, seconds: float, end: threading.Event | None = None
) -> Load:
    """Ask a server over some connections for some seconds, or until an event."""
    supply, done = itertools.cycle(requests), Load(0)
    with ExitStack() as opened, selectors.DefaultSelector() as waiting:
        for _ in range(connections):
            connection = opened.enter_context(_Connection(address, waiting, done))
            connection.ask(next(supply))
        begin = now = time.monotonic()
        while now < begin + seconds and not (end and end.is_set()):
            ready = waiting.select(PATIENCE)
            if not ready:
                done.failures.append("no answer")
                break
            for key, _ in ready:
                if key.data.answered():
                    key.data.ask(next(supply))
            now = time.monotonic()
    return replace(done, seconds=now - begin)


class _Connection:
    """A connection, opened anew after a failure."""

    def __init__(self, address: str, waiting: selectors.BaseSelector, done: Load) -> None:
        host, port = address.rsplit(":", 1)
        self._server, self._waiting, self._done = (host, int(port)), waiting, done
        self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._begin, self._complete = time.monotonic(), False
        with suppress(OSError):  # it is read as a failure
            self._socket.sendall(request)

    def answered(self) -> bool:
        """Read what has come; whether there is nothing more to wait for."""
        try:
            data = self._socket.recv(1 << 20)
            if not data:
                raise ConnectionResetError
            self._parser.feed_data(data)
        except (OSError, httptools.HttpParserError) as error:
            self._done.failures.append(type(error).__name__)
            self._reopen()
            return True
        if not self._complete:
            return False
        now, status = time.monotonic(), self._parser.get_status_code()
        if status == 200:
            self._done.answers.append((now, now - self._begin))
        else:
            self._done.failures.append(str(status))
        if not self._parser.should_keep_alive():
            self._reopen()
        return True

    def on_message_complete(self) -> None:
        """Called by the parser at the end of an answer."""
        self._complete = True

    def _open(self) -> None:
        self._socket = socket.create_connection(self._server, PATIENCE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._parser = httptools.HttpResponseParser(self)
        self._waiting.register(self._socket, selectors.EVENT_READ, self)

    def _reopen(self) -> None:
        self._waiting.unregister(self._socket)
        self._socket.close()
        self._open()
