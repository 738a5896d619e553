"""The catalogue as DAGs: `catalog` trains, by hand or when an alert asks for it; `catalog_drift` looks every hour."""

from pathlib import Path

from gigogne.airflow import ComposeDag

project = Path(__file__).parents[1]  # /opt/airflow/project in the stack's Airflow
dag = ComposeDag(dag_id="catalog", project=project, pipeline="catalog", is_paused_upon_creation=False)
drift = ComposeDag("catalog_drift", project=project, pipeline="catalog-drift", schedule="@hourly", max_active_runs=1)
