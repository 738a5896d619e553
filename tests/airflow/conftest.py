"""One running Airflow for all tests that ask for it, and projects to deploy on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.airflow.deployed import Deployed, Project
from tests.airflow.server import COMPONENTS, Airflow
from tests.conftest import Workspace, missing_airflow

from gigogne.choice import choose_engine
from gigogne.core.engine import Engine


class _Module(pytest.Module):
    """A module that cannot be imported without Airflow: then it is one test, skipped by its name or failed."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        try:
            return list(super().collect())
        except self.CollectError:
            absent: pytest.Item = _Absent.from_parent(self, name=self.path.stem)
            absent.add_marker("airflow")
            return [absent]


class _Absent(pytest.Item):
    """What stands for a module's tests where Airflow is missing; `pytest_runtest_setup` knows it by its mark."""

    def runtest(self) -> None:
        raise AssertionError(f"it should have been skipped: {missing_airflow()}")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Tests that need Airflow may import it at their top."""
    return _Module.from_parent(parent, path=module_path) if missing_airflow() else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what Airflow's components and the tasks of its own DAGs said."""
    report = yield
    server = getattr(item, "funcargs", {}).get("airflow")
    if report.failed and isinstance(server, Airflow):
        for name in COMPONENTS:
            report.sections.append((f"airflow {name}", _tail(server.said_by(name))))
        for project in getattr(item, "projects", ()):
            for path in sorted(server.task_logs(project.dag_id)):
                report.sections.append((str(path.relative_to(server.home)), _tail(path)))
    return report


def _tail(path: Path, size: int = 6000) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-size:] if path.exists() else "(nothing)"


@pytest.fixture(scope="session")
def airflow() -> Iterator[Airflow]:
    """Airflow as users run it, up for the session."""
    # Not under pytest's own folder, which is closed to others: the servers of projects run as other users.
    with tempfile.TemporaryDirectory(prefix="gigogne-airflow-", ignore_cleanup_errors=True) as folder:
        home, data = Path(folder) / "home", Path(folder) / "data"
        home.mkdir(parents=True)
        data.mkdir()
        Path(folder).chmod(0o755)
        # Its own engine is the DAG's to say; abandoned jobs are ended within seconds.
        made = Airflow.made_in(home, GIGOGNE_DATA_DIR=str(data), GIGOGNE_ENGINE="", GIGOGNE_ABANDONED_AFTER="30")
        try:
            made.boot()
            yield made
        finally:
            made.close()
            if kept := os.environ.get("GIGOGNE_TEST_KEEP_AIRFLOW"):
                shutil.copytree(home, kept, dirs_exist_ok=True)


# The engines differ in nothing that matters to the test.
ON_ONE = pytest.mark.parametrize("engine", ["process"], indirect=True)


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def engine(request: pytest.FixtureRequest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Engine:
    """Either engine, in this process."""
    for name, value in workspace.environment.items():
        monkeypatch.setenv(name, value)
    return choose_engine(request.param, lambda service, text: None)[0]


Deploy = Callable[..., Deployed]


@pytest.fixture
def deploy(airflow: Airflow, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Deploy]:
    """Makes a DAG of a Compose file; what its runs started is gone in the end."""
    made: list[Deployed] = []
    request.node.projects = made

    def make(compose: str, /, engine: str = "docker", files: dict[str, str] | None = None, **dag: Any) -> Deployed:
        folder = tmp_path / f"project-{len(made)}"
        deployed = Deployed(airflow, Project.written(folder, compose, files or {}), engine)
        made.append(deployed)
        deployed.publish(**dag)
        return deployed

    yield make
    for each in made:
        each.clean()
