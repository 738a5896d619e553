"""monitor on a running Airflow: an alert asks for a run of a DAG, once, and at its time; and the DAGs of the stack."""

from __future__ import annotations

import concurrent.futures
import json
import runpy
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import pytest
from tests.airflow.conftest import Deploy
from tests.airflow.deployed import Deployed
from tests.airflow.rest import DagRun
from tests.conftest import REPOSITORY
from tests.stack.monitoring.watched import Monitor, running

pytestmark = [pytest.mark.airflow]

# Nothing of it runs: the DAG is paused, so what is asked for stays in the queue until the test has it ended.
COMPOSE = "services: {train: {image: 'busybox:1.36', command: 'true'}}"


def monitor(made: Deployed, **settings: object) -> AbstractContextManager[Monitor]:
    """A monitor that asks for runs of this DAG."""
    return running(**{"AIRFLOW_URL": made.airflow.api.url, "RETRAIN_DAG": made.dag_id, **settings})


def tell(told: Monitor, since: str, fingerprint: str = "a1b2c3") -> tuple[int, dict[str, str]]:
    """Tell it of an alert that fires since then: status and answer."""
    status, answer, _ = told.alert(startsAt=since, fingerprint=fingerprint)
    return status, json.loads(answer)


def runs(made: Deployed) -> list[dict[str, Any]]:
    """The runs of the DAG, the oldest first."""
    found = made.airflow.api.ask("GET", f"/dags/{made.dag_id}/dagRuns", order_by="run_after")["dag_runs"]
    return list(found)


def test_an_alert_starts_a_retraining(deploy: Deploy) -> None:
    """One run an alert, however often it is told; none while one runs, nor soon after. Nothing is remembered."""
    made = deploy(COMPOSE, engine="process", is_paused_upon_creation=True)
    first, second = "2026-11-22T13:00:00.5Z", "2026-11-22T14:00:00Z"
    with monitor(made) as asked, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(tell, asked), [first] * 8))
        assert {status for status, _ in answers} == {200}
        assert sorted(answer["outcome"] for _, answer in answers) == ["repeated"] * 7 + ["started"]
        (run,) = runs(made)
        first_run = run["dag_run_id"]
        assert first_run == answers[0][1]["run"] == "retrain__2026-11-22T13:00:00.500000Z__a1b2c3"
        assert run["note"] == "Asked for by an alert." and run["conf"] == {}
        assert tell(asked, second)[1]["outcome"] == "running"
    made.airflow.api.ask("PATCH", DagRun(made.airflow.api, made.dag_id, first_run).path, {"state": "success"})
    # Another process, which remembers nothing.
    with monitor(made) as asked:
        assert tell(asked, first)[1]["outcome"] == "repeated"
        assert tell(asked, second)[1]["outcome"] == "too_soon"
        assert len(runs(made)) == 1
    with monitor(made, RETRAIN_PAUSE=0) as asked:
        assert tell(asked, second)[1]["outcome"] == "started"
        assert tell(asked, second, fingerprint="d4")[1]["outcome"] == "running"
    assert second[:19] in runs(made)[1]["dag_run_id"]


def test_an_airflow_that_refuses(deploy: Deploy) -> None:
    """A wrong password, and a DAG that is not there: 503, which says what to correct; no run."""
    made = deploy(COMPOSE, engine="process", is_paused_upon_creation=True)
    with monitor(made, AIRFLOW_PASSWORD="secret-7") as asked:
        status, answer = tell(asked, "2026-11-22T13:00:00Z")
        assert status == 503 and "correct AIRFLOW_USER and AIRFLOW_PASSWORD" in answer["detail"]
    with monitor(made, RETRAIN_DAG="nobody") as asked:
        status, answer = tell(asked, "2026-11-22T13:00:00Z")
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
