"""The MLflow server: without Docker, from an empty database, its files on S3; and what it refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.conftest import S3

SERVER = REPOSITORY / "docker" / "mlflow" / "bin" / "server.py"
API = "/api/2.0/mlflow"


@pytest.fixture
def stack(workspace: Workspace) -> Iterator[Workspace]:
    """The repository's files as a project of its own name, address and MLflow port; its data go with the test."""
    number = os.getpid()
    workspace.folder = REPOSITORY
    workspace.environment |= {
        "COMPOSE_PROJECT_NAME": f"mlflow-{number}",
        "BIND_ADDRESS": f"127.2.{number // 256 % 256}.{number % 256}",
        "MLFLOW_PORT": str(40_000 + number % 20_000),
        # Characters that a URL would want escaped.
        "POSTGRES_PASSWORD": "p@ss/w:rd",
        "MINIO_ROOT_PASSWORD": "stack-secret",
    }
    yield workspace
    workspace.run("-f", "docker-compose-mlflow.yml", "down", "-v")


@contextmanager
def kept_up(stack: Workspace) -> Iterator[dict[str, str]]:
    """`gigogne up mlflow-server`: the servers' addresses."""
    with stack.start("-f", "docker-compose-mlflow.yml", "up", "--json", "mlflow-server") as up:
        with healthy(up, "mlflow-server") as found:
            yield found
        assert up.returncode == 130


def ask(address: str, path: str, body: Any = None, **options: Any) -> Any:
    """What MLflow answers, as JSON."""
    data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", **options.pop("headers", {})}
    request = urllib.request.Request(f"http://{address}{path}", data, headers, **options)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as refusal:
        refusal.close()
        raise


def log_a_run(server: str) -> dict[str, Any]:
    """A run with a metric and a file; what MLflow knows of it."""
    experiment = ask(server, f"{API}/experiments/create", {"name": "trial"})["experiment_id"]
    run: dict[str, Any] = ask(server, f"{API}/runs/create", {"experiment_id": experiment})["run"]["info"]
    metric = {"run_id": run["run_id"], "key": "f1", "value": 0.5, "timestamp": 1}
    ask(server, f"{API}/runs/log-metric", metric)
    assert run["artifact_uri"].startswith("mlflow-artifacts:/")
    run["place"] = run["artifact_uri"].removeprefix("mlflow-artifacts:/").strip("/")
    ask(server, f"/api/2.0/mlflow-artifacts/artifacts/{run['place']}/card.md", b"# A model", method="PUT")
    return run


@pytest.mark.usefixtures("way")
def test_a_run_and_its_files(stack: Workspace) -> None:
    """From an empty database; the file is on S3, of which the client has no credentials; by no foreign name."""
    with kept_up(stack) as at:
        run = log_a_run(at["mlflow-server"])
        client = S3(f"http://{at['minio']}", "minio", "stack-secret", "mlflow").client()
        assert client.get_object(Bucket="mlflow", Key=f"{run['place']}/card.md")["Body"].read() == b"# A model"
        client.close()
        for name in ("evil.example.com", "127.evil.example.com"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                ask(at["mlflow-server"], f"{API}/experiments/get?experiment_id=0", headers={"Host": name})
        # What its own pages ask for, and others' pages.
        for origin, name in ((f"http://{at['mlflow-server']}", "own"), ("http://127.evil.example.com", "others")):
            refusal = pytest.raises(urllib.error.HTTPError, match="403") if name == "others" else nullcontext()
            with refusal:
                ask(at["mlflow-server"], f"{API}/experiments/create", {"name": name}, headers={"Origin": origin})


@pytest.mark.full
def test_what_was_logged_is_there_after_a_restart(stack: Workspace) -> None:
    """In PostgreSQL and on S3, not in the server."""
    with kept_up(stack) as at:
        run = log_a_run(at["mlflow-server"])
    with kept_up(stack) as at:
        found = ask(at["mlflow-server"], f"{API}/runs/get?run_id={run['run_id']}")["run"]["data"]["metrics"]
        assert [(each["key"], each["value"]) for each in found] == [("f1", 0.5)]


def refused(**variables: str) -> str:
    """What the server's program says when it does not start: one line."""
    environment = {"PATH": os.environ["PATH"], "MLFLOW_HOST": "localhost", "MLFLOW_PORT": "1", "PGPASSWORD": "secret-7"}
    settings = {"MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow", **variables}
    made = subprocess.run(
        [sys.executable, str(SERVER)], env={**environment, **settings}, capture_output=True, text=True, timeout=60
    )
    assert made.returncode == 1 and made.stdout == "" and "secret-7" not in made.stderr
    (line,) = made.stderr.splitlines()
    return line


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.168.1.20"])
def test_nobody_listens_to_all_without_a_password(address: str) -> None:
    """MLflow has none: an address that others reach is refused, unless somebody says by which names."""
    line = refused(BIND_ADDRESS=address, MLFLOW_BACKEND_STORE_URI="postgresql://127.0.0.1:1/mlflow")
    assert line.startswith(f"error: BIND_ADDRESS is {address}") and "MLFLOW_ALLOWED_HOSTS" in line
    allowed = refused(
        BIND_ADDRESS=address,
        MLFLOW_ALLOWED_HOSTS="mlflow.example.com",
        MLFLOW_BACKEND_STORE_URI="postgresql://127.0.0.1:1/mlflow",
    )
    assert "PostgreSQL" in allowed


def test_no_database_to_be_had() -> None:
    """A server that is down, and one that refuses: one line that says which variable to look at."""
    line = refused(BIND_ADDRESS="127.0.0.1", MLFLOW_BACKEND_STORE_URI="postgresql://127.0.0.1:1/mlflow")
    assert line.startswith("error: PostgreSQL: ") and line.endswith("is MLFLOW_BACKEND_STORE_URI right?")


@pytest.mark.parametrize(
    "address", ["mlflow:s3cret@%zz@db/x", "mlflow:p%ss3cret@db:5432/mlflow", "mlflow:p@s3cret@db/mlflow", "db:5432"]
)
def test_an_address_that_cannot_be_read(address: str) -> None:
    """A password may be anywhere in it: nothing of it is said."""
    line = refused(BIND_ADDRESS="127.0.0.1", MLFLOW_BACKEND_STORE_URI=f"postgresql+psycopg2://{address}")
    assert line.startswith("error: MLFLOW_BACKEND_STORE_URI cannot be read") and "s3cret" not in line


def test_a_driver_in_the_address() -> None:
    """SQLAlchemy's spelling is understood; no password is said when its server does not answer."""
    url = "postgresql+psycopg2://mlflow:s3cret@127.0.0.1:1/mlflow"
    line = refused(BIND_ADDRESS="127.0.0.1", MLFLOW_BACKEND_STORE_URI=url)
    assert line.startswith("error: PostgreSQL: ") and "s3cret" not in line
