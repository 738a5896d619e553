"""The portable way's rewriting: only what is a path is a path, only what is an address is an address."""

from __future__ import annotations

import pytest

from gigogne.engines.process.portable import rewrite_hosts, rewrite_paths

TABLE = {"/data": "/host/v", "/data/in": "/host/in", "/app": "/host/app", "/opt/venv": "/host/env"}
HOSTS = {"postgres": "127.77.0.2", "minio": "127.77.0.3", "mlflow-server": "127.77.0.4"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", "/host/v"),
        ("/data/x.csv", "/host/v/x.csv"),
        ("/data/in/x", "/host/in/x"),
        ("/database/x", "/database/x"),
        ("/data.bak", "/data.bak"),
        ("s3://bucket/data/x", "s3://bucket/data/x"),
        ("http://host/app/", "http://host/app/"),
        ("file:///data/x", "file:///host/v/x"),
        ("--out=/data/x", "--out=/host/v/x"),
        ("/opt/venv/bin:/usr/bin:/app", "/host/env/bin:/usr/bin:/host/app"),
        ("cat /data/a '/app/b'", "cat /host/v/a '/host/app/b'"),
        ("./data", "./data"),
        ("nothing", "nothing"),
    ],
)
def test_paths(text: str, expected: str) -> None:
    """A path of the table is replaced where a word begins, whole components only."""
    assert rewrite_paths(text, TABLE) == expected


def test_paths_of_windows() -> None:
    """Drives, backslashes and spaces of the other side arrive as they are."""
    table = {"/data": r"C:\Users\Zoë B\gigogne\volumes\x", "/app": r"D:\app"}
    assert rewrite_paths("/data/x.csv", table) == r"C:\Users\Zoë B\gigogne\volumes\x/x.csv"
    assert rewrite_paths("--in=/app --out=/data", table) == r"--in=D:\app --out=C:\Users\Zoë B\gigogne\volumes\x"


@pytest.mark.parametrize(
    ("text", "bare", "expected"),
    [
        ("http://minio:9000", False, "http://127.77.0.3:9000"),
        ("http://mlflow-server:5000/api", False, "http://127.77.0.4:5000/api"),
        (
            "postgresql://postgres:postgres@postgres:5432/postgres",
            False,
            "postgresql://postgres:postgres@127.77.0.2:5432/postgres",
        ),
        ("postgresql://postgres:pw@postgres/mlops", False, "postgresql://postgres:pw@127.77.0.2/mlops"),
        ("postgres:5432", False, "127.77.0.2:5432"),
        ("a=1,minio:9000,postgres:5432", False, "a=1,127.77.0.3:9000,127.77.0.2:5432"),
        ("host=postgres user=postgres", False, "host=127.77.0.2 user=postgres"),
        ("postgres", False, "postgres"),
        ("postgres", True, "127.77.0.2"),
        ("http://my-minio:9000", False, "http://my-minio:9000"),
        ("http://minio.example:9000", False, "http://minio.example:9000"),
        ("s3://minio/data", False, "s3://minio/data"),
    ],
)
def test_hosts(text: str, bare: bool, expected: str) -> None:
    """A service's name is replaced in URLs, name:port and host=; elsewhere it is a user, a database, a word."""
    assert rewrite_hosts(text, HOSTS, bare=bare) == expected
