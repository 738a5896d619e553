"""`NAME_FILE` variables of the official images: the secret is read where the service mounts it."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from botocore.session import get_session
from pymongo import MongoClient

from gigogne.core.model import Mount, MountType, Service
from gigogne.engines.process.embedded import embedded_server
from gigogne.engines.process.embedded.secret_files import secret_problems, with_secrets
from gigogne.errors import EngineError

from .conftest import Driver, places_of

PASSWORD = "kept-in-a-file é"


@pytest.fixture
def folder(home: Path) -> Path:
    """A directory of secrets, each with the line end that editors put."""
    directory = home / "secrets"
    directory.mkdir()
    for name, text in (("password", PASSWORD), ("user", "owner"), ("key", "key-of-s3-in-a-file")):
        (directory / name).write_text(f"{text}\n", encoding="utf-8")
    return directory


def secret(folder: Path, name: str) -> Mount:
    """What Compose makes of `secrets:` with a `file:`."""
    return Mount(MountType.BIND, str(folder / name), f"/run/secrets/{name}", read_only=True)


def test_postgres(driver: Driver, folder: Path) -> None:
    """PostgreSQL takes user, password and database from files; none of it shows."""
    (folder / "database").write_text("shop")
    environment = {f"POSTGRES_{name.upper()}_FILE": f"/run/secrets/{name}" for name in ("password", "user")}
    environment |= {"POSTGRES_DB_FILE": "/settings/database", "POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1"}
    mounts = (secret(folder, "password"), secret(folder, "user"), Mount(MountType.BIND, str(folder), "/settings"))
    service = Service("db", image="postgres", environment=environment, mounts=mounts)
    started = driver.start(service)
    with psycopg.connect(host=started.address, user="owner", password=PASSWORD, dbname="shop") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    shown = places_of("kept-in-a-file", started, driver.home)
    assert shown == [str(folder / "password")]


def test_secret_of_a_variable(driver: Driver) -> None:
    """A secret that is no file at all is read as well, and lies in none."""
    held = Mount(MountType.OTHER, "token", "/run/secrets/token", read_only=True, content=f"{PASSWORD}\n")
    environment = {"POSTGRES_PASSWORD_FILE": "/run/secrets/token", "POSTGRES_INITDB_ARGS": "--no-sync --wal-segsize=1"}
    started = driver.start(Service("db", image="postgres", environment=environment, mounts=(held,)))
    with psycopg.connect(host=started.address, user="postgres", password=PASSWORD, dbname="postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert places_of("kept-in-a-file", started, driver.home) == []


def test_minio(driver: Driver, folder: Path) -> None:
    """MinIO's stand-in takes its key from files; a bare name is one of /run/secrets, as in MinIO."""
    environment = {"MINIO_ROOT_USER_FILE": "user", "MINIO_ROOT_PASSWORD_FILE": "/run/secrets/key"}
    environment |= {"MINIO_DEFAULT_BUCKETS": "bucket"}
    mounts = (secret(folder, "key"), secret(folder, "user"))
    started = driver.start(Service("s3", image="minio/minio", environment=environment, mounts=mounts))
    client = get_session().create_client(
        "s3",
        endpoint_url=f"http://{started.at}",
        aws_access_key_id="owner",
        aws_secret_access_key="key-of-s3-in-a-file",
        region_name="us-east-1",
    )
    assert [bucket["Name"] for bucket in client.list_buckets()["Buckets"]] == ["bucket"]


def test_mongo(driver: Driver, folder: Path) -> None:
    """MongoDB's stand-in takes its root user from files."""
    environment = {
        "MONGO_INITDB_ROOT_USERNAME": "owner",
        "MONGO_INITDB_ROOT_PASSWORD_FILE": "/run/secrets/password",
    }
    started = driver.start(Service("db", image="mongo", environment=environment, mounts=(secret(folder, "password"),)))
    with MongoClient[dict[str, object]](
        started.address, started.at.port, username="owner", password=PASSWORD
    ) as client:
        assert client.list_database_names() == []
    assert places_of("kept-in-a-file", started, driver.home) == [str(folder / "password")]


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("postgres", "POSTGRES_PASSWORD"),
        ("postgres", "POSTGRES_USER"),
        ("minio/minio", "MINIO_ROOT_PASSWORD"),
        ("mongo", "MONGO_INITDB_ROOT_PASSWORD"),
    ],
)
def test_a_file_that_is_not_there(folder: Path, image: str, name: str) -> None:
    """A path that no mount holds, or where no file is, is refused by its key, with what to do."""
    server = embedded_server(image)
    assert server
    elsewhere = Service("db", image=image, environment={f"{name}_FILE": "/run/secrets/password"})
    missing = Service("db", image=image, environment={f"{name}_FILE": "/run/secrets/missing"},
                      mounts=(Mount(MountType.BIND, str(folder), "/run/secrets"),))  # fmt: skip
    for service in (elsewhere, missing):
        (found,) = [found for found in server.check(service) if found.fatal]
        assert found.where == f"services.db.environment.{name}_FILE"
        assert "/run/secrets/" in found.message and "mount one there" in found.hint


def test_both_are_refused(folder: Path) -> None:
    """A variable and its file at once are an error, as in the official images."""
    environment = {"POSTGRES_PASSWORD": "x", "POSTGRES_PASSWORD_FILE": "/run/secrets/password"}
    service = Service("db", image="postgres", environment=environment, mounts=(secret(folder, "password"),))
    (found,) = secret_problems(service, ("POSTGRES_PASSWORD",))
    assert "both set" in found.message


def test_the_innermost_mount_counts(folder: Path, tmp_path: Path) -> None:
    """A file mounted inside a mounted directory is the one that the container sees; a volume hides what is below."""
    (tmp_path / "other").write_text("of the file\n\n")
    outer = Mount(MountType.BIND, str(folder), "/run/secrets")
    inner = Mount(MountType.BIND, str(tmp_path / "other"), "/run/secrets/password")
    service = Service("db", environment={"X_FILE": "/run/secrets/password"}, mounts=(inner, outer))
    assert with_secrets(service, ("X",)).environment["X"] == "of the file"
    volume = Mount(MountType.VOLUME, "v", "/run/secrets/sub")
    hidden = Service("db", environment={"X_FILE": "/run/secrets/sub/password"}, mounts=(outer, volume))
    assert len(secret_problems(hidden, ("X",))) == 1
    with pytest.raises(EngineError, match="X_FILE"):
        with_secrets(hidden, ("X",))
