"""MongoDB's wire protocol, as much of it as a login takes: one command, one reply, and SCRAM over them.

A driver would be a dependency of every installation for the sake of one question: is the server up, and does it take
this user's password? The types of BSON are those that occur in the replies to a few administrative commands.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any

from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded.scram import Scram

__all__ = ["CommandError", "Connection"]

_OP_MSG = 2013
_HEAD = struct.Struct("<iiii")
_MAX = 48_000_000
# Types of BSON with a fixed length: struct's format of those that mean something here, else the number of bytes.
_FIXED: Mapping[int, struct.Struct | int] = {
    0x01: struct.Struct("<d"), 0x07: 12, 0x08: struct.Struct("<?"), 0x09: 8, 0x0A: 0, 0x10: struct.Struct("<i"),
    0x11: 8, 0x12: struct.Struct("<q"),
}  # fmt: skip


class CommandError(Exception):
    """The server's refusal of a command.

    Attributes:
        code: Its number (18 is a failed login).
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Connection:
    """A connection to a server; as a context manager, closed in the end.

    Raises:
        OSError: Nothing answers, or not as MongoDB does.
    """

    def __init__(self, at: Endpoint, timeout: float = 5.0) -> None:
        self._socket = socket.create_connection((at.address, at.port), timeout)

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def command(self, document: Mapping[str, Any], database: str = "admin") -> dict[str, Any]:
        """The reply to a command.

        Raises:
            CommandError: The server refuses it.
            OSError: It does not answer, or not as MongoDB does.
        """
        body = struct.pack("<IB", 0, 0) + _document({**document, "$db": database})
        self._socket.sendall(_HEAD.pack(_HEAD.size + len(body), 1, 0, _OP_MSG) + body)
        length, _, _, kind = _HEAD.unpack(self._exactly(_HEAD.size))
        if kind != _OP_MSG or not _HEAD.size + 10 <= length <= _MAX:
            raise ConnectionError("not MongoDB")
        try:
            reply: dict[str, Any] = _read_document(self._exactly(length - _HEAD.size)[5:])
        except (struct.error, UnicodeDecodeError, IndexError, ValueError) as error:
            raise ConnectionError(f"not MongoDB: {error}") from None
        if not reply.get("ok"):
            raise CommandError(reply.get("code", 0), reply.get("errmsg", ""))
        return reply

    def log_in(self, user: str, password: str) -> None:
        """Log in by SCRAM-SHA-256 as a user of the database `admin`.

        Raises:
            CommandError: The server refuses; 18 is a wrong name or password.
            OSError: It does not answer, or does not know the password either.
        """
        scram = Scram(user, password)
        options = {"skipEmptyExchange": True}
        start = {"saslStart": 1, "mechanism": "SCRAM-SHA-256", "payload": scram.first().encode(), "options": options}
        try:
            reply = self.command(start)
            final = scram.final(reply["payload"].decode())
            going_on = {"saslContinue": 1, "conversationId": reply["conversationId"]}
            reply = self.command({**going_on, "payload": final.encode()})
            scram.verify(reply["payload"].decode())
            if not reply["done"]:
                self.command({**going_on, "payload": b""})
        except (ValueError, KeyError, AttributeError) as error:
            raise ConnectionError(f"not MongoDB: {error}") from None

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self._socket.recv(count - len(data))
            if not more:
                raise ConnectionError("the server closed the connection")
            data += more
        return bytes(data)


def _document(values: Mapping[str, Any]) -> bytes:
    body = b"".join(_element(name, value) for name, value in values.items())
    return struct.pack("<i", len(body) + 5) + body + b"\0"


def _element(name: str, value: Any) -> bytes:
    if isinstance(value, bool):
        kind, data = 0x08, struct.pack("<?", value)
    elif isinstance(value, int):
        kind, data = 0x10, struct.pack("<i", value)
    elif isinstance(value, str):
        text = value.encode() + b"\0"
        kind, data = 0x02, struct.pack("<i", len(text)) + text
    elif isinstance(value, bytes):
        kind, data = 0x05, struct.pack("<iB", len(value), 0) + value
    elif isinstance(value, Mapping):
        kind, data = 0x03, _document(value)
    elif isinstance(value, Sequence):
        kind, data = 0x04, _document({str(number): each for number, each in enumerate(value)})
    else:
        raise TypeError(f"{type(value).__name__} is not a type that our commands use")
    return bytes([kind]) + name.encode() + b"\0" + data


def _read_document(data: bytes) -> dict[str, Any]:
    values: dict[str, Any] = {}
    rest = data[4 : struct.unpack_from("<i", data)[0] - 1]
    while rest:
        kind = rest[0]
        name, _, rest = rest[1:].partition(b"\0")
        values[name.decode()], rest = _read_value(kind, rest)
    return values


def _read_value(kind: int, data: bytes) -> tuple[Any, bytes]:
    """A value, and what comes after it. Of times and object ids, the bytes."""
    fixed = _FIXED.get(kind)
    if isinstance(fixed, struct.Struct):
        return fixed.unpack_from(data)[0], data[fixed.size :]
    if fixed is not None:
        return data[:fixed], data[fixed:]
    (length,) = struct.unpack_from("<i", data)
    if kind == 0x02:
        return data[4 : 3 + length].decode(), data[4 + length :]
    if kind == 0x05:
        return data[5 : 5 + length], data[5 + length :]
    if kind in (0x03, 0x04):
        inner = _read_document(data[:length])
        return (list(inner.values()) if kind == 0x04 else inner), data[length:]
    raise ValueError(f"a value of type {kind}")
