"""Detached runs on Docker beside containers: their guard, as a process and as a container, and who attends in one."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from docker import DockerClient
from docker.errors import NotFound
from docker.models.containers import Container
from tests.conftest import REPOSITORY, Workspace
from tests.scenarios.detached import another_engine, at_work, detached, known_by_name, of_workspace, only
from tests.scenarios.docked import leases
from tests.scenarios.observe import wait_for

from gigogne.compose.binary import compose_binary
from gigogne.engines.docker.engine import DockerEngine

pytestmark = [
    pytest.mark.docker,
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

WAITING = "{image: busybox:1.36, network_mode: none, stop_grace_period: 1s, command: sleep 60}"


def test_one_guard(workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient) -> None:
    """On a host it is one process for the project, which lives on without who started it; a dead one is replaced."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}}}\n"})
    project = of_workspace(workspace)
    word = secrets.token_hex(8)
    guarding = f"engine.guard(project, ('-c', 'import time; time.sleep(60)  # {word[:8]}' '{word[8:]}'))"
    with (
        at_work(project, "run-j", f"\n{guarding}; say()") as one,
        at_work(project, "run-k", f"\n{guarding}; say()") as two,
    ):
        one.hear()
        two.hear()
        one.kill()
        assert two.finish() == 0
    (first,) = pids(word)
    engine.guard(known_by_name(project), ("-c", f"import time; time.sleep(60)  # {word}"))
    assert pids(word) == [first]
    psutil.Process(first).kill()
    wait_for(lambda: not pids(word))
    assert leases(docker_engine, project.name) == [f"{project.name}-gigogne-guard"]
    with engine.turn(detached(project, "run-m"), lambda: False, last=True):
        pass
    assert leases(docker_engine, project.name) == [], "who is dead guards nothing"
    engine.guard(known_by_name(project), ("-c", f"import time; time.sleep(60)  # {word}"))
    (second,) = pids(word)
    assert engine.find(project, ended=True) == []
    workspace.run("down")
    wait_for(lambda: not psutil.pid_exists(second))
    assert leases(docker_engine, project.name) == []


def pids(word: str) -> list[int]:
    """The processes that have a word on their command line."""
    found = psutil.process_iter(["cmdline", "status"])
    return [each.pid for each in found if word in " ".join(each.info["cmdline"] or ())]


@pytest.fixture
def beside(docker_engine: DockerClient) -> Iterator[Container]:
    """A container that reaches the daemon as somebody who is not root. Gigogne comes to it by a mount.

    The image stands for Airflow's.
    """
    site = next(path for path in sys.path if path.endswith("site-packages"))
    binds = {str(REPOSITORY / "src"): "/src", site: "/site", "/var/run/docker.sock": "/var/run/docker.sock"}
    binds |= {str(compose_binary()): "/usr/local/bin/docker-compose"}
    made = docker_engine.containers.run(
        "python:3.12-slim",
        ["sleep", "120"],
        init=True,
        detach=True,
        volumes=[f"{source}:{target}" for source, target in binds.items()],
        environment={
            "GIGOGNE_COMPOSE": "/usr/local/bin/docker-compose",
            "PYTHONPATH": "/src:/site",
            "AIRFLOW__CORE__SQL_ALCHEMY_CONN": "a-secret",
        },
        user="4321:4321",
        group_add=[str(Path("/var/run/docker.sock").stat().st_gid)],
    )
    try:
        yield made
    finally:
        made.remove(force=True)


IN_CONTAINER = """
import os, sys, time
from pathlib import Path
from gigogne.choice import choose_engine
from gigogne.core.engine import Detached, Run
from gigogne.core.model import Project
engine, _ = choose_engine("docker", lambda *words: print(*words, flush=True))
assert engine.position.container, "it knows its own container"
project = Project(sys.argv[1], Path(), (), {})
"""


def test_killed_in_a_container(
    workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient, beside: Container
) -> None:
    """Who attends in another container, and is killed -9 there, attends no more, though the container lives on."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}}}\n"})
    project = of_workspace(workspace)
    handle = engine.start(project.services["job"], detached(project, "run-l"))
    script = IN_CONTAINER + "with engine.attend(Run('run-l', project)): print(os.getpid(), flush=True); time.sleep(60)"
    attending = docker_engine.api.exec_create(beside.id, ["python", "-c", script, project.name])["Id"]
    said = docker_engine.api.exec_start(attending, stream=True)
    pid = next(said).decode().strip()
    assert only(another_engine(), project).data["attended"] is True
    beside.exec_run(["sh", "-c", f"kill -9 {pid}"])
    wait_for(lambda: not docker_engine.api.exec_inspect(attending)["Running"])
    assert only(another_engine(), project).data["attended"] is False
    engine.stop(handle, grace=0)


def test_a_guard_beside_a_container(
    workspace: Workspace, engine: DockerEngine, docker_engine: DockerClient, beside: Container
) -> None:
    """In a container it is one container beside it, of the same image, which is told what it needs and nothing else."""
    workspace.write({"compose.yml": f"services: {{job: {WAITING}}}\n"})
    project = of_workspace(workspace)
    guard = (
        "import os, time; from gigogne.choice import choose_engine; choose_engine('docker', print);"
        "print(os.environ['GIGOGNE_ABANDONED_AFTER'], flush=True); time.sleep(60)"
    )
    script = IN_CONTAINER + f"for _ in range(2): engine.guard(project, ('-c', {guard!r}))"
    code, said = beside.exec_run(
        ["python", "-c", script, project.name], environment={"GIGOGNE_ABANDONED_AFTER": "4321"}
    )
    assert (code, said) == (0, b"")
    name = f"{project.name}-gigogne-reaper"
    try:
        made = docker_engine.containers.get(name)
        wait_for(lambda: b"4321" in made.logs())
        assert made.attrs["Config"]["User"] == "4321:4321" and "a-secret" not in str(made.attrs)
        leads = {"/src", "/site", "/var/run/docker.sock", "/usr/local/bin/docker-compose"}
        assert {mount["Destination"] for mount in made.attrs["Mounts"]} == leads
        assert made.attrs["HostConfig"]["AutoRemove"] is True
        assert engine.find(project, ended=True) == []
        workspace.run("down")
        with pytest.raises(NotFound):
            docker_engine.containers.get(name)
    finally:
        subprocess.run(["docker", "rm", "-f", name], capture_output=True, check=False)
