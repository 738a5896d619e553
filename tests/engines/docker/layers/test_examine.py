"""A single stage, built on a real engine: it holds and runs what the several stages do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from docker import DockerClient

from gigogne.compose import LoadOptions, load_project
from gigogne.compose.binary import compose_binary
from gigogne.core.model import Project
from gigogne.engines.docker.layers.examine import Examiner, derived
from gigogne.engines.docker.layers.stages import read_dockerfile
from gigogne.errors import EngineError

DOCKERFILE = """
ARG BASE=busybox:1.36
FROM ${BASE} AS common
WORKDIR /app
ENV MODE=run

FROM common AS build
WORKDIR sub
ENV PATH=/nowhere:$PATH MODE=build
RUN mkdir -p out/deep tools && echo $MODE > out/deep/mode && echo tool > tools/t && echo 'a b' > 'out/a b'
USER 1000
CMD ["false"]

FROM common AS wheels
RUN mkdir /wheels && echo wheel > /wheels/w

FROM common
SHELL ["/bin/sh", "-e", "-c"]
RUN --mount=from=wheels,source=/wheels,target=/mnt/wheels cp /mnt/wheels/w installed
COPY --from=build /app/sub/out /opt/x
COPY --from=build --chmod=700 ["/app/sub/out/a b", "."]
COPY --from=build --chown=1000 /app/sub/t*/t /opt/t
USER 1000
COPY --from=build /app/sub/tools/t $MODE/
ENTRYPOINT ["/bin/sh", "-c"]
"""
LOOK = (
    "id -u; pwd; echo $PATH $MODE; cd / && find app/t 'app/a b' app/run app/installed opt -type f | sort"
    ' | while read file; do echo $file $(cat "$file") $(stat -c \'%a %u\' "$file"); done'
)


def loaded(folder: Path, compose: str, dockerfile: str) -> Project:
    """A project of these two files."""
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    (folder / "docker-compose.yml").write_text(compose, encoding="utf-8")
    return load_project(LoadOptions(files=(str(folder / "docker-compose.yml"),)))


@pytest.fixture
def project(tmp_path: Path, docker_engine: DockerClient) -> Iterator[Project]:
    """A project whose one service has a Dockerfile of four stages, built."""
    name = f"layers-{uuid4().hex[:8]}"
    yield loaded(tmp_path, f"name: {name}\nservices: {{it: {{image: '{name}', build: .}}}}\n", DOCKERFILE)
    docker_engine.images.remove(name)


@pytest.mark.docker
def test_a_single_stage_does_the_same(project: Project, docker_engine: DockerClient) -> None:
    """The same files with the same contents, modes and owners, user, working directory and variables."""
    service = project.services["it"]
    examiner = Examiner(docker_engine, compose_binary(), project, lambda *_: None)
    report = examiner.examine(service.image, [service], build=False, compare=True)
    assert (report.base, report.remark) == ("busybox:1.36", "")
    assert report.single_stage is not None and (report.single_stage.above_base or 0) > report.above_base
    dockerfile = read_dockerfile(service, project)
    made = derived(docker_engine, dockerfile, dockerfile.target(None), report.base)
    with examiner.single_stage(service, made.text) as tag:
        looks = [docker_engine.containers.run(image, [LOOK], remove=True) for image in (service.image, tag)]
    assert looks[0].decode().splitlines() == looks[1].decode().splitlines()
    assert b"opt/x/deep/mode build" in looks[0] and b"app/installed wheel" in looks[0] and b"/app\n" in looks[0]


@pytest.mark.docker
def test_cleaning_up_hides_no_error(tmp_path: Path, docker_engine: DockerClient) -> None:
    """An image that is in use cannot be removed: what went wrong before is told, not that."""
    project = loaded(tmp_path, "services: {it: {build: .}}\n", "FROM busybox:1.36\n")
    examiner = Examiner(docker_engine, compose_binary(), project, lambda *_: None)
    tag, container = "", None
    try:
        with (
            pytest.raises(ValueError, match="it went wrong"),
            examiner.single_stage(project.services["it"], "FROM busybox:1.36\nRUN echo 1 > /one\n") as tag,
        ):
            container = docker_engine.containers.create(tag)
            raise ValueError("it went wrong")
    finally:
        if container is not None:
            container.remove()
            docker_engine.images.remove(tag)


@pytest.mark.docker
def test_a_secret_is_masked_before_it_is_cut(tmp_path: Path, docker_engine: DockerClient) -> None:
    """A value that has words in it which are left out of what the builder says is masked like any other."""
    secret = "hunter2 Error response from daemon: hunter3"
    compose = f"services: {{it: {{build: {{context: ., args: {{TOKEN: '{secret}'}}}}}}}}\n"
    project = loaded(tmp_path, compose, "FROM busybox:1.36\n")
    examiner = Examiner(docker_engine, compose_binary(), project, lambda *_: None)
    with (
        pytest.raises(EngineError, match=r"single-stage build to compare with fails: .*not found") as caught,
        examiner.single_stage(project.services["it"], "FROM busybox:1.36\nARG TOKEN\nCOPY $TOKEN /it\n"),
    ):
        pass
    assert "hunter" not in caught.value.message
