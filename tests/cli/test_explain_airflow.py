"""`explain --airflow`: what reaches the module as a task of Airflow, in the order of precedence; no secret is shown."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Workspace

from gigogne.airflow.labels import PREFIX, task_options
from gigogne.compose.airflow_layers import AIRFLOW_VARIABLES, TASK_LABELS
from gigogne.errors import ComposeError

PROJECT = """\
name: demo
services:
  load:
    build: .
    env_file: [load.env]
    restart: on-failure:3
    labels:
      gigogne.airflow.pool: db
      gigogne.airflow.retry_dely: 30s
    environment:
      LOGGER_SQL_URI: ${LOGGER_SQL_URI:-postgresql://me:hunter2@db:5432/mlops}
      TARGET: s3://${BUCKET:-none}/rows
      API_TOKEN:
"""
FILES = {
    "docker-compose.yml": PROJECT,
    "Dockerfile": "FROM python:3.12-slim\nENV MODE=image\nENV GIGOGNE_RESULT=/image\n",
    "load.env": "MODE=file\nBATCH=7\n",
}
DAG = """\
from airflow.sdk import DAG
from gigogne.airflow.operators import ServiceOperator
import beside

with DAG(dag_id="nightly"):
    ServiceOperator(
        task_id="rows",
        service="load",
        project=beside.PROJECT,
        environment={
            "LOGGER_SQL_URI": "{{ conn.fraud_db.get_uri() }}",
            "API_TOKEN": "{{ var.value.token }}",
            "BUCKET": "real",
            "MODE": "operator",
            "DB_PASSWORD": "hunter2",
            "MIXED": "postgresql://me:hunter2@{{ conn.db.host }}/{{ ds }}",
        },
    )
"""


@pytest.fixture
def project(workspace: Workspace) -> Workspace:
    """A project whose variables come from every layer that there is."""
    workspace.write(FILES)
    return workspace


def facts(workspace: Workspace, *words: str) -> dict[str, Any]:
    """What `--json` says of the service."""
    result = workspace.run("explain", "load", "--json", *words)
    assert result.returncode == 0, result.stdout + result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def chain(found: dict[str, Any], name: str) -> list[str]:
    """What sets a variable, the winner first."""
    (variable,) = (each for each in found["variables"] if each["name"] == name)
    return [setting["kind"] for setting in variable["settings"]]


def test_airflow_adds_its_own_variables(project: Workspace) -> None:
    """The context of the task wins over the files; the path for a result gives way to them, but not to the image."""
    (project.folder / "load.env").write_text("MODE=file\nAIRFLOW_CTX_DAG_ID=mine\n", encoding="utf-8")
    found = facts(project, "--airflow")
    assert set(AIRFLOW_VARIABLES) <= {variable["name"] for variable in found["variables"]}
    assert chain(found, "AIRFLOW_CTX_DAG_ID") == ["Airflow", "env_file"]
    assert chain(found, "GIGOGNE_RESULT") == ["Airflow", "image ENV"]
    assert chain(found, "MODE") == ["env_file", "image ENV"]
    assert any("--dag FILE" in note for note in found["notes"]), "it says how to see the operator's environment"
    (project.folder / "load.env").write_text("GIGOGNE_RESULT=/mine\n", encoding="utf-8")
    assert chain(facts(project, "--airflow"), "GIGOGNE_RESULT") == ["env_file", "Airflow", "image ENV"]


def test_without_the_option_there_is_no_airflow(project: Workspace) -> None:
    """What `gigogne run` does has nothing to do with it."""
    found = facts(project)
    assert "Airflow" not in {setting["kind"] for each in found["variables"] for setting in each["settings"]}
    assert "task" not in found


def test_a_named_variable_needs_no_airflow(project: Workspace) -> None:
    """`--dag-env NAME` says that an operator sets it: it wins, and what was lost in its place is not lost any more."""
    found = facts(project, "--dag-env", "API_TOKEN", "--dag-env", "NEW")
    assert chain(found, "API_TOKEN") == ["operator environment", "environment"]
    assert chain(found, "NEW") == ["operator environment"]
    assert "API_TOKEN" in {lost["name"] for lost in facts(project, "--airflow")["lost"]}
    assert "API_TOKEN" not in {lost["name"] for lost in found["lost"]}


def test_the_labels_say_what_they_set(project: Workspace) -> None:
    """A label of the task with its line, one that is misspelt with what was meant, and `restart:` as retries."""
    told = {setting["name"]: setting for setting in facts(project, "--airflow")["task"]}
    assert (told["pool"]["value"], told["pool"]["line"]) == ("db", 8)
    assert "did you mean retry_delay?" in told["retry_dely"]["meaning"]
    assert (told["retries"]["value"], told["retries"]["key"], told["retries"]["line"]) == (
        "3",
        "restart: on-failure:3",
        6,
    )


def test_the_table_is_for_people(project: Workspace) -> None:
    """Each row says who sets the variable, and the notes say in which order they win."""
    text = " ".join(project.run("explain", "load", "--airflow", "--dag-env", "MODE").stdout.split())
    assert "MODE set when the task runs operator environment overrides env_file load.env:1" in text
    assert "AIRFLOW_CTX_TASK_ID set when the task runs Airflow, the id of the task" in text
    assert "the operator's environment wins over Airflow's own variables" in text
    assert "pool db docker-compose.yml:8, gigogne.airflow.pool the pool whose slots it takes" in text


@pytest.mark.skipif(importlib.util.find_spec("airflow") is not None, reason="Airflow is here")
def test_a_dag_file_needs_airflow(project: Workspace) -> None:
    """Without Airflow nothing reads a DAG file: the error says what to install, and what does without."""
    project.write({"dags/nightly.py": DAG})
    result = project.run("explain", "load", "--dag", "dags/nightly.py")
    assert result.returncode == 4
    assert "pip install 'gigogne[airflow]'" in result.stderr and "--dag-env" in result.stderr


def test_a_dag_file_that_is_not_there(project: Workspace) -> None:
    """It is named."""
    result = project.run("explain", "load", "--dag", "dags/none.py")
    assert result.returncode == 2 and "there is no DAG file dags/none.py" in result.stderr


@pytest.fixture
def dag(project: Workspace, tmp_path: Path) -> Workspace:
    """The project with a DAG beside a module that it imports, and an Airflow of the test's own."""
    project.environment |= {"AIRFLOW_HOME": str(tmp_path / "airflow")}
    project.write({"dags/nightly.py": DAG, "dags/beside.py": "PROJECT = '/opt/airflow/project'\nprint('imported')\n"})
    return project


@pytest.mark.airflow
def test_the_operators_environment_wins(dag: Workspace) -> None:
    """Its template text is shown with the line of the DAG file, and what it overrides below it."""
    found = facts(dag, "--airflow", "--dag", "dags/nightly.py")
    assert chain(found, "LOGGER_SQL_URI") == ["operator environment", "environment"]
    assert chain(found, "MODE") == ["operator environment", "env_file", "image ENV"]
    assert chain(found, "BATCH") == ["env_file"]
    (uri,) = (each for each in found["variables"] if each["name"] == "LOGGER_SQL_URI")
    assert uri["value"] == "{{ conn.fraud_db.get_uri() }}"
    winner = uri["settings"][0]
    assert (Path(winner["file"]).name, winner["line"], winner["form"]) == ("nightly.py", 11, "template")
    notes = found["notes"]
    assert any("TARGET" in note and "${BUCKET}" in note for note in notes), "${…} is answered without the operator"
    assert any("DB_PASSWORD is written out in" in note and "nightly.py:15" in note for note in notes)
    assert any("the DAG reads the project in /opt/airflow/project" in note for note in notes)
    assert "hunter2" not in json.dumps(found)


@pytest.mark.airflow
def test_no_literal_secret_is_shown(dag: Workspace) -> None:
    """Templates are no secrets; what a DAG file writes out may be one, as a value or around a template."""
    result = dag.run("explain", "load", "--dag", "dags/nightly.py")
    assert result.returncode == 0, result.stderr
    assert "hunter2" not in result.stdout + result.stderr
    assert "postgresql://me:***@{{ conn.db.host }}/{{ ds }}" in result.stdout
    assert "{{ var.value.token }}" in result.stdout, "of a secret variable too"
    assert "imported" not in result.stdout, "what the DAG file prints is no part of it"


@pytest.mark.airflow
def test_what_is_wrong_with_a_dag_file(dag: Workspace) -> None:
    """One that fails, and one that runs other services: what it is, and what to do."""
    dag.write({"dags/broken.py": "import no_such_module\n", "dags/other.py": DAG.replace('"load"', '"lod"')})
    for file, said in (("broken.py", "No module named 'no_such_module'"), ("other.py", "did you mean lod?")):
        result = dag.run("explain", "load", "--dag", f"dags/{file}")
        assert result.returncode == 2 and said in result.stderr, result.stderr


@pytest.mark.airflow
def test_the_names_are_airflows(dag: Workspace) -> None:
    """The variables that are explained are Airflow's, and the labels those that a DAG takes."""
    asking = """
        from airflow.sdk.execution_time.context import AIRFLOW_VAR_NAME_FORMAT_MAPPING as names
        print(*(each["env_var_format"] for each in names.values()))
        """
    words = [sys.executable, "-c", textwrap.dedent(asking)]
    said = subprocess.run(words, env={**os.environ, **dag.environment}, capture_output=True, text=True, check=True)
    assert {name for name in AIRFLOW_VARIABLES if name.startswith("AIRFLOW_")} <= set(said.stdout.split())
    with pytest.raises(ComposeError) as refused:
        task_options({f"{PREFIX}qqqqqqqqqq": ""}, lambda label: label)
    assert set(refused.value.hint.rpartition(": ")[2].split(", ")) == set(TASK_LABELS)
