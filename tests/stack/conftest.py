"""The reference stack's own servers for its tests, as a user has them: kept up by `gigogne up postgres minio`, say."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uv
from tests.conftest import REPOSITORY, free_port, healthy

SOURCES = REPOSITORY / "src"
Run = Callable[..., "subprocess.CompletedProcess[str]"]
# A password that needs every kind of escape, and what it is in a URL.
PASSWORD, ESCAPED = "p@ss/w:rd", "p%40ss%2Fw%3Ard"
# What a stack with a BIND_ADDRESS wants to be told.
SECRETS = {
    "API_USERS_FILE": str(REPOSITORY / "docker" / "api" / "users"),
    "GRAFANA_PASSWORD": "stack-secret",
    "MINIO_ROOT_PASSWORD": "stack-secret",
    "MONGO_PASSWORD": "stack-secret",
    "POSTGRES_PASSWORD": "stack-secret",
    "SCORER_USERS_FILE": str(REPOSITORY / "docker" / "fraud" / "scorer" / "users"),
}


def copy_stack(folder: Path, name: str) -> None:
    """What a fresh clone has, into an empty folder; with a network of its own, since two stacks on one would mix."""
    for file in (*REPOSITORY.glob("docker-compose*.yml"), REPOSITORY / "pyproject.toml"):
        text = file.read_text(encoding="utf-8").replace("mlops-network", f"{name}-network")
        (folder / file.name).write_text(text, encoding="utf-8")
    for each in ("README.md", "LICENSE", ".dockerignore"):
        shutil.copy2(REPOSITORY / each, folder / each)
    for each in ("dags", "docker", "pipelines", "src"):
        shutil.copytree(REPOSITORY / each, folder / each, ignore=shutil.ignore_patterns("__pycache__"))


def environment(**variables: object) -> dict[str, str]:
    """A clean environment for a module: nothing of the caller's settings leaks in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "SYSTEMROOT") if name in os.environ}
    given = {name: str(value) for name, value in variables.items()}
    return {**kept, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": "utf-8", **given}


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
            **SECRETS,
            "GIGOGNE_DATA_DIR": data,
            "GIGOGNE_ENGINE": "process",
            "COMPOSE_PROJECT_NAME": Path(data).name.lower().replace("_", "-"),
            # Tests run side by side, and one of them may have servers of its own beside its session's.
            "BIND_ADDRESS": f"127.{16 + secrets.randbelow(32)}.{secrets.randbelow(256)}.{1 + secrets.randbelow(254)}",
            "POSTGRES_PASSWORD": PASSWORD,
            "MINIO_ROOT_USER": "stack",
            "MONGO_PASSWORD": PASSWORD,
            "MLFLOW_PORT": str(free_port()),
        }
        up = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "-f", file, "up", "--json", *names],
            cwd=REPOSITORY,
            env={**os.environ, **settings},
            stdout=subprocess.PIPE,
            text=True,
        )
        with healthy(up, *names) as addresses:
            yield addresses


@contextmanager
def servers() -> Iterator[Servers]:
    """PostgreSQL and S3, up for as long as this holds, on data of their own."""
    with kept_up("docker-compose-mlflow.yml", "postgres", "minio") as at:
        url = f"postgresql://postgres:{ESCAPED}@{at['postgres']}/postgres"
        yield Servers(url, S3(f"http://{at['minio']}", "stack", "stack-secret", "fraud-detection-2-bucket"))


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start a module, `fraud.simulator` say, and leave it running; what is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def launch(module: str, **variables: object) -> subprocess.Popen[str]:
        command, pipe = [sys.executable, "-m", module], subprocess.PIPE
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
    """Run a module, `fraud.simulator` say, to its end."""

    def launch(module: str, **variables: object) -> subprocess.CompletedProcess[str]:
        command, settings = [sys.executable, "-m", module], environment(**variables)
        return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=120, check=False)

    return launch


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


@pytest.fixture(scope="session")
def install(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Makes the environment of a dependency group, as the image of that group has it; returns its Python."""

    def make(group: str) -> str:
        folder = tmp_path_factory.mktemp(group)
        program = uv.find_uv_bin()
        subprocess.run([program, "venv", "--quiet", "--python", sys.executable, folder / "venv"], check=True)
        python = folder / "venv" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
        # Byte code is written by the first run, of what it imports: all of it would take half a minute.
        command = [program, "pip", "install", "--quiet", "--python", str(python), "--group", group]
        subprocess.run(command, cwd=REPOSITORY, check=True)
        return str(python)

    return make
