"""A Compose project that a running Airflow has as a DAG, and what happens to its containers."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil
from tests.airflow.rest import DagRun
from tests.airflow.server import Airflow
from tests.conftest import Workspace
from tests.scenarios.docked import on_event

from gigogne.airflow.files import stable_run_id
from gigogne.engines.docker.connection import connect

__all__ = ["Deployed", "Life", "Lives", "Project", "lives", "process_lives"]

_DAG = """\
import datetime

from gigogne.airflow import ComposeDag

dag = ComposeDag(
    dag_id={dag_id!r},
    project={folder!r},
    {arguments},
)
"""


@dataclass(frozen=True)
class Project:
    """A folder with a Compose file, under a name that no other test has."""

    folder: Path
    name: str

    @classmethod
    def written(cls, folder: Path, compose: str, files: Mapping[str, str], ends: str = "") -> Project:
        """Write the files, their text dedented, to a new folder; the project's name `ends` so."""
        folder.mkdir(parents=True)
        Workspace(folder).write({"compose.yml": compose, **files})
        return cls(folder, f"h6-{uuid4().hex[:8]}{ends and f'-{ends}'}")

    def has(self, name: str) -> bool:
        """Whether a job has written a file of that name to the folder."""
        return (self.folder / name).exists()


@dataclass(frozen=True)
class Deployed:
    """A project as a DAG; the DAG has the project's name."""

    airflow: Airflow
    project: Project
    engine: str

    @property
    def dag_id(self) -> str:
        """The id of the DAG."""
        return self.project.name

    def publish(self, **dag: object) -> None:
        """Write the DAG file with these arguments of `ComposeDag`, and wait until Airflow knows it."""
        self.airflow.dag(self.dag_id, self.dag_file(**dag))

    def dag_file(self, **dag: object) -> str:
        """The DAG file with these arguments of `ComposeDag`."""
        given = {"project_name": self.project.name, "engine": self.engine, **dag}
        arguments = ",\n    ".join(f"{name}={value!r}" for name, value in given.items())
        folder = str(self.project.folder)
        return _DAG.format(dag_id=self.dag_id, folder=folder, arguments=arguments)

    def trigger(self, **conf: object) -> DagRun:
        """Start a run."""
        return self.airflow.trigger(self.dag_id, **conf)

    @property
    def beside(self) -> Workspace:
        """The project as a user beside Airflow has it, with the command `gigogne`."""
        mine = {"GIGOGNE_ENGINE": self.engine, "COMPOSE_PROJECT_NAME": self.project.name}
        return Workspace(self.project.folder, {**self.airflow.environment, **mine})

    def clean(self) -> None:
        """End the runs that are under way, forget the DAG, and stop what the project has left."""
        try:
            if self.airflow.api.knows(self.dag_id):
                self._end_runs()
        finally:
            (self.airflow.home / "dags" / f"{self.dag_id}.py").unlink(missing_ok=True)
            self.beside.run("down", "-v")

    def _end_runs(self) -> None:
        self.airflow.api.ask("PATCH", f"/dags/{self.dag_id}", {"is_paused": True})
        found = self.airflow.api.ask("GET", f"/dags/{self.dag_id}/dagRuns", state=["running", "queued"])
        for each in found["dag_runs"]:
            run = DagRun(self.airflow.api, self.dag_id, each["dag_run_id"])
            self.airflow.api.ask("PATCH", run.path, {"state": "failed"})


@dataclass
class Life:
    """A container of a job, from its start to its end, in seconds since the epoch."""

    service: str
    run: str
    name: str
    began: float
    ended: float = math.inf

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self.ended == math.inf


@dataclass
class Lives:
    """The containers of a project's jobs, as the daemon tells of them."""

    seen: dict[str, Life] = field(default_factory=dict)

    def of(self, service: str, run: str = "") -> list[Life]:
        """Those of a service, in order of their start."""
        found = [each for each in self.seen.values() if each.service == service and run in each.run]
        return sorted(found, key=lambda each: each.began)

    def at_once(self) -> list[tuple[Life, Life]]:
        """Two containers of one task that ran at the same time: what must never be."""
        ordered = sorted(self.seen.values(), key=lambda each: (each.service, each.run, each.began))
        pairs = pairwise(ordered)
        return [(a, b) for a, b in pairs if (a.service, a.run) == (b.service, b.run) and b.began < a.ended]

    def are_over(self) -> bool:
        """Whether all have ended."""
        return not any(each.runs for each in self.seen.values())

    def note(self, event: Mapping[str, Any]) -> None:
        """Write down what the daemon says of a container."""
        labels = event["Actor"]["Attributes"]
        moment = event["timeNano"] / 1e9
        if event["Action"] == "start" and "gigogne.run" in labels:
            service = labels["com.docker.compose.service"]
            self.seen[event["Actor"]["ID"]] = Life(service, labels["gigogne.run"], labels["name"], moment)
        elif event["Action"] == "die" and (life := self.seen.get(event["Actor"]["ID"])):
            life.ended = moment


@contextlib.contextmanager
def lives(project: str) -> Iterator[Lives]:
    """While it holds, the containers of the project's jobs are written down."""
    found = Lives()
    with contextlib.closing(connect()) as client, on_event(client, project, ["start", "die"], found.note):
        yield found


@contextlib.contextmanager
def process_lives(project: str) -> Iterator[Lives]:
    """The same for the process engine: the shells that are the jobs of the project, looked for again and again."""
    found = Lives()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.1):
            now = dict(_shells(project))
            for name, life in now.items():
                found.seen.setdefault(name, life)
            for name in found.seen.keys() - now.keys():
                found.seen[name].ended = min(found.seen[name].ended, time.time())

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield found
    finally:
        over.set()
        watching.join(10)


def _shells(project: str) -> Iterator[tuple[str, Life]]:
    """The shells of a project's jobs: those with Airflow's context in their environment from the start."""
    for pid in psutil.pids():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            each = psutil.Process(pid)  # anew: `process_iter` remembers what it was before `exec`
            if each.cmdline()[1:2] != ["-c"] or each.name() not in {"sh", "dash", "busybox"}:
                continue
            has = each.environ()
            if has.get("AIRFLOW_CTX_DAG_ID") == project:
                run, task = has["AIRFLOW_CTX_DAG_RUN_ID"], has["AIRFLOW_CTX_TASK_ID"]
                yield str(each.pid), Life(task, stable_run_id(project, run, task, -1), str(each.pid), time.time())
