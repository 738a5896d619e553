"""The stand-ins do what the official images document, as far as README.md beside this says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import docker
import psycopg
import psycopg.errors
import pymongo
import pymongo.errors
import pytest
from docker.models.containers import Container

pytestmark = pytest.mark.docker

PASSWORD = "p$a'ss\"wö rd"
_Answer = TypeVar("_Answer")


@contextmanager
def server(engine: docker.DockerClient, image: str, **options: Any) -> Iterator[Container]:
    """A container of an image; it and its anonymous volumes are removed in the end."""
    container = engine.containers.run(image, detach=True, **options)
    try:
        yield container
    finally:
        container.remove(force=True, v=True)


def port(container: Container, inside: str) -> int:
    """Where a published port is on this machine."""
    container.reload()
    published = container.ports[inside]
    assert published
    return int(published[0]["HostPort"])


def eventually(ask: Callable[[], _Answer], failure: type[Exception]) -> _Answer:
    """The first answer of a server that starts."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return ask()
        except failure:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_postgres_takes_its_variables_and_scripts_and_keeps_its_data(
    docker_engine: docker.DockerClient, tmp_path: Path
) -> None:
    """User, password from a file, database, initdb's arguments and scripts; SIGINT is a clean stop; data stay."""
    tmp_path.chmod(0o755)
    (tmp_path / "password").write_text(PASSWORD)
    (tmp_path / "1.sql").write_text("CREATE TABLE seen (by text);")
    (tmp_path / "2.sh").write_text('psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO seen VALUES (\'sh\')"')
    options: dict[str, Any] = {
        "environment": {
            "POSTGRES_USER": "some one",
            "POSTGRES_PASSWORD_FILE": "/password",
            "POSTGRES_DB": "a b",
            "POSTGRES_INITDB_ARGS": "--data-checksums --locale 'C.UTF-8'",
        },
        "volumes": [
            f"{tmp_path}/password:/password:ro",
            f"{tmp_path}/1.sql:/docker-entrypoint-initdb.d/1.sql:ro",
            f"{tmp_path}/2.sh:/docker-entrypoint-initdb.d/2.sh:ro",
        ],
        "ports": {"5432/tcp": ("127.0.0.1", None)},
    }

    def rows(container: Container) -> tuple[str, str]:
        with psycopg.connect(
            host="127.0.0.1", port=port(container, "5432/tcp"), user="some one", password=PASSWORD, dbname="a b"
        ) as connection:
            found = connection.execute("SELECT by, current_setting('data_checksums') FROM seen").fetchall()
        (row,) = found
        return row[0], row[1]

    with server(docker_engine, "postgres:17", **options) as container:
        assert eventually(lambda: rows(container), psycopg.OperationalError) == ("sh", "on")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(host="127.0.0.1", port=port(container, "5432/tcp"), user="some one", password="no")
        container.stop()
        assert container.wait()["StatusCode"] == 0
        container.start()
        assert eventually(lambda: rows(container), psycopg.OperationalError) == ("sh", "on")


def test_postgres_without_a_password_ends(docker_engine: docker.DockerClient) -> None:
    """It ends at once, and says which variable it lacks."""
    with server(docker_engine, "postgres:17") as container:
        assert container.wait(timeout=30)["StatusCode"] == 1
        assert b"POSTGRES_PASSWORD" in container.logs()


def test_mongo_asks_for_its_root_user_and_keeps_its_data(docker_engine: docker.DockerClient) -> None:
    """Nobody is let in without the password of the root user, and the data outlive the server."""

    def client(container: Container, **login: str) -> pymongo.MongoClient[dict[str, Any]]:
        at = port(container, "27017/tcp")
        return pymongo.MongoClient("127.0.0.1", at, serverSelectionTimeoutMS=30_000, **login)  # type: ignore[arg-type]

    root = {"MONGO_INITDB_ROOT_USERNAME": "admin", "MONGO_INITDB_ROOT_PASSWORD": PASSWORD}
    with server(docker_engine, "mongo:7", environment=root, ports={"27017/tcp": ("127.0.0.1", None)}) as container:
        with client(container, username="admin", password=PASSWORD) as inside:
            inside["shop"]["products"].insert_one({"name": "lamp"})
        with client(container) as outside, pytest.raises(pymongo.errors.OperationFailure, match="auth"):
            outside["shop"]["products"].find_one()
        assert container.exec_run(["mongosh", "--quiet", "--eval", "db.adminCommand('ping')"]).exit_code == 0
        container.stop()
        container.start()
        with client(container, username="admin", password=PASSWORD) as inside:
            assert inside["shop"]["products"].count_documents({}) == 1
