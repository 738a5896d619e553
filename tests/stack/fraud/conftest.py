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

SOURCES = Path(__file__).parents[3] / "src"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def environment(**variables: object) -> dict[str, str]:
    """A clean environment for a module: nothing of the caller's settings leaks in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    given = {name: str(value) for name, value in variables.items()}
    return {**kept, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "utf-8", **given}


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a module and leave it running; what is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def launch(module: str, **variables: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"fraud.{module}"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, env=environment(**variables), stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    yield launch
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def run() -> Run:
    """Run a module to its end."""

    def launch(module: str, **variables: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", f"fraud.{module}"]
        return subprocess.run(
            command, env=environment(**variables), capture_output=True, text=True, timeout=120, check=False
        )

    return launch


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
