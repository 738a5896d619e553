"""Airflow's own database: a PostgreSQL, since under SQLite who waits for a lock may be who holds another up."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from tests.conftest import healthy

__all__ = ["Database", "running_database"]

_COMPOSE = """\
services:
  postgres:
    image: postgres:17
    # A scheduler that was killed leaves its connection to the workers that it had forked, with what it had locked.
    command: [-c, fsync=off, -c, max_connections=300, -c, idle_in_transaction_session_timeout=15s]
    environment: {POSTGRES_USER: airflow, POSTGRES_PASSWORD: airflow}
    ports: ["127.0.0.1:%d:5432"]
    healthcheck: {test: [CMD, pg_isready, -q, -U, airflow], interval: 1s}
"""


@dataclass(frozen=True)
class Database:
    """One server, on a port of 127.0.0.1; it has the databases that were made."""

    port: int

    def url(self, name: str = "airflow", driver: str = "postgresql") -> str:
        """The address of a database."""
        return f"{driver}://airflow:airflow@127.0.0.1:{self.port}/{name}"

    def settings(self, name: str = "airflow") -> dict[str, str]:
        """The variables by which Airflow finds a database."""
        url = self.url(name, "postgresql+psycopg")
        return {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": url, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN_ASYNC": url}

    def copy(self, name: str, new: str) -> None:
        """Make a new database as another one is, to which nobody is connected."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(new), sql.Identifier(name))
            )

    def dump(self, *, but: str) -> str:
        """Every row of Airflow's tables as text, but those of one table."""
        with psycopg.connect(self.url()) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            copies = (
                connection.execute(sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name)))
                for (name,) in tables
                if name != but
            )
            return "\n".join(row for copy in copies for (row,) in copy)


@contextmanager
def running_database(port: int) -> Iterator[Database]:
    """A server for as long as this holds, by Gigogne without Docker."""
    with tempfile.TemporaryDirectory(prefix="gigogne-database-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)  # the server may run as nobody
        Path(folder, "docker-compose.yml").write_text(_COMPOSE % port, encoding="utf-8")
        settings = {
            "GIGOGNE_DATA_DIR": f"{folder}/data",
            "GIGOGNE_ENGINE": "process",
            "COMPOSE_PROJECT_NAME": Path(folder).name.lower().replace("_", "-"),
        }
        with (
            subprocess.Popen(
                [sys.executable, "-m", "gigogne", "up", "--json", "postgres"],
                cwd=folder,
                env={**os.environ, **settings},
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
            ) as up,
            healthy(up, "postgres"),
        ):
            yield Database(port)
