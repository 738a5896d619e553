"""What the catalogue's tests share: a MongoDB database of one's own, and the modules run as processes."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.database import Database
from tests.stack.conftest import ESCAPED

Document = dict[str, Any]


class Relay:
    """A way to a server that is cut, or held up, when so many bytes have passed; `mend` opens it for good."""

    def __init__(self, target: str, *, cut_after: int = -1, hold_after: int = -1) -> None:
        host, port = target.rsplit(":", 1)
        self._target = (host, int(port))
        self._limit, self._cuts = max(cut_after, hold_after), cut_after >= 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.reached, self._mended = threading.Event(), threading.Event()
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.passed = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def mend(self) -> None:
        """Let everything pass from now on."""
        self._mended.set()

    def close(self) -> None:
        """End every connection."""
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                if self.reached.is_set() and self._cuts and not self._mended.is_set():
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=(one, other), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket) -> None:
        with suppress(OSError):
            while data := one.recv(65_536):
                with self._lock:
                    self.passed += len(data)
                    if 0 <= self._limit < self.passed:
                        self.reached.set()
                if self.reached.is_set() and not self._mended.is_set():
                    if self._cuts:
                        break
                    self._mended.wait()
                other.sendall(data)
        for each in (one, other):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def relay(mongodb_address: str, mongodb_uri: str) -> Iterator[Callable[..., tuple[Relay, str]]]:
    """Makes a relay to the MongoDB; returns it and the MONGODB_URI by its way."""
    made: list[Relay] = []

    def make(**limit: int) -> tuple[Relay, str]:
        made.append(Relay(mongodb_address, **limit))
        return made[-1], mongodb_uri.replace(mongodb_address, made[-1].address)

    yield make
    for each in made:
        each.mend()
        each.close()


@pytest.fixture
def mongodb_uri(mongodb_address: str) -> str:
    """The address of an empty database of the test's own, for MONGODB_URI; it goes away with the server."""
    return f"mongodb://admin:{ESCAPED}@{mongodb_address}/t{uuid.uuid4().hex[:12]}?authSource=admin"


@pytest.fixture
def catalog(mongodb_uri: str) -> Iterator[Database[Document]]:
    """The test's own database, to look at and to fill."""
    with MongoClient[Document](mongodb_uri) as client:
        yield client.get_default_database()


@pytest.fixture
def real_listings() -> Path:
    """The folder of the real rows, X_train.csv and Y_train.csv, where GIGOGNE_REAL_DATA names its parent."""
    folder = os.environ.get("GIGOGNE_REAL_DATA")
    if not folder:
        pytest.skip("GIGOGNE_REAL_DATA is not set")
    return Path(folder) / "catalog"
