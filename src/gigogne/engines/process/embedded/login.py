"""A login to PostgreSQL, and nothing more: is the server up, and does it take this user's password?

The wheel's `psql` could tell, at 20 ms and a process each time, and its answer would have to be read from a
text. This speaks the few messages of protocol 3 that a login takes, with SCRAM-SHA-256.
"""

from __future__ import annotations

import hashlib
import socket
import struct
from dataclasses import dataclass

from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded.scram import Scram

__all__ = ["LoginError", "log_in"]


@dataclass(frozen=True)
class LoginError(Exception):
    """The server's refusal: its SQLSTATE (`28P01` is a wrong password) and its words."""

    state: str
    message: str


def log_in(at: Endpoint, *, user: str, password: str, database: str, timeout: float = 2.0) -> None:
    """Log in and leave.

    Raises:
        LoginError: The server refuses; the state says why.
        ValueError, KeyError: It does not prove that it knows the password.
        OSError: Nothing answers, or not as PostgreSQL does.
    """
    with socket.create_connection((at.address, at.port), timeout) as connection:
        fields = b"".join(
            part.encode() + b"\0" for part in ("user", user, "database", database, "application_name", "gigogne")
        )
        start = struct.pack("!i", 196608) + fields + b"\0"
        connection.sendall(struct.pack("!i", len(start) + 4) + start)
        _authenticate(_Stream(connection), user, password)
        connection.sendall(b"X\0\0\0\x04")


class _Stream:
    """Messages of the protocol."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    def send(self, body: bytes) -> None:
        self._connection.sendall(b"p" + struct.pack("!i", len(body) + 4) + body)

    def receive(self) -> tuple[bytes, bytes]:
        head = self._exactly(5)
        (length,) = struct.unpack("!i", head[1:])
        if not 4 <= length <= 1 << 20:
            raise ConnectionError("not PostgreSQL")
        body = self._exactly(length - 4)
        if head[:1] == b"E":
            fields = {part[:1]: part[1:].decode(errors="replace") for part in body.split(b"\0") if part}
            raise LoginError(fields.get(b"C", ""), fields.get(b"M", ""))
        return head[:1], body

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self._connection.recv(count - len(data))
            if not more:
                raise ConnectionError("the server closed the connection")
            data += more
        return data


def _authenticate(stream: _Stream, user: str, password: str) -> None:
    scram: Scram | None = None
    while True:
        kind, body = stream.receive()
        if kind == b"Z":  # ready for a query
            return
        if kind != b"R":
            continue
        (request,) = struct.unpack("!i", body[:4])
        if request == 3:
            stream.send(password.encode() + b"\0")
        elif request == 5:
            inner = hashlib.md5(password.encode() + user.encode(), usedforsecurity=False).hexdigest()
            outer = hashlib.md5(inner.encode() + body[4:8], usedforsecurity=False).hexdigest()
            stream.send(b"md5" + outer.encode() + b"\0")
        elif request == 10:
            scram = Scram("", password)
            first = scram.first().encode()
            stream.send(b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)
        elif request == 11 and scram:
            stream.send(scram.final(body[4:].decode()).encode())
        elif request == 12 and scram:
            scram.verify(body[4:].decode())
        elif request != 0:
            raise LoginError("", f"it asks for authentication method {request}")
