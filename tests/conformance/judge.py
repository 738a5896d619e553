"""The judge: plain Docker Compose and the Docker Engine, with nothing of ours between them."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from tests.conformance.behaviour import NEVER_RAN, Behaviour, JobObservation, Observation, lines, written
from tests.conformance.probe import probing

from gigogne.compose.binary import compose_binary

__all__ = ["facts", "observe", "shell_of", "swept"]

_PATIENCE = 60.0


def observe(behaviour: Behaviour) -> Observation:
    """What `docker compose up -d` makes of the behaviour."""
    client = docker.from_env()
    with behaviour.settled() as folder, swept(client, behaviour.project_name), probing(behaviour, folder):
        up = _compose(behaviour, folder, "up", "-d", "--quiet-pull", *behaviour.targets)
        ended = _ended(client, behaviour)
        if not ended and not any(map(_was_started, _containers(client, behaviour.project_name))):
            return Observation(None, {}, written(folder))
        jobs = {name: _job(container) for name, container in ended.items()}
        first = sorted(ended.values(), key=lambda container: str(container.attrs["State"]["FinishedAt"]))
        codes = [code for container in first if (code := container.attrs["State"]["ExitCode"])]
        if len(_containers(client, behaviour.project_name)) > len(ended):
            _compose(behaviour, folder, "stop")
        return Observation(codes[0] if codes else min(up.returncode, 1), jobs, written(folder))


def facts() -> dict[str, str]:
    """Which judge it was."""
    version = docker.from_env().version()
    compose = subprocess.run([str(compose_binary()), "version", "--short"], capture_output=True, text=True, check=True)
    return {"Docker Engine": version["Version"], "Docker Compose": compose.stdout.strip()}


def shell_of(behaviour: Behaviour, **more: str) -> dict[str, str]:
    """The environment of the shell in which the command is typed: this one's, less what would speak to Compose."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("COMPOSE_", "GIGOGNE_ENGINE"))}
    return {**kept, **behaviour.environment, **more}


@contextmanager
def swept(client: docker.DockerClient, project: str) -> Iterator[None]:
    """Nothing of the project is on the engine before, and nothing afterwards."""
    _sweep(client, project)
    try:
        yield
    finally:
        _sweep(client, project)


def _sweep(client: docker.DockerClient, project: str) -> None:
    ours = {"label": f"com.docker.compose.project={project}"}
    for container in _containers(client, project):
        container.remove(force=True, v=True)
    for network in client.networks.list(filters=ours):
        network.remove()
    for volume in client.volumes.list(filters=ours):
        volume.remove(force=True)
    for image in client.images.list(filters=ours):
        client.images.remove(str(image.id), force=True)


def _compose(behaviour: Behaviour, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(compose_binary()), *behaviour.options, *words],
        cwd=folder / behaviour.folder,
        env=shell_of(behaviour),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


def _containers(client: docker.DockerClient, project: str) -> list[Container]:
    found: list[Container] = client.containers.list(
        all=True, filters={"label": f"com.docker.compose.project={project}"}
    )
    return found


def _ended(client: docker.DockerClient, behaviour: Behaviour) -> Mapping[str, Container]:
    """The jobs that were started, once each of them has ended for good."""
    found = {}
    deadline = time.monotonic() + _PATIENCE
    for container in _containers(client, behaviour.project_name):
        service = container.labels["com.docker.compose.service"]
        if service not in behaviour.jobs:
            continue
        while (state := _state(container))["Status"] in ("running", "restarting", "removing"):
            assert time.monotonic() < deadline, f"{behaviour}: {service} does not end"
            time.sleep(0.02)
        if state["Status"] == "exited" or state["ExitCode"] in NEVER_RAN:
            found[service] = container
    return found


def _was_started(container: Container) -> bool:
    return not str(container.attrs["State"]["StartedAt"]).startswith("0001-")


def _state(container: Container) -> Mapping[str, Any]:
    container.reload()
    state: Mapping[str, Any] = container.attrs["State"]
    return state


def _job(container: Container) -> JobObservation:
    streams = [container.logs(stdout=stream == 1, stderr=stream == 2).decode(errors="replace") for stream in (1, 2)]
    return JobObservation(container.attrs["State"]["ExitCode"], lines(streams[0]), lines(streams[1]))
