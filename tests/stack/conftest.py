"""The reference stack's own servers for its tests, as a user has them: kept up by `gigogne up postgres minio`, say."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
# A password that needs every kind of escape, and what it is in a URL.
PASSWORD, ESCAPED = "p@ss/w:rd", "p%40ss%2Fw%3Ard"


@dataclass(frozen=True)
class S3:
    """An S3 server: where it is and who may use it."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which every AWS program finds it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A client for looking at what the modules wrote."""
        import botocore.session

        return botocore.session.get_session().create_client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
        )


@dataclass(frozen=True)
class Servers:
    """PostgreSQL (its maintenance database; the user may create others) and S3 (with its buckets)."""

    postgres_url: str
    s3: S3


@contextmanager
def kept_up(file: str, *names: str) -> Iterator[dict[str, str]]:
    """The addresses of servers of a Compose file, up for as long as this holds, on data of their own."""
    with tempfile.TemporaryDirectory(prefix="gigogne-stack-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)  # servers that refuse root may run as nobody
        settings = {
            "GIGOGNE_DATA_DIR": data,
            "GIGOGNE_ENGINE": "process",
            "COMPOSE_PROJECT_NAME": Path(data).name.lower().replace("_", "-"),
            # Tests run side by side, and one of them may have servers of its own beside its session's.
            "BIND_ADDRESS": f"127.{16 + secrets.randbelow(32)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}",
            "POSTGRES_PASSWORD": PASSWORD,
            "MINIO_ROOT_USER": "stack",
            "MINIO_ROOT_PASSWORD": "stack-secret",
            "MONGO_PASSWORD": PASSWORD,
            "MLFLOW_PORT": str(_free_port()),
        }
        up = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "-f", file, "up", "--json", *names],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield _addresses(up, set(names))
        finally:
            up.send_signal(signal.SIGINT)
            up.communicate(timeout=60)


def _free_port() -> int:
    """A port that nobody has: what is no embedded server listens on this machine's own addresses."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def _addresses(up: subprocess.Popen[str], names: set[str]) -> dict[str, str]:
    """Where the servers are, once all are healthy."""
    assert up.stdout is not None
    found: dict[str, str] = {}
    healthy: set[str] = set()
    for line in up.stdout:
        event = json.loads(line)
        if event["event"] == "started":
            found[event["service"]] = event["address"]
        if event["event"] == "healthy":
            healthy.add(event["service"])  # a busy server may be healthy, unhealthy, and healthy again
        if healthy >= names:
            return found
    raise RuntimeError("gigogne up ended before its servers were healthy")


@contextmanager
def servers() -> Iterator[Servers]:
    """PostgreSQL and S3, up for as long as this holds, on data of their own."""
    with kept_up("docker-compose-mlflow.yml", "postgres", "minio") as at:
        url = f"postgresql://postgres:{ESCAPED}@{at['postgres']}/postgres"
        yield Servers(url, S3(f"http://{at['minio']}", "stack", "stack-secret", "fraud-detection-2-bucket"))


@pytest.fixture(scope="session")
def both() -> Iterator[Servers]:
    """One of each for a session."""
    with servers() as up:
        yield up


@pytest.fixture(scope="session")
def postgres_url(both: Servers) -> str:
    """The address of a PostgreSQL's maintenance database; its user may create others."""
    return both.postgres_url


@pytest.fixture(scope="session")
def s3(both: Servers) -> S3:
    """An S3 server with the stack's empty buckets."""
    return both.s3


@pytest.fixture(scope="session")
def mongodb_address() -> Iterator[str]:
    """The address of a MongoDB, one for a session."""
    with kept_up("docker-compose-db.yml", "mongodb") as at:
        yield at["mongodb"]
