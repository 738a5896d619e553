"""monitor on a running Airflow: drift of a version asks for a run of a DAG, once; and the DAGs of the stack."""

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
from tests.stack.monitoring.watched import Monitor, payload, running

pytestmark = [pytest.mark.airflow]

# It trains until the test has it ended.
COMPOSE = "services: {train: {image: 'busybox:1.36', command: sleep 600}}"


def monitor(made: Deployed, **settings: object) -> AbstractContextManager[Monitor]:
    """A monitor that asks for runs of this DAG."""
    return running(**{"AIRFLOW_URL": made.airflow.api.url, "RETRAIN_DAG": made.dag_id, **settings})


def tell(told: Monitor, version: int) -> tuple[int, dict[str, str]]:
    """Tell it of drift of a version of the model: status and answer."""
    status, answer, _ = told.ask("/alerts", payload(version))
    return status, json.loads(answer)


def pause(made: Deployed, paused: bool) -> None:
    """Pause the DAG, or let it run."""
    made.airflow.api.ask("PATCH", f"/dags/{made.dag_id}", {"is_paused": paused})


def end(made: Deployed, run_id: str, state: str) -> None:
    """Have a run end so, once its training is under way."""
    run = DagRun(made.airflow.api, made.dag_id, run_id)
    run.reach("train", "running", "deferred", seconds=120)
    made.airflow.api.ask("PATCH", run.path, {"state": state})


def runs(made: Deployed) -> list[dict[str, Any]]:
    """The runs of the DAG, the oldest first."""
    found = made.airflow.api.ask("GET", f"/dags/{made.dag_id}/dagRuns", order_by="run_after")["dag_runs"]
    return list(found)


def test_drift_starts_a_retraining(deploy: Deploy) -> None:
    """One run a version, however often drift is told; one more after it failed. None beside another, nor soon after."""
    made = deploy(COMPOSE, engine="process")
    pause(made, False)
    with monitor(made) as asked, concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(partial(tell, asked), [3] * 8))
        assert {status for status, _ in answers} == {200}
        assert sorted(answer["outcome"] for _, answer in answers) == ["repeated"] * 7 + ["started"]
        (run,) = runs(made)
        assert {run["dag_run_id"]} == {answer["run"] for _, answer in answers} == {"retrain__v3"}
        assert run["note"] == "Asked for by an alert." and run["conf"] == {}
        assert tell(asked, 4)[1]["outcome"] == "running"
        end(made, "retrain__v3", "failed")
    # Another process, which remembers nothing.
    with monitor(made) as asked:
        assert tell(asked, 3)[1]["outcome"] == tell(asked, 4)[1]["outcome"] == "too_soon"
        assert asked.metrics()['catalog_retrainings_total{outcome="failed"}'] == 1
    with monitor(made, RETRAIN_PAUSE=0) as asked:
        assert tell(asked, 3)[1] == {"outcome": "started", "run": "retrain__v3__try2"}
        assert tell(asked, 3)[1] == {"outcome": "repeated", "run": "retrain__v3__try2"}
        end(made, "retrain__v3__try2", "success")
        assert tell(asked, 3)[1] == {"outcome": "repeated", "run": "retrain__v3__try2"}
        pause(made, True)
        status, answer = tell(asked, 4)
        assert status == 503 and f"the DAG {made.dag_id} is paused" in answer["detail"]
    assert len(runs(made)) == 2


def test_each_project_has_its_dag(deploy: Deploy) -> None:
    """Drift of the fraud project asks for a run of its own DAG, also while another project's run is under way."""
    made, fraud = deploy(COMPOSE, engine="process"), deploy(COMPOSE, engine="process")
    pause(made, False)
    pause(fraud, False)
    with monitor(made, RETRAIN_FRAUD_DAG=fraud.dag_id) as asked:
        assert tell(asked, 3)[1]["outcome"] == "started"
        status, answer, _ = asked.ask("/alerts", payload(3, project="fraud"))
        assert (status, json.loads(answer)) == (200, {"outcome": "started", "run": "retrain__v3"})
        (run,) = runs(fraud)
        assert run["dag_run_id"] == "retrain__v3" and run["note"] == "Asked for by an alert."
        assert asked.metrics()['fraud_retrainings_total{outcome="started"}'] == 1
    assert len(runs(made)) == 1


def test_an_airflow_that_refuses(deploy: Deploy) -> None:
    """A wrong password, and a DAG that is not there: 503, which says what to correct; no run."""
    made = deploy(COMPOSE, engine="process", is_paused_upon_creation=True)
    with monitor(made, AIRFLOW_PASSWORD="secret-7") as asked:
        status, answer = tell(asked, 3)
        assert status == 503 and "correct AIRFLOW_USER and AIRFLOW_PASSWORD" in answer["detail"]
    with monitor(made, RETRAIN_DAG="nobody") as asked:
        status, answer = tell(asked, 3)
        assert status == 503 and "Airflow knows no DAG nobody" in answer["detail"]
    assert runs(made) == []


@pytest.mark.parametrize("project", ["catalog", "fraud"])
def test_the_dags_of_the_stack(project: str) -> None:
    """Of either project: the training, one run at a time and none for hours gone by; the look for drift, hourly."""
    found = runpy.run_path(str(REPOSITORY / "dags" / f"{project}.py"))
    dag, drift = found["dag"], found["drift"]
    schedule, jobs, look = {
        "catalog": (None, {"extract", "transform", "cleaning", "train"}, "drift"),
        "fraud": ("@hourly", {"simulator", "logger_sql", "confirm", "extractor_sql", "train_fraud"}, "drift_fraud"),
    }[project]
    assert (dag.dag_id, dag.schedule) == (project, schedule)
    assert jobs <= set(dag.task_ids)
    hourly = (drift.dag_id, drift.schedule, drift.max_active_runs, drift.catchup)
    assert hourly == (f"{project}_drift", "@hourly", 1, False)
    assert set(drift.task_ids) == {"start_servers", look, "stop_servers"}
