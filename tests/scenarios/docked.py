"""What the Docker engine has of a project, and what happens there, for tests of runs on it."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

from docker import DockerClient
from docker.errors import NotFound
from tests.conftest import Workspace
from tests.scenarios.observe import wait_for

__all__ = ["containers", "leases", "on_event", "read_until", "running", "started", "until", "use_docker"]

_SERVICE = "com.docker.compose.service"


def containers(engine: DockerClient, project: str) -> dict[str, dict[str, Any]]:
    """The containers of a project, inspected, by name; the locks of its runs too."""
    found = {}
    for label in ("com.docker.compose.project", "gigogne.project"):
        for each in engine.api.containers(all=True, filters={"label": f"{label}={project}"}):
            with contextlib.suppress(NotFound):  # it goes at this moment
                found[each["Names"][0][1:]] = engine.api.inspect_container(each["Id"])
    return found


def running(engine: DockerClient, project: str, service: str) -> list[str]:
    """The names of a service's containers that run."""
    found = containers(engine, project).items()
    mine = [(name, each) for name, each in found if each["Config"]["Labels"].get(_SERVICE) == service]
    return [name for name, each in mine if each["State"]["Running"]]


def leases(engine: DockerClient, project: str) -> list[str]:
    """What the project's runs have written down of their needs."""
    return [volume.name for volume in engine.volumes.list(filters={"label": f"gigogne.project={project}"})]


def use_docker(workspace: Workspace) -> str:
    """Let the workspace's command use Docker, under a project name that no other test has: the name."""
    name = f"h7-{uuid4().hex[:8]}"
    workspace.environment |= {"GIGOGNE_ENGINE": "docker", "COMPOSE_PROJECT_NAME": name}
    return name


@contextlib.contextmanager
def on_event(
    engine: DockerClient, project: str, event: str | list[str], act: Callable[[dict[str, Any]], object]
) -> Iterator[None]:
    """While it holds, `act` is called with each such event of the project's containers, as soon as it comes."""
    asked = {"type": "container", "event": event, "label": f"com.docker.compose.project={project}"}
    events = engine.events(decode=True, filters=asked)

    def watch() -> None:
        for each in events:
            act(each)

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield
    finally:
        events.close()
        watching.join(10)


@contextlib.contextmanager
def started(workspace: Workspace, *arguments: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The command `gigogne`, at work; killed where a test ends before it does."""
    with workspace.start(*arguments, **environment) as process:
        try:
            yield process
        finally:
            process.kill()


def read_until(process: subprocess.Popen[str], *words: str) -> list[str]:
    """The lines that the process says, up to the one with all of these words."""
    assert process.stdout is not None
    lines = [process.stdout.readline()]
    while not all(word in lines[-1] for word in words):
        assert lines[-1], f"it ended, and never said {words}: {lines}"
        lines.append(process.stdout.readline())
    return lines


def until(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until the condition holds, which the process is to bring about."""

    def met() -> bool:
        if process.poll() is not None and not condition():
            raise AssertionError(f"it ended with {process.returncode}: {process.communicate()}")
        return bool(condition())

    wait_for(met)
