"""The catalogue's pipeline as a DAG: its jobs are tasks, its servers are started before them and stopped after them."""

from pathlib import Path

from gigogne.airflow import ComposeDag

project = Path(__file__).parents[1]  # /opt/airflow/project in the stack's Airflow
dag = ComposeDag(dag_id="catalog", project=project, pipeline="catalog", is_paused_upon_creation=False)
