"""The catalogue in Docker: by plain Compose, by Gigogne, and nested, with the result of the process engine."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator

import pytest
from docker import DockerClient
from tests.conftest import Workspace
from tests.stack.catalog.outcome import SERVERS, SETTINGS, Seen, look, run, served
from tests.stack.conftest import copy_stack

from gigogne.compose.binary import compose_binary

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

FILES = ("-f", "docker-compose.yml", "-f", "pipelines/catalog.yml")


@pytest.fixture
def stack(workspace: Workspace) -> Iterator[Workspace]:
    """The stack as a project of its own name, on an address of its own."""
    name = f"stack-catalog-{os.getpid()}"
    copy_stack(workspace.folder, name)
    workspace.patience = 300
    workspace.environment |= {
        **SETTINGS,
        "COMPOSE_PROJECT_NAME": name,
        "BIND_ADDRESS": f"127.7.{os.getpid() // 256 % 256}.{os.getpid() % 256}",
    }
    yield workspace
    workspace.run("down", "-v")


def compose(stack: Workspace, *words: str) -> None:
    """`docker compose` with the pipeline's edges."""
    command = [str(compose_binary()), *FILES, *words]
    environment = {**os.environ, **stack.environment}
    done = subprocess.run(command, cwd=stack.folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def by_compose(stack: Workspace, engine: DockerClient) -> Seen:
    """`docker compose up -d --build train`, whose edges start all else, in their order."""
    compose(stack, "up", "-d", "--build", "train")
    train = engine.containers.get(f"{stack.environment['COMPOSE_PROJECT_NAME']}-train-1")
    assert train.wait(timeout=120)["StatusCode"] == 0, train.logs().decode()
    compose(stack, "up", "-d", "--wait", *SERVERS)
    seen = look(stack.environment["BIND_ADDRESS"])
    compose(stack, "--profile", "*", "down")  # without its profile, Compose leaves the container of train
    return seen


def by_gigogne(stack: Workspace, *before: str) -> Seen:
    """`gigogne run --pipeline catalog`, perhaps behind other words."""
    with served(stack):
        run(stack, *before)
        return look(stack.environment["BIND_ADDRESS"])


def test_three_ways_with_one_result(stack: Workspace, docker_engine: DockerClient) -> None:
    """Compose, `--engine docker` and `gigogne nest` leave the rows, the file and the model of the process engine."""
    expected = by_gigogne(stack)
    stack.run("down", "-v")
    stack.environment["GIGOGNE_ENGINE"] = "docker"
    ways: dict[str, Callable[[], Seen]] = {
        "docker compose up": lambda: by_compose(stack, docker_engine),
        "gigogne run --engine docker": lambda: by_gigogne(stack),
        "gigogne nest -- gigogne run": lambda: by_gigogne(stack, "nest", "--", "gigogne"),
    }
    for way, begin in ways.items():
        began = time.monotonic()
        assert begin() == expected, way
        assert stack.run("down", "-v").returncode == 0
        print(f"{way}: {time.monotonic() - began:.0f} s")
