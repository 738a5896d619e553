"""Detached runs on Docker, as several processes have them: one engine here, others in processes to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.conftest import Workspace

from gigogne.choice import choose_engine
from gigogne.compose import LoadOptions, load_project
from gigogne.core.engine import Detached, Engine, Handle, Run
from gigogne.core.model import Project
from gigogne.engines.docker.engine import DockerEngine

__all__ = [
    "Worker",
    "another_engine",
    "at_work",
    "detached",
    "handle_of",
    "known_by_name",
    "load",
    "of_workspace",
    "only",
    "trying",
]

# What another process does first: `engine`, `project` and `run` are as the tests have them; `say` tells what it has.
_SETUP = """
import json, sys, time
from tests.scenarios.detached import another_engine, detached, load
engine, project = another_engine(), load(sys.argv[1], sys.argv[2])
run = detached(project, sys.argv[3])
def say(**words): print(json.dumps(words), flush=True)
"""


def another_engine() -> DockerEngine:
    """A Docker engine as a composition root makes one; what it says goes to standard error."""
    engine, _ = choose_engine("docker", lambda service, text: print(service, text, file=sys.stderr))
    assert isinstance(engine, DockerEngine)
    return engine


def load(folder: str, name: str) -> Project:
    """The project in a folder."""
    return load_project(LoadOptions(directory=folder, project_name=name))


def of_workspace(workspace: Workspace) -> Project:
    """The workspace's project."""
    return load(str(workspace.folder), workspace.environment["COMPOSE_PROJECT_NAME"])


def known_by_name(project: Project) -> Project:
    """The project as one knows it who has read no file."""
    return Project(project.name, Path(), (), {})


def detached(project: Project, id_: str, services: tuple[str, ...] = (), **settings: Any) -> Run:
    """A detached run of these services, by default all."""
    return Run(id_, project, services or tuple(project.services), Detached(**settings))


def trying(run: Run, attempt: int) -> Run:
    """The same run in another try."""
    assert run.detached is not None
    return replace(run, detached=replace(run.detached, attempt=attempt))


@contextmanager
def at_work(project: Project, id_: str, script: str) -> Iterator[Worker]:
    """Another process that carries out a script, killed in the end."""
    words = [sys.executable, "-c", _SETUP + script, str(project.directory), project.name, id_]
    paths = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment = {**os.environ, **paths}
    with subprocess.Popen(words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Worker(process)
        finally:
            process.kill()


class Worker:
    """Another process, which says what it has, a line each time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def hear(self) -> dict[str, Any]:
        """The next that it says."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, f"it ended with {self.process.wait()}"
        heard: dict[str, Any] = json.loads(line)
        return heard

    def kill(self) -> None:
        """Kill it with -9."""
        self.process.kill()
        self.process.wait()

    def finish(self) -> int:
        """Let it go on, and wait for its end: its exit code."""
        self.process.communicate("\n", timeout=60)
        return self.process.returncode


def handle_of(said: dict[str, Any]) -> Handle:
    """A handle that went from one process to another."""
    return Handle(**said)


def only(engine: Engine, project: Project, *, ended: bool = True) -> Handle:
    """The one service that is found of the project."""
    (found,) = engine.find(project, ended=ended)
    return found
