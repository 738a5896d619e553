"""The reference stack through `gigogne run`: what a bare one does, and fraud: rows → a CSV on S3, nothing doubled."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.conftest import S3

BUCKET, KEY = "fraud-detection-2-bucket", "data/validated.csv"


@dataclass(frozen=True)
class Seen:
    """What the servers hold after a run."""

    rows: int
    distinct: int
    confirmed: int
    csv: list[list[str]]


@pytest.fixture
def stack(workspace: Workspace, tmp_path: Path) -> Iterator[Workspace]:
    """The repository's own files as a project of its own name, so that it meets nobody else's addresses."""
    workspace.folder = REPOSITORY
    workspace.environment["COMPOSE_PROJECT_NAME"] = f"stack-{tmp_path.name.replace('_', '-')[:40]}"
    yield workspace
    workspace.run("down", "-v")


def run(stack: Workspace, **environment: str) -> dict[str, Any]:
    """`gigogne run` of the fraud project; its summary."""
    result = stack.run("run", "--json", "extractor_sql", DEMO_MODE="1", **environment)
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr
    summary: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return summary


def said(summary: dict[str, Any], service: str) -> str:
    """The last line of a job."""
    return str(next(s["last_line"] for s in summary["services"] if s["service"] == service))


@contextmanager
def servers(stack: Workspace, summary: dict[str, Any]) -> Iterator[dict[str, str]]:
    """The servers of the stack kept up by `gigogne up`, as its summary tells a user to."""
    with stack.start("up", "--json", "postgres", "minio") as up:
        with healthy(up, "postgres", "minio"):
            yield summary["servers"]
        assert up.returncode == 130


def look(stack: Workspace, summary: dict[str, Any]) -> Seen:
    """What the table and the object hold."""
    with servers(stack, summary) as at:
        with psycopg.connect(f"postgresql://postgres:postgres@{at['postgres']}/mlops") as connection:
            query = "SELECT count(*), count(DISTINCT trans_num), count(fraud_confirmed) FROM fraud_detection_2_table"
            found = connection.execute(query).fetchone()
        assert found is not None
        rows, distinct, confirmed = found
        client = S3(f"http://{at['minio']}", "minio", "minio123456", BUCKET).client()
        body = client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read().decode()
        client.close()
    return Seen(rows, distinct, confirmed, list(csv.reader(io.StringIO(body))))


def test_a_bare_run_is_both_projects(stack: Workspace) -> None:
    """The README's first command: every job of the catalogue's pipeline and of fraud, the servers that they need."""
    planned = stack.run("plan", "--format", "json")
    assert planned.returncode == 0, planned.stderr
    found: dict[str, set[str]] = {}
    for step in json.loads(planned.stdout)["steps"]:
        found.setdefault(step["action"], set()).add(step["service"])
    catalog = {"extract", "transform", "cleaning", "train"}
    fraud = {"simulator", "logger_sql", "confirm", "extractor_sql", "train_fraud"}
    assert found["run"] == catalog | fraud
    assert found["start"] == found["stop"] == {"minio", "mlflow-server", "mongodb", "postgres"}


@pytest.mark.usefixtures("way")
def test_twice_in_a_row_nothing_is_doubled(stack: Workspace) -> None:
    """The jobs move generated rows; a second run adds none, and the CSV is the same."""
    first = run(stack, TRANSACTIONS="2000")
    assert "2,000 inserted" in said(first, "logger_sql") and "500 observations" in said(first, "extractor_sql")
    seen = look(stack, first)
    assert (seen.rows, seen.distinct, seen.confirmed) == (2000, 2000, 500)
    header, *body = seen.csv
    assert header[0] == "" and header[-1] == "is_fraud" and "fraud_confirmed" not in header and len(body) == 500
    assert [int(row[0]) for row in body] == sorted(int(row[0]) for row in body)
    assert {row[-1] for row in body} <= {"True", "False"}
    again = run(stack, TRANSACTIONS="2000")
    assert said(again, "logger_sql").startswith("0 inserted, 2,000 already there")
    assert look(stack, again) == seen


@pytest.mark.real_data
@pytest.mark.skipif("GIGOGNE_REAL_DATA" not in os.environ, reason="GIGOGNE_REAL_DATA names no real rows")
def test_the_real_rows_twice(stack: Workspace) -> None:
    """15,270 real transactions in three date formats: each in the table or rejected with a reason; twice the same."""
    path = Path(os.environ["GIGOGNE_REAL_DATA"]) / "fraud" / "transactions.csv"
    first = run(stack, TRANSACTIONS_CSV=str(path))
    seen = look(stack, first)
    landing = next(Path(w["directory"]) for w in first["written"] if w["name"] == "landing")
    lines = [line for file in landing.glob("rejected/*.jsonl") for line in file.read_text("utf-8").splitlines()]
    rejected = [json.loads(line) for line in lines]
    assert all(entry["reason"] for entry in rejected)
    with path.open(encoding="utf-8", newline="") as file:
        numbers = [row["trans_num"] for row in csv.DictReader(file)]
    assert len(numbers) == 15_270
    assert seen.rows == seen.distinct and len(numbers) - len(rejected) >= seen.rows >= len(set(numbers)) - len(rejected)
    assert look(stack, run(stack, TRANSACTIONS_CSV=str(path))) == seen


@pytest.mark.usefixtures("way")
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_an_interrupt_in_the_middle_leaves_nothing(stack: Workspace) -> None:
    """Ctrl-C while rows are moving: 130, no process of the run stays, and the next run finishes the work."""
    process = stack.start("run", "--json", "extractor_sql", TRANSACTIONS="30000")
    assert process.stdout is not None
    for line in process.stdout:
        event = json.loads(line)
        if event["event"] == "started" and event["service"] == "logger_sql":
            break
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    data = stack.environment["GIGOGNE_DATA_DIR"]
    left = [p.info for p in psutil.process_iter(["cmdline"]) if data in " ".join(p.info["cmdline"] or [])]
    assert not left
    assert "inserted" in said(run(stack, TRANSACTIONS="2000"), "logger_sql")


def test_a_secret_shows_nowhere(stack: Workspace) -> None:
    """A password given by the environment reaches the job, and no output, plan, log or file of Gigogne."""
    secret = "xK9-very-secret-7"
    result = stack.run("run", "--json", "extractor_sql", POSTGRES_PASSWORD=secret, TRANSACTIONS="100")
    assert result.returncode == 0, result.stderr
    planned = stack.run("plan", "--format", "json", POSTGRES_PASSWORD=secret, MONGO_PASSWORD=secret)
    assert secret not in result.stdout + result.stderr + planned.stdout
    for file in Path(stack.environment["GIGOGNE_DATA_DIR"]).rglob("*"):
        if file.is_file() and "volumes" not in file.parts:
            assert secret.encode() not in file.read_bytes(), file
