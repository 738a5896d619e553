"""`gigogne images`, on a real engine: what an image is made of, against a single-stage build of the same."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from uuid import uuid4

import psutil
import pytest
from docker import DockerClient
from tests.conftest import Workspace
from tests.scenarios.observe import wait_for

NOBODY = "unix:///nowhere/docker.sock"
COMPOSE = """
services:
  tool:
    image: {name}/tool:latest
    build: &build
      context: .
      args:
        TOKEN: hunter2
  again:
    image: {name}/tool:latest
    build: *build
  plain:
    image: busybox:1.36
"""
DOCKERFILE = """
FROM busybox:1.36 AS build
ARG TOKEN
RUN mkdir -p /opt/tool /root/.cache/pip && head -c 300000 /dev/zero > /opt/tool/library \\
    && head -c 500000 /dev/zero > /root/.cache/pip/wheel && test -n "$TOKEN"

FROM busybox:1.36
COPY --from=build /opt/tool /opt/tool
COPY main.py .env /app/
RUN rm /app/main.py
CMD ["sleep", "600"]
"""


@pytest.fixture
def project(workspace: Workspace, docker_engine: DockerClient) -> Iterator[str]:
    """A project of two services that share an image of two stages; its name, which no other test has."""
    name = f"images-{uuid4().hex[:8]}"
    workspace.environment |= {"COMPOSE_PROJECT_NAME": name, "GIGOGNE_ENGINE": "docker"}
    files = {"docker-compose.yml": COMPOSE.format(name=name), "Dockerfile": DOCKERFILE}
    workspace.write({**files, "main.py": "print(1)\n", ".env": f"SECRET=1\n{'#' * 80}\n"})
    yield name
    for image in docker_engine.images.list(f"{name}/*"):
        docker_engine.images.remove(image.tags[0])
    # Each version but the last one has lost its name.
    docker_engine.images.prune(filters={"dangling": True, "label": f"com.docker.compose.project={name}"})


@pytest.mark.docker
def test_layers_savings_and_the_single_stage(project: str, workspace: Workspace, docker_engine: DockerClient) -> None:
    """Each layer with its instruction, what is paid twice, what looks secret, and what one stage would carry."""
    ran = workspace.run("images", "--json", "tool")
    assert ran.returncode == 0, ran.stderr
    (line,) = ran.stdout.splitlines()
    report = json.loads(line)
    assert (report["image"], report["services"], report["base"]) == (
        f"{project}/tool:latest",
        ["tool", "again"],
        "busybox:1.36",
    )
    own = [layer for layer in report["layers"] if not layer["base"]]
    assert [(layer["instruction"], layer["line"]) for layer in own] == [
        ("COPY --from=build /opt/tool /opt/tool", 8),
        ("COPY main.py .env /app/", 9),
        ("RUN rm /app/main.py", 10),
    ]
    assert [layer["bytes"] for layer in own] == [300_000, 9 + 90, 0]
    assert report["above_base"] == 300_099 and report["bytes"] > report["above_base"]
    savings = {saving["what"].partition(",")[0]: saving for saving in report["savings"]}
    assert savings["files that look like secrets"]["places"] == ["/app/.env"]
    assert savings["deleted by a later layer"]["bytes"] == 9
    single = report["single_stage"]
    assert single["above_base"] == 800_099
    assert [(it["what"], it["bytes"]) for it in single["carries"] if it["bytes"] > 1000] == [
        ("caches of installers", 500_000)
    ]
    assert not docker_engine.images.list("gigogne-images/*")
    assert "building it in a single stage" in ran.stderr
    assert "hunter2" not in ran.stdout + ran.stderr


@pytest.mark.docker
def test_a_report_for_people(project: str, workspace: Workspace) -> None:
    """All images of the project once, with where each layer comes from and what to do; nothing else on stdout."""
    ran = workspace.run("images", "--no-compare")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith(f"{project}/tool:latest (again, tool): ")
    assert "0.3 MB above busybox:1.36" in ran.stdout
    assert "line 8" in ran.stdout and "FROM busybox:1.36" in ran.stdout
    assert "files that look like secrets" in ran.stdout and "fix: name them in .dockerignore" in ran.stdout
    assert "single stage" not in ran.stdout


@pytest.mark.docker
def test_an_image_of_an_older_dockerfile(project: str, workspace: Workspace) -> None:
    """Its layers are not those of the file: it is said, and `--build` makes them so."""
    assert workspace.run("images", "--no-compare").returncode == 0
    workspace.write({"Dockerfile": "FROM busybox:1.36\nRUN echo 1 > /a\nRUN echo 2 > /b\n"})
    assert "gigogne images --build" in workspace.run("images", "--no-compare").stdout
    built = workspace.run("images", "--build")
    assert "line 3" in built.stdout and "it is built in one stage already" in built.stdout


@pytest.mark.docker
@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_ends_the_build(project: str, workspace: Workspace, number: int, code: int) -> None:
    """Ctrl-C while an image is built ends the builder too, which has a session of its own; so does SIGTERM."""
    workspace.write({"Dockerfile": f"FROM busybox:1.36\nRUN echo {project} && sleep 120\n"})
    with workspace.start("images", "tool") as process:
        said = process.stderr
        assert said is not None
        wait_for(lambda: "sleep 120" in said.readline())
        builders = psutil.Process(process.pid).children(recursive=True)
        assert builders
        process.send_signal(number)
        began = time.monotonic()
        process.communicate(timeout=30)
    assert process.returncode == code and time.monotonic() - began < 10
    assert not psutil.wait_procs(builders, timeout=1)[1]


@pytest.mark.docker
def test_a_build_that_fails_is_told(project: str, workspace: Workspace) -> None:
    """With the last words of the builder, and exit code 4."""
    workspace.write({"Dockerfile": "FROM busybox:1.36\nRUN echo it is broken && false\n"})
    ran = workspace.run("images", "tool")
    assert ran.returncode == 4 and "cannot be built" in ran.stderr and "it is broken" in ran.stderr


def test_no_docker_is_told(workspace: Workspace) -> None:
    """Images are Docker's: where no daemon answers, the command says so and what to do."""
    workspace.write({"docker-compose.yml": "services: {a: {build: .}}\n", "Dockerfile": "FROM busybox:1.36\n"})
    ran = workspace.run("images", DOCKER_HOST=NOBODY, GIGOGNE_ENGINE="auto")
    assert ran.returncode == 4 and "no Docker daemon answers" in ran.stderr and "fix: " in ran.stderr


def test_the_process_engine_has_no_images(workspace: Workspace) -> None:
    """Who asks for it does not get Docker instead, by the variable or by the option."""
    workspace.write({"docker-compose.yml": "services: {a: {build: .}}\n", "Dockerfile": "FROM busybox:1.36\n"})
    by_variable = workspace.run("images", DOCKER_HOST=NOBODY, GIGOGNE_ENGINE="process")
    by_option = workspace.run("--engine", "process", "images", DOCKER_HOST=NOBODY, GIGOGNE_ENGINE="docker")
    for ran in (by_variable, by_option):
        assert ran.returncode == 4 and "images are Docker's" in ran.stderr
        assert "fix: gigogne images --engine docker" in ran.stderr
    later = workspace.run("images", "--engine", "docker", DOCKER_HOST=NOBODY, GIGOGNE_ENGINE="process")
    assert "no Docker daemon answers" in later.stderr


def test_a_service_without_build_is_named(workspace: Workspace) -> None:
    """Before anything is asked of Docker: a server's image is not ours to change."""
    workspace.write({"docker-compose.yml": "services: {a: {build: .}, db: {image: postgres:17}}\n"})
    named = workspace.run("images", "db", DOCKER_HOST=NOBODY)
    assert named.returncode == 2
    assert "services.db has no build:, its image postgres:17 is made elsewhere" in named.stderr
    assert "fix: name one that has: a" in named.stderr
    workspace.write({"docker-compose.yml": "services: {db: {image: postgres:17}}\n"})
    none = workspace.run("images", DOCKER_HOST=NOBODY)
    assert none.returncode == 2 and "no service of this project has a build:" in none.stderr


def test_an_unknown_service_is_named(workspace: Workspace) -> None:
    """As for every command."""
    workspace.write({"docker-compose.yml": "services: {cleaning: {build: .}}\n"})
    ran = workspace.run("images", "cleanin", DOCKER_HOST=os.devnull)
    assert ran.returncode == 2 and "cleaning" in ran.stderr
