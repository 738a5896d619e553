"""What the fraud component's tests share: a database of one's own, and the modules run as processes."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from tests.stack.conftest import Run, environment


@pytest.fixture
def start(start: Callable[..., subprocess.Popen[str]]) -> Callable[..., subprocess.Popen[str]]:
    """Start a module of the component, `simulator` say, and leave it running."""
    return lambda module, **variables: start(f"fraud.{module}", **variables)


@pytest.fixture
def run(run: Run) -> Run:
    """Run a module of the component, `simulator` say, to its end."""
    return lambda module, **variables: run(f"fraud.{module}", **variables)


@pytest.fixture
def database(postgres_url: str) -> Iterator[str]:
    """The address of an empty database that goes away after the test."""
    with new_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def template(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database with 400 transactions of which none is confirmed, to copy."""
    with new_database(postgres_url) as url:
        settings = environment(LANDING_DIR=tmp_path_factory.mktemp("template"), LOGGER_SQL_URI=url)
        for module in ("simulator", "logger_sql"):
            command = [sys.executable, "-m", f"fraud.{module}"]
            subprocess.run(command, env={**settings, "TRANSACTIONS": "400"}, check=True)
        yield url


@pytest.fixture
def filled(postgres_url: str, template: str) -> Iterator[str]:
    """A database of the test's own with 400 transactions of which none is confirmed."""
    with new_database(postgres_url, template.rpartition("/")[2]) as url:
        yield url


@contextmanager
def new_database(postgres_url: str, template: str = "template1") -> Iterator[str]:
    """A database that is a copy of another one."""
    name, source = f"t{uuid.uuid4().hex[:12]}", sql.Identifier(template)
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), source)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(create)
    yield f"{postgres_url.rpartition('/')[0]}/{name}"
    # By a connection of its own: the test may have killed the server.
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """An empty landing folder."""
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture
def real_transactions() -> Path:
    """The real rows, where GIGOGNE_REAL_DATA names their folder."""
    folder = os.environ.get("GIGOGNE_REAL_DATA")
    if not folder:
        pytest.skip("GIGOGNE_REAL_DATA is not set")
    return Path(folder) / "fraud" / "transactions.csv"


@pytest.fixture
def query() -> Callable[[str, str], list[tuple[object, ...]]]:
    """Ask a database for rows."""

    def ask(url: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return ask
