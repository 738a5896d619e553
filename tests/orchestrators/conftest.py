"""Detached runs, on each engine: their processes are started one by one, as Airflow starts its tasks."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from tests.conftest import Workspace

from gigogne.compose.binary import compose_binary
from gigogne.core.engine import Engine
from gigogne.core.model import Project
from gigogne.engines.docker.engine import DockerEngine
from gigogne.engines.docker.place import find_place
from gigogne.engines.process.engine import ProcessEngine

_ASKED = os.environ.get("GIGOGNE_TEST_WAYS", "sandbox portable").split()
DOCKER = pytest.param("docker", marks=pytest.mark.docker)
# Where it makes little difference on which engine, one is enough, but for CI_LEVEL=full.
PROCESS = _ASKED[-1]
DOCKER_TOO = pytest.param("docker", marks=[pytest.mark.docker, pytest.mark.full])
PROCESS_TOO = pytest.param(PROCESS, marks=pytest.mark.full)
ALL = (*(pytest.param(way, marks=pytest.mark.sandbox) if way == "sandbox" else way for way in _ASKED), DOCKER)

# A server and a job that end at once when they are asked to, and a server that never gets well.
PROJECT = """\
x-all: &all
  image: python:3.12-slim
  stop_grace_period: 2s
  {network}
x-server: &server
  <<: *all
  command: [sh, -c, 'trap "exit 0" TERM; echo serves; while :; do sleep 0.1; done']
  healthcheck: {{test: [CMD, "true"], interval: 1s, start_period: 20s, start_interval: 0.1s}}
services:
  db: *server
  api: {{<<: *server, depends_on: {{db: {{condition: service_healthy}}}}}}
  ill:
    <<: *server
    depends_on: {{db: {{condition: service_healthy}}}}
    command: [sh, -c, 'trap "exit 0" TERM; echo I am ill; while :; do sleep 0.1; done']
    healthcheck: {{test: [CMD, "false"], interval: 0.2s, retries: 2}}
  brief:
    <<: *server
    command: [sh, -c, 'sleep 0.5; echo I have nothing to do']
    healthcheck: {{test: [CMD, "false"], interval: 20s, start_period: 20s}}
  job:
    <<: *all
    command: [sh, -c, 'trap "exit 0" TERM; echo works; while :; do sleep 0.1; done']
    labels: {{gigogne.kind: job}}
  short: {{<<: *all, command: [sh, -c, 'sleep 0.5']}}
"""


@dataclass(frozen=True)
class Detachment:
    """A project whose runs are detached; `run` ids are the test's."""

    workspace: Workspace
    name: str
    engine: Engine

    def begin(self, action: str, run: str, *services: str, **environment: str) -> subprocess.Popen[str]:
        """Start one process of a run: `detached.py`."""
        words = [sys.executable, str(Path(__file__).with_name("detached.py")), action, run, *services]
        return subprocess.Popen(
            words,
            cwd=self.workspace.folder,
            env={**os.environ, **self.workspace.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def act(self, action: str, run: str, *services: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
        """Run one process of a run to its end: the exit code, and what it said."""
        with self.begin(action, run, *services, **environment) as process:
            out, err = process.communicate(timeout=60)
        assert not err, err
        return process.returncode, [json.loads(line) for line in out.splitlines()]

    @contextlib.contextmanager
    def attended(self, run: str, *services: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
        """While it holds, a process sees to the run's first service, a job, which it has started; then it is killed."""
        with self.begin("attend", run, *services, **environment) as process:
            try:
                assert process.stdout is not None and process.stderr is not None
                assert process.stdout.readline(), process.stderr.read()
                yield process
            finally:
                process.kill()

    def running(self) -> set[tuple[str, str]]:
        """What runs: the service, and of a job its run."""
        found = self.engine.find(Project(self.name, Path(), (), {}))
        return {(handle.service, handle.run if handle.data["job"] else "") for handle in found}

    def reap(self, *words: str) -> list[str]:
        """Look once, by the project's name alone: what was said."""
        engine = self.workspace.environment["GIGOGNE_ENGINE"]
        result = self.workspace.run("reap", "--engine", engine, "--project", self.name, "--once", *words)
        assert result.returncode == 0 and not result.stderr, result.stderr
        return result.stdout.splitlines()


@pytest.fixture(params=ALL)
def detachment(request: pytest.FixtureRequest, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Detachment:
    """A project of servers and jobs, on each engine and in each way, one test after the other."""
    name, docker = f"h5-{uuid4().hex[:8]}", request.param == "docker"
    workspace.environment |= {"GIGOGNE_ENGINE": "docker" if docker else "process", "COMPOSE_PROJECT_NAME": name}
    workspace.environment |= {} if docker else {"GIGOGNE_PROCESS": request.param}
    for variable, value in workspace.environment.items():
        monkeypatch.setenv(variable, value)
    workspace.write({"compose.yml": PROJECT.format(network="network_mode: none" if docker else "")})
    if docker:
        client = request.getfixturevalue("docker_engine")
        place = find_place(client, Path.cwd())
        return Detachment(workspace, name, DockerEngine(client, place, compose_binary(), lambda *_: None))
    return Detachment(workspace, name, ProcessEngine.of_this_machine(lambda *_: None))
