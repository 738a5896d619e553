"""The catalogue's pipeline as `dags/catalog.py` has it, on a running Airflow: the model that `gigogne run` makes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from tests.airflow.deployed import Deployed, Project
from tests.airflow.server import Airflow
from tests.conftest import REPOSITORY, Workspace
from tests.stack.catalog.outcome import SETTINGS, look, run, served

pytestmark = [pytest.mark.airflow, pytest.mark.timeout(600)]

TASKS = {"extract", "transform", "cleaning", "train"}


@pytest.fixture
def catalog(airflow: Airflow, request: pytest.FixtureRequest) -> Iterator[Deployed]:
    """The reference stack's own files as a DAG, under a name and an address of its own."""
    deployed = Deployed(airflow, Project(REPOSITORY, f"catalog-{uuid4().hex[:8]}"), "process")
    request.node.projects = [deployed]
    yield deployed
    deployed.clean()


def beside(catalog: Deployed, settings: dict[str, str]) -> Workspace:
    """What a user has who types `gigogne` beside that Airflow."""
    data = catalog.airflow.environment["GIGOGNE_DATA_DIR"]
    named = {"COMPOSE_PROJECT_NAME": catalog.project.name, "GIGOGNE_ENGINE": "process", "GIGOGNE_DATA_DIR": data}
    return Workspace(REPOSITORY, {**settings, **named}, patience=300)


def test_the_dag_of_the_stack() -> None:
    """`dags/catalog.py` is short, and is nothing but the pipeline by its name."""
    text = (REPOSITORY / "dags" / "catalog.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 10 and 'pipeline="catalog"' in text


@pytest.mark.sandbox
def test_the_reference_stack(catalog: Deployed, tmp_path: Path) -> None:
    """As a DAG the pipeline leaves the rows, the file and the promoted model that `gigogne run` leaves."""
    address = f"127.8.{os.getpid() // 256 % 256}.{os.getpid() % 256}"
    settings = {**SETTINGS, "BIND_ADDRESS": address}
    (tmp_path / "catalog.env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
    user = beside(catalog, settings)
    catalog.publish(pipeline="catalog", env_files=[str(tmp_path / "catalog.env")])
    started = catalog.trigger()
    assert started.wait(240) == "success", {task: started.said(task)[-5:] for task in TASKS}
    assert set(started.states()) == {*TASKS, "start_servers", "stop_servers"}
    with served(user):
        by_airflow = look(address)
    user.run("down", "-v")
    with served(user):
        run(user)
        assert look(address) == by_airflow
    assert by_airflow.versions == ["1"]
