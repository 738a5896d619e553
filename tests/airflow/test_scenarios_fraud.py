"""Fraud on a running Airflow: scored, drifted, alerted, retrained on the late truth, promoted, scored anew."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from tests.airflow.deployed import Deployed, Project
from tests.airflow.rest import DagRun
from tests.airflow.server import Airflow, wait_until
from tests.airflow.test_scenarios_loop import build, hurry, reached_from_containers
from tests.conftest import REPOSITORY, Workspace, healthy
from tests.stack.conftest import S3, SECRETS, copy_stack
from tests.stack.monitoring.conftest import Observed, observed

from fraud.generator import Generator
from fraud.scenario.drift import Drift

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(900)]

BUCKET, TABLE = "fraud-detection-2-bucket", "fraud_detection_2_table"
BUILT = (
    *("simulator", "logger_sql", "confirm", "extractor_sql", "train_fraud"),
    *("mlflow-server", "scorer", "logger_live", "monitor", "drift_fraud"),
)
SERVERS = ("minio", "mlflow-server", "postgres", "scorer", "logger_live", "monitor")
# Sixteen days, and then eighteen in which everything costs twice as much: the truth of the first ten is out.
FIRST, SHIFTED, WHEN = 40_000, 45_000, "amounts:2@2025-01-17"
SETTINGS = {**SECRETS, "TRANSACTIONS": str(FIRST), "MLFLOW_PORT": "5004", "SCORER_MODEL_POLL": "1", "MONITOR_POLL": "1"}
# Of twenty days, an hour of the last but one.
ENOUGH, BACKFILLED = "50000", "2025-01-19T20:00:00"


@dataclass
class Till:
    """Somebody who pays with card after card.

    Attributes:
        versions: The versions of the detector that answered, in their order.
        failures: What was no answer.
        numbers: The transactions that were answered.
    """

    address: str
    first: int
    versions: list[int] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def pay(self, over: threading.Event) -> None:
        """Bring transactions until it is over."""
        for event in Generator(42, Drift.parse(WHEN)).events(self.first):
            if over.wait(0.05):
                return
            try:
                answer = post(f"http://{self.address}/transactions", event.transaction)
            except (OSError, ValueError) as error:
                self.failures.append(repr(error))
                continue
            self.numbers.append(answer["trans_num"])
            if (version := int(answer["model"]["version"])) not in self.versions[-1:]:
                self.versions.append(version)


@contextmanager
def paying(address: str) -> Iterator[Till]:
    """Somebody pays all the time."""
    till, over = Till(address, FIRST + SHIFTED), threading.Event()
    thread = threading.Thread(target=till.pay, args=(over,))
    thread.start()
    try:
        yield till
    finally:
        over.set()
        thread.join()


def post(url: str, body: Any) -> Any:
    """What a server answers."""
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


@dataclass(frozen=True)
class Stack:
    """The fraud project, up beside a running Airflow that has its DAG.

    Attributes:
        user: Who types `gigogne` beside that Airflow.
        deployed: The DAG.
        address: Where the servers' ports are.
        watch: Prometheus and Alertmanager, for as long as they are needed.
    """

    user: Workspace
    deployed: Deployed
    address: str
    watch: Callable[[], AbstractContextManager[Observed]]

    def run(self, *words: str, **variables: str) -> str:
        """What `gigogne run` says."""
        done = self.user.run("run", *words, "--json", **variables)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr
        return done.stdout

    def is_ready(self) -> bool:
        """Whether the scorer has a detector."""
        try:
            with urllib.request.urlopen(f"http://{self.address}:8002/health/ready", timeout=30):
                return True
        except urllib.error.URLError:
            return False

    def started(self) -> str:
        """When the scorer's process was started, as it says itself."""
        with urllib.request.urlopen(f"http://{self.address}:8002/metrics", timeout=30) as answer:
            lines: list[str] = answer.read().decode().splitlines()
        return next(line for line in lines if line.startswith("process_start_time_seconds"))

    def count(self, query: str, *values: object) -> int:
        """A number in PostgreSQL."""
        password = SECRETS["POSTGRES_PASSWORD"]
        with psycopg.connect(f"postgresql://postgres:{password}@{self.address}:5432/mlops") as connection:
            found = connection.execute(query.encode(), values).fetchone()
        assert found is not None
        return int(found[0])

    def extracts(self) -> set[str]:
        """The names of the extracts on S3."""
        client = S3(f"http://{self.address}:9000", "minio", SECRETS["MINIO_ROOT_PASSWORD"], BUCKET).client()
        listed = client.list_objects_v2(Bucket=BUCKET, Prefix="data/")["Contents"]
        client.close()
        return {each["Key"] for each in listed if each["Key"].endswith("validated.json")}

    def dag_run(self, **about: str) -> DagRun | None:
        """The newest run of the DAG of which this is so, once it has begun."""
        api = self.deployed.airflow.api
        runs = api.ask("GET", f"/dags/{self.deployed.dag_id}/dagRuns", order_by="-run_after")["dag_runs"]
        found = [each["dag_run_id"] for each in runs if about.items() <= each.items()]
        return DagRun(api, self.deployed.dag_id, found[0]) if found else None


def publish(deployed: Deployed, env_file: Path) -> None:
    """The stack's own dags/fraud.py, its DAGs under other names."""
    text = (REPOSITORY / "dags" / "fraud.py").read_text(encoding="utf-8")
    own = {"project_name": deployed.project.name, "engine": deployed.engine, "env_files": [str(env_file)]}
    for before, after in {
        '"fraud"': repr(deployed.dag_id),
        '"fraud_drift"': repr(f"{deployed.dag_id}_drift"),
        "Path(__file__).parents[1]": repr(str(deployed.project.folder)),
        '    "schedule"': "".join(f"    {name!r}: {value!r},\n" for name, value in own.items()) + '    "schedule"',
    }.items():
        assert text.count(before) == 1, before
        text = text.replace(before, after)
    deployed.airflow.dag(deployed.dag_id, text)


@contextmanager
def up(user: Workspace, *more: str) -> Iterator[None]:
    """The servers, and those of Docker alone."""
    with user.start("up", "--json", *SERVERS, *more) as started, healthy(started, *SERVERS, *more):
        yield


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def stack(request: pytest.FixtureRequest, airflow: Airflow, tmp_path: Path) -> Iterator[Stack]:
    """The project on either engine, with a champion, and everything up."""
    name, folder, url = f"fraud-{uuid4().hex[:8]}", REPOSITORY, airflow.api.url
    in_docker = request.param == "docker"
    with ExitStack() as opened:
        if in_docker:
            folder = tmp_path / "checkout"
            folder.mkdir()
            copy_stack(folder, name)
            hurry(folder)
            url = opened.enter_context(reached_from_containers(airflow))
        deployed = Deployed(airflow, Project(folder, name), request.param)
        request.node.projects = [deployed]
        opened.callback(deployed.clean)
        address = f"127.11.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
        own = {"BIND_ADDRESS": address, "MONITORING_ADDRESS": address, "AIRFLOW_URL": url}
        settings = {**SETTINGS, **own, "RETRAIN_FRAUD_DAG": deployed.dag_id}
        env_file = tmp_path / "fraud.env"
        env_file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()), encoding="utf-8")
        publish(deployed, env_file)
        data = airflow.environment["GIGOGNE_DATA_DIR"]
        named = {"COMPOSE_PROJECT_NAME": name, "GIGOGNE_ENGINE": request.param, "GIGOGNE_DATA_DIR": data}
        user = Workspace(folder, {**settings, **named}, patience=300)
        if in_docker:
            build(user, *BUILT)
        opened.callback(user.run, "down", "-v")
        opened.enter_context(up(user, *(("prometheus", "alertmanager") if in_docker else ())))
        there = Observed(f"http://{address}:9090", f"http://{address}:9093")
        replaced = {"scorer:8002": f"{address}:8002", "monitor:8001": f"{address}:8001"}
        yield Stack(user, deployed, address, lambda: nullcontext(there) if in_docker else observed(replaced))


def unpause(stack: Stack, paused: bool = False) -> None:
    """Let the DAG run, or not."""
    stack.deployed.airflow.api.ask("PATCH", f"/dags/{stack.deployed.dag_id}", {"is_paused": paused})


@pytest.mark.sandbox
@pytest.mark.prometheus
def test_the_loop_closes(stack: Stack) -> None:
    """Everything costs more: an alert, a retraining on what was confirmed since, a better detector, and no row lost."""
    stack.run("train_fraud")
    wait_until(stack.is_ready, "the scorer is ready")
    began = stack.started()
    with paying(f"{stack.address}:8002") as till, stack.watch() as monitoring:
        wait_until(lambda: till.versions == [1], "the first detector answers")
        stack.run("logger_sql", START=str(FIRST), TRANSACTIONS=str(SHIFTED), DRIFT=WHEN)
        stack.run("drift_fraud")
        unpause(stack)
        wait_until(lambda: monitoring.firing() & {"FraudDataDrift", "FraudScoreDrift"}, "drift is alerted")
        wait_until(lambda: till.versions == [1, 2], "the new detector answers", 400)
    assert till.failures == [] and len(till.numbers) > 100
    assert stack.started() == began
    scored = f"SELECT count(*) FROM {TABLE} WHERE score IS NOT NULL AND trans_num = ANY(%s)"
    wait_until(lambda: stack.count(scored, till.numbers) == len(till.numbers), "each transaction has a row")
    assert stack.count(f"SELECT count(*) FROM {TABLE}") == FIRST + SHIFTED + len(till.numbers)


@pytest.mark.sandbox
@pytest.mark.parametrize("stack", ["process"], indirect=True)
def test_a_backfill(stack: Stack) -> None:
    """A run of a backfill takes what was known at its hour, keeps it apart, and its detector is not promoted."""
    stack.run("train_fraud", TRANSACTIONS=ENOUGH)
    unpause(stack)
    day = datetime.fromisoformat(BACKFILLED)
    asked = ("--from-date", BACKFILLED, "--to-date", BACKFILLED)
    done = stack.deployed.airflow.command("backfill", "create", "--dag-id", stack.deployed.dag_id, *asked)
    assert done.returncode == 0, done.stdout + done.stderr
    wait_until(lambda: stack.dag_run(run_type="backfill"), "the backfill has begun")
    run = stack.dag_run(run_type="backfill")
    assert run is not None
    assert run.wait(400) == "success", run.states()
    assert stack.extracts() >= {"data/validated.json", f"data/until-{day:%Y%m%dT%H%M%S}/validated.json"}
    assert "knows later transactions" in str(run.xcom("train_fraud"))
