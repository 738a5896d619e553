"""The reference stack in Docker: by plain Compose, by Gigogne, and nested, with the results of the process engine."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from docker import DockerClient
from tests.conftest import Workspace, healthy
from tests.stack.conftest import ESCAPED, PASSWORD, S3, SECRETS, copy_stack

from gigogne.compose.binary import compose_binary

pytestmark = pytest.mark.docker

BUCKET, KEY = "fraud-detection-2-bucket", "data/validated.csv"
JOBS = ("extractor_sql", "confirm", "logger_sql", "simulator")


@dataclass(frozen=True)
class Seen:
    """What a run of the stack leaves: exit codes, the table's rows as one digest, the object, the files' digests."""

    codes: dict[str, int]
    rows: tuple[int, str]
    validated: str
    landing: list[str]


@pytest.fixture
def stack(workspace: Workspace) -> Iterator[Workspace]:
    """The stack as a project of its own name, on an address of its own."""
    name = f"stack-docker-{os.getpid()}"
    copy_stack(workspace.folder, name)
    workspace.environment |= {
        **SECRETS,
        "COMPOSE_PROJECT_NAME": name,
        "BIND_ADDRESS": f"127.2.{os.getpid() // 256 % 256}.{os.getpid() % 256}",
        "POSTGRES_PASSWORD": PASSWORD,
        "LOGGER_SQL_URI": f"postgresql://postgres:{ESCAPED}@postgres:5432/mlops",
        "TRANSACTIONS": "2000",
        "DEMO_MODE": "1",
    }
    # Whoever nests first builds the image that it is done in.
    workspace.patience = 300
    yield workspace


def by_compose(stack: Workspace, engine: DockerClient) -> dict[str, int]:
    """`docker compose up` of the pipeline; the exit codes of the jobs."""

    def compose(*words: str) -> None:
        command, environment = [str(compose_binary()), *words], {**os.environ, **stack.environment}
        done = subprocess.run(command, cwd=stack.folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    compose("up", "-d", "--build", JOBS[0])
    project, codes = stack.environment["COMPOSE_PROJECT_NAME"], {}
    for job in JOBS:
        codes[job] = engine.containers.get(f"{project}-{job}-1").wait(timeout=60)["StatusCode"]
    compose("down")
    return codes


def by_gigogne(stack: Workspace, *before: str) -> dict[str, int]:
    """`gigogne run`, perhaps behind other words; the exit codes of the jobs."""
    result = stack.run(*before, "run", "--json", "extractor_sql")
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    summary = json.loads(result.stdout.splitlines()[-1])
    return {each["service"]: each["code"] for each in summary["services"] if each["kind"] == "job"}


def look(stack: Workspace, codes: dict[str, int], landing: list[str]) -> Seen:
    """What the servers hold, kept up by `gigogne up` on the engine of the workspace."""
    address = stack.environment["BIND_ADDRESS"]
    with stack.start("up", "--json", "postgres", "minio") as up, healthy(up, "postgres", "minio"):
        with psycopg.connect(f"postgresql://postgres:{ESCAPED}@{address}:5432/mlops") as connection:
            rows = connection.execute(
                "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY trans_num)) FROM fraud_detection_2_table t"
            ).fetchone()
        client = S3(f"http://{address}:9000", "minio", "stack-secret", BUCKET).client()
        body = client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read()
        client.close()
    assert rows is not None
    return Seen(codes, (rows[0], rows[1]), hashlib.sha256(body).hexdigest(), landing)


def digests(folder: Path) -> list[str]:
    """As `sha256sum` prints them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [f"{hashlib.sha256(f.read_bytes()).hexdigest()}  ./{f.relative_to(folder)}" for f in files]


def test_three_ways_with_one_result(stack: Workspace, docker_engine: DockerClient) -> None:
    """Compose, `--engine docker` and `gigogne nest` leave the codes, rows, files and objects of the process engine."""
    project = stack.environment["COMPOSE_PROJECT_NAME"]
    codes = by_gigogne(stack)
    expected = look(stack, codes, digests(stack.volume(f"{project}_landing")))
    assert expected.codes == dict.fromkeys(JOBS, 0) and expected.rows[0] == 2000 and expected.landing
    stack.run("down", "-v")

    stack.environment["GIGOGNE_ENGINE"] = "docker"
    ways: dict[str, Callable[[], dict[str, int]]] = {
        "docker compose up": lambda: by_compose(stack, docker_engine),
        "gigogne run --engine docker": lambda: by_gigogne(stack),
        "gigogne nest -- gigogne run": lambda: by_gigogne(stack, "nest", "--", "gigogne"),
    }
    for way, run in ways.items():
        began = time.monotonic()
        codes = run()
        listed = docker_engine.containers.run(
            "busybox:1.36",
            ["sh", "-c", "cd /landing && find . -type f | sort | xargs sha256sum"],
            volumes={f"{project}_landing": {"bind": "/landing", "mode": "ro"}},
            remove=True,
        )
        assert look(stack, codes, listed.decode().splitlines()) == expected, way
        assert stack.run("down", "-v").returncode == 0
        print(f"{way}: {time.monotonic() - began:.0f} s")
