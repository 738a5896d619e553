"""A session with the PostgreSQL that ``LOGGER_SQL_URI`` names, whose errors are one clear line each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import environ

import psycopg
from psycopg.conninfo import make_conninfo

from job.errors import JobError, SettingError
from job.postgres import EXAMPLE, first_line, malformed, parts_of
from job.settings import text

__all__ = ["VARIABLE", "Address", "session"]

VARIABLE = "LOGGER_SQL_URI"
"""What names the database."""
# SQLAlchemy's spelling names a driver after the scheme; `postgres://` is what hosting companies hand out.
SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://", re.IGNORECASE)
CONNECT_TIMEOUT = 10
# One spelling for dates and numbers, whatever this server's or this user's defaults are.
SESSION = "SET datestyle = 'ISO, YMD'; SET timezone = 'UTC'; SET extra_float_digits = 1"


@dataclass(frozen=True)
class Address:
    """Where the database is. Prints itself without the password."""

    conninfo: str = field(repr=False)
    password: str = field(repr=False)
    user: str
    host: str
    name: str

    @classmethod
    def read(cls) -> Address:
        """The address in ``LOGGER_SQL_URI``."""
        uri = text(VARIABLE)
        if not uri:
            raise SettingError(f"{VARIABLE} is not set: write {VARIABLE}={EXAMPLE}")
        if not SCHEME.match(uri):
            raise SettingError(f"{VARIABLE} does not begin with postgresql://: write {VARIABLE}={EXAMPLE}")
        parts = parts_of(SCHEME.sub("postgresql://", uri, count=1), VARIABLE)
        if any("@" in str(parts.get(key, "")) for key in ("host", "dbname", "port")):
            raise malformed(VARIABLE)
        if "connect_timeout" not in parts and "PGCONNECT_TIMEOUT" not in environ:
            parts["connect_timeout"] = CONNECT_TIMEOUT
        host = str(parts.get("host") or environ.get("PGHOST", "localhost"))
        port = str(parts.get("port") or environ.get("PGPORT", "5432"))
        user = str(parts.get("user") or environ.get("PGUSER", "(default)"))
        return cls(
            conninfo=make_conninfo("", **parts),
            password=str(parts.get("password") or ""),
            user=user,
            host=f"{host}:{port}",
            name=str(parts.get("dbname") or environ.get("PGDATABASE") or user),
        )

    def explain(self, error: psycopg.Error) -> JobError:
        """The error as one line that says what and what to do, without the password."""
        if isinstance(error, psycopg.errors.UndefinedTable):
            missing = error.diag.message_primary or "a table is missing"
            return JobError(f"{missing} in database {self.name} on {self.host}: run logger_sql first")
        if error.sqlstate:
            said = error.diag.message_primary or str(error)
            return JobError(self._hidden(f"PostgreSQL on {self.host} says: {said}"))
        return JobError(self._hidden(f"lost the connection to PostgreSQL on {self.host}: {first_line(error)}"))

    def explain_refusal(self, error: psycopg.Error) -> JobError:
        """The same, for an error while connecting."""
        said = first_line(error)
        if "password" in said:
            told = f"PostgreSQL on {self.host} refused the user {self.user}: wrong user name or password"
            return JobError(f"{told}; correct {VARIABLE}")
        if "does not exist" in said:
            told = f"the database {self.name} or the user {self.user} does not exist on {self.host}"
            return JobError(f"{told}; create it, or correct {VARIABLE}")
        told = f"cannot reach PostgreSQL on {self.host}: {said}"
        return JobError(self._hidden(f"{told}; is it running, and is {VARIABLE} right?"))

    def _hidden(self, message: str) -> str:
        return message.replace(self.password, "***") if self.password else message


@contextmanager
def session(address: Address, program: str) -> Iterator[psycopg.Connection]:
    """A connection in autocommit: each transaction is opened where it is needed, with ``transaction()``."""
    try:
        connection = psycopg.connect(
            address.conninfo,
            autocommit=True,
            fallback_application_name=f"fraud.{program}",
            client_encoding="UTF8",
        )
    except psycopg.Error as error:
        raise address.explain_refusal(error) from None
    with connection:
        try:
            connection.execute(SESSION)
            yield connection
        except psycopg.Error as error:
            raise address.explain(error) from None
