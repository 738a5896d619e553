"""Fraud as DAGs: `fraud` trains every hour on what is confirmed; `fraud_drift` looks whether cards have changed."""

from pathlib import Path
from typing import Any

from gigogne.airflow import ComposeDag


def until(dag_run: Any) -> str:
    """The hour of a backfill's run, which takes what was known then and keeps it apart; nothing for other runs."""
    return dag_run.logical_date.strftime("%Y-%m-%dT%H:%M:%S") if dag_run.run_type == "backfill" else ""


stack: dict[str, Any] = {
    "project": Path(__file__).parents[1],  # /opt/airflow/project in the stack's Airflow
    "files": ["docker-compose-fraud.yml"],
    "schedule": "@hourly",
    "max_active_runs": 1,
}
dag = ComposeDag(
    "fraud",
    select=["train_fraud"],
    environment={"EXTRACTOR_UNTIL": "{{ until(dag_run) }}"},
    user_defined_macros={"until": until},
    **stack,
)
drift = ComposeDag("fraud_drift", select=["drift_fraud"], **stack)
