"""The stack's own Airflow, in Docker and without: it boots and signs in, and its DAG makes the CSV of `gigogne run`."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.airflow.rest import Api
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.conftest import S3, SECRETS, copy_stack

from gigogne.compose.binary import compose_binary

BUCKET, KEY = "fraud-detection-2-bucket", "data/validated.csv"
# What a user names; the rest of Airflow comes with it.
NAMED = ("airflow-webserver", "airflow-scheduler", "airflow-postgres")
JOBS = ("simulator", "logger_sql", "confirm", "extractor_sql", "train_fraud")
TASKS = ("start_servers", *JOBS, "stop_servers")
PARTS = ("metadatabase", "scheduler", "triggerer", "dag_processor")
PASSWORD = "stack-secret"


@pytest.fixture
def checkout(workspace: Workspace) -> Workspace:
    """What a fresh clone has, as a project of its own name, network and address; its settings are in its `.env`."""
    name, address = f"stack-airflow-{os.getpid()}", f"127.4.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    copy_stack(workspace.folder, name)
    settings = {
        **SECRETS,
        "COMPOSE_PROJECT_NAME": name,
        "BIND_ADDRESS": address,
        "API_USERS_FILE": "./docker/api/users",
        "TRANSACTIONS": "40000",
    }
    write_env(workspace, settings)
    workspace.environment |= {"BIND_ADDRESS": address, "COMPOSE_PROJECT_NAME": name}
    return workspace


def write_env(checkout: Workspace, settings: dict[str, str]) -> None:
    """Add to the project's `.env`."""
    with (checkout.folder / ".env").open("a", encoding="utf-8") as file:
        file.writelines(f"{name}={value}\n" for name, value in settings.items())


def address(checkout: Workspace) -> str:
    """Where the ports of the project are."""
    return checkout.environment["BIND_ADDRESS"]


def validated(checkout: Workspace, **environment: str) -> str:
    """The digest of the CSV in the project's S3, whose server `gigogne up` keeps up meanwhile."""
    with checkout.start("up", "--json", "minio", **environment) as up, healthy(up, "minio"):
        client = S3(f"http://{address(checkout)}:9000", "minio", PASSWORD, BUCKET).client()
        try:
            body = client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
        finally:
            client.close()
    return hashlib.sha256(body).hexdigest()


def by_gigogne(checkout: Workspace) -> str:
    """The digest of the CSV that a bare `gigogne run` makes."""
    ran = checkout.run("run", "extractor_sql")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    digest = validated(checkout)
    assert checkout.run("down", "-v").returncode == 0
    return digest


def signed_in(checkout: Workspace, seconds: float) -> Api:
    """The API for admin / admin, once all parts of Airflow are healthy and have read the DAG."""
    api = Api(f"http://{address(checkout)}:8080", "admin", "admin")
    deadline = time.monotonic() + seconds
    while [api.health().get(part, {}).get("status") for part in PARTS] != ["healthy"] * len(PARTS):
        assert time.monotonic() < deadline, api.health()
        time.sleep(1)
    while not api.knows("fraud"):
        assert time.monotonic() < deadline, api.import_errors("fraud.py")
        time.sleep(1)
    assert not api.import_errors("fraud.py")
    return api


def run_dag(api: Api) -> None:
    """Trigger the DAG and see it succeed, after the run of the last hour that begins once it is not paused."""
    run = api.trigger("fraud", {})
    assert run.wait(600) == "success", {task: run.said(task) for task in ("start_servers", "train_fraud")}
    assert run.states() == dict.fromkeys(TASKS, "success")
    assert "fraud-detector version 1" in str(run.xcom("train_fraud"))


def compose(checkout: Workspace, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`docker compose`, as the README of the stack says."""
    # Not the workspace's variables, which are Gigogne's: what Airflow's containers know, they have from the `.env`.
    command = [str(compose_binary()), *words]
    return subprocess.run(
        command, cwd=checkout.folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=500
    )


@contextmanager
def in_docker(checkout: Workspace) -> Iterator[None]:
    """`docker compose up -d` of what a user names, and its end."""
    try:
        up = compose(checkout, "up", "-d", "--build", *NAMED)
        assert up.returncode == 0, up.stderr + compose(checkout, "logs", "airflow-init").stdout
        yield
    finally:
        compose(checkout, "down", "-v", "--timeout", "5")


@contextmanager
def without_docker(checkout: Workspace, log: Path) -> Iterator[None]:
    """`gigogne up` of what a user names, and its end by Ctrl-C."""
    with log.open("w", encoding="utf-8") as file:
        up = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "up", *NAMED],
            cwd=checkout.folder,
            env={**os.environ, **checkout.environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )
    try:
        yield
    finally:
        up.send_signal(signal.SIGINT)
        try:
            assert up.wait(120) == 130
        finally:
            print(log.read_text(encoding="utf-8")[-5000:])


def test_each_file_stands_alone() -> None:
    """Docker Compose accepts every file of the stack by itself, and all of them by their include."""
    files = sorted(REPOSITORY.glob("docker-compose*.yml"))
    assert len(files) > 3
    for file in files:
        read = subprocess.run([str(compose_binary()), "-f", str(file), "config", "-q"], capture_output=True, text=True)
        assert read.returncode == 0, read.stderr


@pytest.mark.usefixtures("way")
def test_airflow_needs_no_docker(checkout: Workspace) -> None:
    """The process engine refuses nothing of Airflow's services, also on a machine that has no Docker socket."""
    write_env(checkout, {"DOCKER_SOCKET": "/nowhere/docker.sock"})
    checked = checkout.run("check", "--json", *NAMED)
    problems = [json.loads(line) for line in checked.stdout.splitlines()]
    # Another test's Airflow may have the port at this moment.
    fatal = [each for each in problems if each.get("fatal") and "port 8080" not in each["message"]]
    assert problems and not fatal


@pytest.mark.full
@pytest.mark.docker
@pytest.mark.timeout(900)
def test_in_docker(checkout: Workspace) -> None:
    """Containers of Airflow run the DAG in containers beside them: as without Airflow, the CSV is on S3."""
    write_env(checkout, {"DOCKER_GID": str(Path("/var/run/docker.sock").stat().st_gid)})
    expected = by_gigogne(checkout)
    with in_docker(checkout):
        run_dag(signed_in(checkout, 240))
        assert validated(checkout, GIGOGNE_ENGINE="docker") == expected
        refused = {
            "BIND_ADDRESS": ("0.0.0.0", "set AIRFLOW_SECRETS"),
            "DOCKER_GID": ("12345", "write DOCKER_GID="),
        }
        for variable, (value, fix) in refused.items():
            started = compose(checkout, "run", "--rm", "--no-deps", "airflow-init", **{variable: value})
            assert started.returncode == 1 and fix in started.stdout + started.stderr


@pytest.mark.full
@pytest.mark.sandbox
@pytest.mark.timeout(900)
def test_without_docker(checkout: Workspace, tmp_path: Path) -> None:
    """The same services as processes, and the DAG's jobs as processes in their sandbox: the CSV is the same."""
    write_env(checkout, {"DOCKER_SOCKET": "/nowhere/docker.sock"})
    expected = by_gigogne(checkout)
    with without_docker(checkout, tmp_path / "up.log"):
        run_dag(signed_in(checkout, 400))
    inside = checkout.volume(f"{checkout.environment['COMPOSE_PROJECT_NAME']}_airflow-gigogne") / "data"
    assert validated(checkout, GIGOGNE_DATA_DIR=str(inside)) == expected
