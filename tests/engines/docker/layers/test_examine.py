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


@pytest.fixture
def project(tmp_path: Path, docker_engine: DockerClient) -> Iterator[Project]:
    """A project whose one service has a Dockerfile of four stages, built."""
    name = f"layers-{uuid4().hex[:8]}"
    (tmp_path / "Dockerfile").write_text(DOCKERFILE, encoding="utf-8")
    text = f"name: {name}\nservices: {{it: {{image: '{name}', build: .}}}}\n"
    (tmp_path / "docker-compose.yml").write_text(text, encoding="utf-8")
    yield load_project(LoadOptions(files=(str(tmp_path / "docker-compose.yml"),)))
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
