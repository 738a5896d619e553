"""Detached runs of the process engine in several processes, each of which is killed -9 or simply ends; both ways."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import Workspace
from tests.scenarios.observe import Maker, left_behind, wait_for

from gigogne.core.engine import Detached, Handle, Run, State
from gigogne.core.model import Project
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.embedded.login import log_in
from gigogne.engines.process.engine import ProcessEngine
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.sandbox import find_bubblewrap

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

# Who needs what is told by files, which are the same both ways.
ONE_WAY = pytest.mark.parametrize("way", ["portable"], indirect=True)
# What another process does with the project: as an Airflow task would, with nothing but the files at hand.
OTHER = """
import json, sys, time
from gigogne.compose import LoadOptions, load_project
from gigogne.core.engine import Detached, Run
from gigogne.engines.process.engine import ProcessEngine
from gigogne.orchestrators.servers import ServersStart, stop_servers

act, run_id, *names = sys.argv[1:]
project = load_project(LoadOptions())
engine = ProcessEngine.of_this_machine(lambda service, text: None)
run = Run(run_id, project, tuple(names), Detached(time.time() + 600))
say = lambda event: print("event", event, flush=True)
if act == "up":
    handles = ServersStart(engine, run, names, say).execute()
    print("handles", json.dumps([handle.as_dict() for handle in handles]), flush=True)
elif act == "down":
    stop_servers(engine, run, names, say)
else:
    with engine.attend(run):
        engine.prepare(project.services[names[0]], run)
        handle = engine.start(project.services[names[0]], run)
        print("handles", json.dumps([handle.as_dict()]), flush=True)
        if act == "attend":
            time.sleep(600)
"""


@dataclass
class Others:
    """Other processes at work on the project of a workspace, and an engine of this one that only looks."""

    workspace: Workspace
    engine: ProcessEngine
    name: str

    @property
    def project(self) -> Project:
        """The project as one knows it by its name alone."""
        return Project(self.name, Path(), (), {})

    def begin(self, *words: str) -> subprocess.Popen[str]:
        """Start another process."""
        return subprocess.Popen(
            [sys.executable, "-c", OTHER, *words],
            cwd=self.workspace.folder,
            env={**os.environ, **self.workspace.environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def handles(self, process: subprocess.Popen[str]) -> list[Handle]:
        """What it has started, as soon as it says so."""
        assert process.stdout is not None
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("handles "):
                return [Handle(**each) for each in json.loads(line.removeprefix("handles "))]
        raise AssertionError("".join(said))

    def to_the_end(self, *words: str) -> str:
        """What another process says until it ends, in good order."""
        with self.begin(*words) as process:
            said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        return said

    def found(self, name: str) -> Handle:
        """The service that runs now."""
        [handle] = [each for each in self.engine.find(self.project) if each.service == name]
        return handle


@pytest.fixture
def others(way: str, workspace: Workspace) -> Iterator[Others]:
    """Others that work in one way, and look with the same."""
    paths = Paths(Paths.of_user().cache, Path(workspace.environment["GIGOGNE_DATA_DIR"]))
    bubblewrap = find_bubblewrap()[0] if way == "sandbox" else None
    yield Others(workspace, ProcessEngine(paths, bubblewrap, lambda _service, _text: None), "apart")
    assert workspace.run("down").returncode == 0
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


JOB = """
name: apart
services:
  a:
    build: .
    command: python a.py
    environment: {GATE: /gate, TOKEN: s3cr3t}
    volumes: ["gate:/gate"]
    stop_grace_period: 0.2s
volumes: {gate: {}}
"""
WAITS = """
import os, pathlib, sys, time
print("begun", flush=True)
while not (pathlib.Path(os.environ["GATE"]) / "go").exists():
    time.sleep(0.02)
print("went on", file=sys.stderr)
pathlib.Path(os.environ["GIGOGNE_RESULT"]).write_text('"done"')
sys.exit(5)
"""


def test_a_job_whose_starter_is_killed(others: Others, python_project: Maker) -> None:
    """It is seen to be attended until then, goes on alone, and another process gets its lines, code and result."""
    workspace = python_project(JOB, {"a.py": WAITS})
    with others.begin("attend", "airflow-1", "a") as starter:
        [handle] = others.handles(starter)
        found = others.found("a")
        assert found.data["attended"] is True and found.data["detached"] is True and found.run == "airflow-1"
        begun = next(others.engine.logs(handle, follow=True))
        starter.kill()
    found = others.found("a")
    assert found.data["attended"] is False and found.data["orphan"] is False
    assert others.engine.status(found).state is State.RUNNING and others.engine.ended([found]) == []
    assert (others.engine.environment(found) or {})["TOKEN"] == "s3cr3t"
    (workspace.volume("apart_gate") / "go").touch()
    rest = [(line.stream, line.text) for line in others.engine.logs(found, follow=True, after=begun.position)]
    assert (begun.text, rest) == ("begun", [("stderr", "went on")])
    assert others.engine.wait(found, timeout=20).code == 5 and others.engine.result(found) == b'"done"'
    others.engine.discard(found)
    assert not others.engine.find(others.project, ended=True)


def test_a_job_that_ends_while_nobody_lives(others: Others, python_project: Maker) -> None:
    """Its code, its lines and its result are there for who comes later; of its scratch nothing is."""
    python_project(JOB, {"a.py": WAITS.replace("while not", "while False and not")})
    said = others.to_the_end("start", "airflow-1", "a")
    handle = Handle(**json.loads(said.partition("handles ")[2])[0])
    folder = Path(handle.data["directory"])
    wait_for(lambda: (folder / "code").exists())
    [found] = others.engine.find(others.project, ended=True)
    assert others.engine.status(found).code == 5 and others.engine.result(found) == b'"done"'
    assert {line.text for line in others.engine.logs(found, follow=False)} == {"begun", "went on"}
    assert not (folder / "scratch").exists()


@ONE_WAY
def test_runs_do_not_end_it_but_down_does(others: Others, python_project: Maker) -> None:
    """Another run of the project takes it for no orphan, though nobody attends to it; `gigogne down` ends it."""
    compose = JOB.replace("volumes: {gate", '  b: {build: ., command: "true"}\nvolumes: {gate')
    workspace = python_project(compose, {"a.py": WAITS})
    others.to_the_end("start", "airflow-1", "a")
    result = workspace.run("run", "b")
    assert result.returncode == 0 and "left it behind" not in result.stdout
    assert others.engine.status(others.found("a")).state is State.RUNNING
    assert "orphan" not in workspace.run("ps").stdout
    assert workspace.run("down").returncode == 0 and not others.engine.find(others.project, ended=True)


SERVERS = """
name: apart
services:
  db:
    image: postgres:17
    environment: {POSTGRES_PASSWORD: s3cr3t-pw}
    ports: ["127.0.0.1:25439:5432"]
  s3: {image: minio/minio, environment: {MINIO_ROOT_USER: minio, MINIO_ROOT_PASSWORD: minio123456}, expose: [9000]}
  web:
    build: .
    command: python -m http.server 28439
    ports: ["28439:28439"]
    stop_grace_period: 0.2s
    healthcheck: {test: [CMD, python, -c, "import urllib.request as u; u.urlopen('http://web:28439')"], interval: 0.5s}
    depends_on: {db: {condition: service_healthy}}
"""
NAMES = ("db", "s3", "web")


def test_servers_of_one_process_stopped_by_another(others: Others, python_project: Maker) -> None:
    """A setup starts them and ends; they answer, others see them healthy and use them; the teardown stops them all."""
    workspace = python_project(SERVERS, {})
    others.to_the_end("up", "airflow-servers", *NAMES)
    time.sleep(0.5)  # a relay that had to end with its starter would be gone by now
    log_in(Endpoint("127.0.0.1", 25439), user="postgres", password="s3cr3t-pw", database="postgres")
    found = others.engine.find(others.project)
    assert {handle.service for handle in found} == set(NAMES)
    assert not any(handle.data.get("detached") or handle.data["orphan"] or handle.data["job"] for handle in found)
    states = {
        each["service"]: each["state"] for each in map(json.loads, workspace.run("ps", "--json").stdout.splitlines())
    }
    assert states["db"] == states["s3"] == "healthy"
    again = others.to_the_end("up", "airflow-other", *NAMES)
    assert again.count("adopted=True") == 3
    assert "another run needs it" in others.to_the_end("down", "airflow-servers", *NAMES)
    assert {handle.service for handle in others.engine.find(others.project)} == set(NAMES)
    others.to_the_end("down", "airflow-other", *NAMES)
    assert not others.engine.find(others.project)
    wait_for(lambda: not left_behind(workspace.environment["GIGOGNE_DATA_DIR"]))  # the relays end by themselves


@ONE_WAY
def test_servers_that_others_keep_up(others: Others, python_project: Maker) -> None:
    """What `gigogne up` has started stays up at the teardown; what an attended job needs, too, until it is killed."""
    compose = "name: apart\nservices: {web: {build: ., command: sleep 600, expose: [28438], stop_grace_period: 0.2s}}\n"
    workspace = python_project(compose, {})
    with workspace.start("up", "--json") as up:
        assert up.stdout is not None
        said = list(itertools.takewhile(lambda line: '"started"' not in line, up.stdout))
        assert up.poll() is None, said
        assert "adopted=True" in others.to_the_end("up", "airflow-servers", "web")
        assert "stays up" in others.to_the_end("down", "airflow-servers", "web")
        assert others.found("web")
        up.send_signal(signal.SIGINT)
        up.communicate(timeout=30)
    assert not others.engine.find(others.project)
    others.to_the_end("up", "airflow-servers", "web")
    engine, run = others.engine, Run("airflow-1", others.project, ("web",), Detached())
    with engine.attend(run):
        assert "stays up" in others.to_the_end("down", "airflow-servers", "web")
        assert others.found("web")
    others.to_the_end("down", "airflow-servers", "web")
    assert not others.engine.find(others.project)
