"""monitor on a running Airflow: an alert asks for a run of a DAG, once, and at its time; and the DAGs of the stack."""

from __future__ import annotations

import concurrent.futures
import json
import runpy
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from tests.airflow.conftest import Deploy
from tests.airflow.deployed import Deployed
from tests.airflow.rest import DagRun
from tests.airflow.server import wait_until
from tests.conftest import REPOSITORY
from tests.stack.conftest import environment

pytestmark = [pytest.mark.airflow]

TOKEN = "token-7"
# Nothing of it runs: the DAG is paused, so what is asked for stays in the queue until the test has it ended.
COMPOSE = "services: {train: {image: 'busybox:1.36', command: 'true'}}"
# What monitor looks at beside Airflow is away.
AWAY = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "a",
    "AWS_SECRET_ACCESS_KEY": "b",
    "AWS_DEFAULT_REGION": "us-east-1",
    "ML_DATABASE_URI": "postgresql://127.0.0.1:9/mlops",
}


@dataclass(frozen=True)
class Monitor:
    """The program that Alertmanager tells."""

    port: int

    def alert(self, since: str, fingerprint: str = "a1b2c3") -> tuple[int, dict[str, str]]:
        """Tell it of a firing alert that asks for a retraining: status and answer."""
        labels = {"alertname": "TextDrift", "action": "retrain"}
        alert = {"status": "firing", "labels": labels, "startsAt": since, "fingerprint": fingerprint}
        body = json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()
        headers = {"Authorization": f"Bearer {TOKEN}"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/alerts", body, headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.load(error)

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except OSError:
            return False


@contextmanager
def monitor(made: Deployed, **settings: object) -> Iterator[Monitor]:
    """A monitor that asks for runs of this DAG."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    asks = {"AIRFLOW_URL": made.airflow.api.url, "RETRAIN_DAG": made.dag_id}
    given = environment(MONITOR_TOKEN=TOKEN, MONITOR_PORT=port, **AWAY, **{**asks, **settings})
    with subprocess.Popen([sys.executable, "-m", "monitoring.server"], env=given) as process:
        try:
            up = Monitor(port)
            wait_until(up.is_up, "monitor answers", 30)
            yield up
        finally:
            process.terminate()


def runs(made: Deployed) -> list[dict[str, Any]]:
    """The runs of the DAG, the oldest first."""
    found = made.airflow.api.ask("GET", f"/dags/{made.dag_id}/dagRuns", order_by="run_after")["dag_runs"]
    return list(found)


def test_an_alert_starts_a_retraining(deploy: Deploy) -> None:
    """One run an alert, however often it is told; none while one runs, nor soon after. Nothing is remembered."""
    made = deploy(COMPOSE, engine="process", is_paused_upon_creation=True)
    first, second = "2026-11-22T13:00:00.5Z", "2026-11-22T14:00:00Z"
    with monitor(made) as asked, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(asked.alert, [first] * 8))
        assert {status for status, _ in answers} == {200}
        assert sorted(answer["outcome"] for _, answer in answers) == ["repeated"] * 7 + ["started"]
        (run,) = runs(made)
        first_run = run["dag_run_id"]
        assert first_run == answers[0][1]["run"] == "retrain__2026-11-22T13:00:00.500000Z__a1b2c3"
        assert run["note"] == "Asked for by an alert." and run["conf"] == {}
        assert asked.alert(second)[1]["outcome"] == "running"
    made.airflow.api.ask("PATCH", DagRun(made.airflow.api, made.dag_id, first_run).path, {"state": "success"})
    # Another process, which remembers nothing.
    with monitor(made) as asked:
        assert asked.alert(first)[1]["outcome"] == "repeated"
        assert asked.alert(second)[1]["outcome"] == "too_soon"
        assert len(runs(made)) == 1
    with monitor(made, RETRAIN_PAUSE=0) as asked:
        assert asked.alert(second)[1]["outcome"] == "started"
        assert asked.alert(second, fingerprint="d4")[1]["outcome"] == "running"
    assert second[:19] in runs(made)[1]["dag_run_id"]


def test_an_airflow_that_refuses(deploy: Deploy) -> None:
    """A wrong password, and a DAG that is not there: 503, which says what to correct; no run."""
    made = deploy(COMPOSE, engine="process", is_paused_upon_creation=True)
    with monitor(made, AIRFLOW_PASSWORD="secret-7") as asked:
        status, answer = asked.alert("2026-11-22T13:00:00Z")
        assert status == 503 and "correct AIRFLOW_USER and AIRFLOW_PASSWORD" in answer["detail"]
    with monitor(made, RETRAIN_DAG="nobody") as asked:
        status, answer = asked.alert("2026-11-22T13:00:00Z")
        assert status == 503 and "Airflow knows no DAG nobody" in answer["detail"]
    assert runs(made) == []


def test_the_dags_of_the_stack() -> None:
    """`dags/catalog.py` has the training, which is asked for, and the look for drift, hourly and one at a time."""
    found = runpy.run_path(str(REPOSITORY / "dags" / "catalog.py"))
    dag, drift = found["dag"], found["drift"]
    assert (dag.dag_id, dag.schedule) == ("catalog", None)
    assert {"extract", "transform", "cleaning", "train"} <= set(dag.task_ids)
    assert (drift.dag_id, drift.schedule, drift.max_active_runs, drift.catchup) == (
        "catalog_drift",
        "@hourly",
        1,
        False,
    )
    assert set(drift.task_ids) == {"start_servers", "drift", "stop_servers"}
