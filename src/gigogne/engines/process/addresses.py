"""A loopback address for each server, so that two PostgreSQLs can both listen on 5432.

The whole of 127.0.0.0/8 is this machine (RFC 1122, 3.2.1.3); Linux and Windows answer on all of it without any
set-up, macOS on 127.0.0.1 alone.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from zlib import crc32

__all__ = ["Endpoint", "bind_error", "holder", "server_addresses", "unanswered"]

# The last byte goes from 2 to 254: 0 and 255 look like a network and its broadcast, 1 is what people type by hand.
_FIRST, _SPAN = 2, 253
_ALL = 64 * 256 * _SPAN


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens on this machine."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def server_addresses(project: str, servers: Iterable[str]) -> dict[str, str]:
    """An address in 127.64.0.0/10 for each server, the same in each run of the same project.

    It comes from both names alone: a run finds a server that is up already, however many servers it knows beside that.
    Where two get one (of 12 servers, in one project of 60,000), the later name (alphabetically) gets the next.
    """
    taken: dict[int, str] = {}
    for name in sorted(servers):
        number = crc32(f"{project}/{name}".encode()) % _ALL
        while number in taken:
            number = (number + 1) % _ALL
        taken[number] = name
    return {name: _address(number) for number, name in taken.items()}


def _address(number: int) -> str:
    network, last = divmod(number, _SPAN)
    return f"127.{64 + network // 256}.{network % 256}.{_FIRST + last}"


def unanswered(addresses: Iterable[str]) -> list[str]:
    """Those of the addresses on which nothing can listen on this machine."""
    lost = []
    for address in addresses:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            try:
                listener.bind((address, 0))
            except OSError:
                lost.append(address)
    return lost


def bind_error(at: Endpoint) -> OSError | None:
    """Why nothing can listen at the endpoint now; None where it can."""
    family = socket.AF_INET6 if ":" in at.address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as servers do: a connection in TIME_WAIT does not hold the port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((at.address, at.port))
        except OSError as error:
            return error
    return None


def holder(at: Endpoint) -> str:
    """Who listens on the port, in words that follow "is taken"; empty where this user may not know."""
    import psutil  # only where something is wrong already

    try:
        connections = psutil.net_connections("tcp")
    except (psutil.Error, OSError):  # macOS tells only root
        return ""
    for connection in connections:
        local = connection.laddr
        if connection.status != psutil.CONN_LISTEN or not local or local.port != at.port:
            continue
        everywhere = ("0.0.0.0", "::")  # noqa: S104
        if at.address not in (*everywhere, local.ip) and local.ip not in everywhere:
            continue
        try:
            name = psutil.Process(connection.pid).name() if connection.pid else "a process of another user"
        except psutil.Error:
            name = "a process of another user"
        pid = f", process {connection.pid}" if connection.pid else ""
        return f" by {name}{pid}, listening on {local.ip}"
    return ""
