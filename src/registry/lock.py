"""Locks between trainers, wherever they run: advisory locks of a PostgreSQL that all of them reach."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg.conninfo import make_conninfo

from job.postgres import first_line, parts_of
from job.progress import Progress
from registry.errors import RegistryError

__all__ = ["Database", "locked"]

CONNECT_TIMEOUT = 10


@dataclass(frozen=True)
class Database:
    """The PostgreSQL that has the locks. Prints itself without its address, which may hold a password.

    Attributes:
        uri: Its address.
        variable: The environment variable that names it, for messages.
        program: Who asks, as PostgreSQL shows it.
    """

    uri: str = field(repr=False)
    variable: str
    program: str


@contextmanager
def locked(database: Database, name: str, progress: Progress) -> Iterator[Callable[[], None]]:
    """Hold the lock of this name, and hand out a function that raises where it is held no more.

    It goes with the connection: a holder that is killed holds nothing, and one that lost its server does not know.

    Raises:
        SettingError: The address is none.
        RegistryError: PostgreSQL does not answer, refuses, or went away while the lock was held.
    """
    key = int.from_bytes(hashlib.sha256(f"gigogne.ml.{name}".encode()).digest()[:8], "big", signed=True)
    with closing(_connect(database)) as connection:

        def ask(function: LiteralString) -> bool:
            try:
                return connection.execute(f"SELECT {function}(%s)", [key]).fetchone() == (True,)
            except psycopg.Error as error:
                raise _lost(error) from None

        def check() -> None:
            # A lock may be taken more than once by who holds it.
            if not ask("pg_try_advisory_lock"):
                raise RegistryError("another trainer took the lock; train again")

        if not ask("pg_try_advisory_lock"):
            progress(f"waiting for another trainer, which holds the lock {name!r}")
            ask("pg_advisory_lock")
        yield check


def _connect(database: Database) -> psycopg.Connection:
    parts = parts_of(database.uri, database.variable)
    parts.setdefault("connect_timeout", CONNECT_TIMEOUT)
    where = f"PostgreSQL on {parts.get('host', 'localhost')}:{parts.get('port', 5432)}"
    try:
        return psycopg.connect(make_conninfo("", **parts), autocommit=True, fallback_application_name=database.program)
    except psycopg.Error as error:
        said = first_line(error)
        if "password" in said:
            raise RegistryError(f"{where} refused the user or the password: correct {database.variable}") from None
        hint = f"is it running (docker compose up -d postgres), and is {database.variable} right?"
        raise RegistryError(f"cannot reach {where}: {said}; {hint}") from None


def _lost(error: psycopg.Error) -> RegistryError:
    return RegistryError(f"lost the connection to PostgreSQL, and the lock with it: {first_line(error)}; train again")
