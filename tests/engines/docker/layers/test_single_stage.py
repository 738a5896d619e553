"""The single-stage Dockerfile that a multi-stage one is measured against, derived from its text."""

from __future__ import annotations

import textwrap

import pytest

from gigogne.engines.docker.layers.single_stage import SingleStage, single_stage
from gigogne.engines.docker.layers.stages import Dockerfile
from gigogne.errors import ComposeError


def derive(text: str, target: str | None = None, **base: str) -> SingleStage:
    """The single stage of a Dockerfile."""
    return single_stage(Dockerfile(textwrap.dedent(text).lstrip("\n"), "Dockerfile"), target, **base)


def lines(text: str, target: str | None = None, **base: str) -> list[str]:
    """Its lines below FROM."""
    made = derive(text, target, **base).text.splitlines()
    return made[made.index(next(line for line in made if line.startswith("FROM"))) + 1 :]


def test_the_stage_that_is_copied_from_comes_first() -> None:
    """Its FROM is dropped, and what would be copied to the same path is there already."""
    made = derive(
        """
        FROM python:3.12-slim AS build
        COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
        WORKDIR /build
        RUN uv venv /opt/venv \\
            && uv pip install --python /opt/venv requests

        FROM python:3.12-slim
        RUN useradd --uid 1000 mluser
        COPY --from=build /opt/venv/ /opt/venv
        COPY src/ src/
        USER mluser
        CMD ["python"]
        """
    )
    assert made == SingleStage(
        "FROM python:3.12-slim\n"
        "COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv\n"
        "WORKDIR /build\n"
        "RUN uv venv /opt/venv \\\n"
        "    && uv pip install --python /opt/venv requests\n"
        "WORKDIR /\n"
        "RUN useradd --uid 1000 mluser\n"
        "# in its place: /opt/venv/\n"
        "COPY src/ src/\n"
        "USER mluser\n"
        'CMD ["python"]\n'
    )


def test_another_path_is_copied_to_as_root() -> None:
    """COPY asks neither for the user nor for the shell that the RUNs have."""
    made = lines(
        """
        FROM debian AS build
        RUN make
        FROM debian
        SHELL ["/bin/bash", "-c"]
        USER me
        COPY --from=build --chown=me --chmod=755 out/tool /usr/bin/
        """
    )
    assert made[:3] == ["RUN make", 'SHELL ["/bin/bash", "-c"]', "USER me"]
    assert made[3] == "USER root" and made[5] == "USER me"
    assert made[4].startswith('RUN ["/bin/sh", "-c", "set -e; for each in /out/tool; do ')
    assert made[4].endswith('; chmod -R 755 \\"$at\\"; chown -R me \\"$at\\"; fi; done"]')


def test_state_of_another_stage_does_not_arrive() -> None:
    """WORKDIR, USER, SHELL and ENV are set right again, and what tells how to run the build stage is left out."""
    made = lines(
        """
        FROM python:3.12 AS build
        SHELL ["/bin/bash", "-c"]
        WORKDIR /src
        USER builder
        ENV PATH=/tools:$PATH CC=gcc
        EXPOSE 80
        CMD ["make"]
        RUN make
        FROM python:3.12
        COPY --from=build /src/out /src/out
        """,
        directory="/opt",
        user="airflow",
    )
    assert made == [
        "ARG GIGOGNE_KEPT_0_CC=${CC}",
        "ARG GIGOGNE_KEPT_0_PATH=${PATH}",
        'SHELL ["/bin/bash", "-c"]',
        "WORKDIR /src",
        "USER builder",
        "ENV PATH=/tools:$PATH CC=gcc",
        "RUN make",
        "ENV CC=${GIGOGNE_KEPT_0_CC}",
        "ENV PATH=${GIGOGNE_KEPT_0_PATH}",
        "WORKDIR /opt",
        "USER airflow",
        'SHELL ["/bin/sh", "-c"]',
        "# in its place: /src/out",
    ]


def test_stages_on_a_stage_start_from_its_end() -> None:
    """A common base is written once; what another stage did between is undone for the one that starts from it."""
    made = lines(
        """
        FROM debian AS common
        WORKDIR /app
        ENV MODE=run
        FROM common AS build
        ENV MODE=build
        RUN build
        FROM common AS unused
        RUN never
        FROM common
        COPY --from=build /app/out out
        """
    )
    assert made == [
        "ARG GIGOGNE_KEPT_0_MODE=${MODE}",
        "WORKDIR /app",
        "ENV MODE=run",
        "ARG GIGOGNE_KEPT_1_MODE=${MODE}",
        "ENV MODE=build",
        "RUN build",
        "ENV MODE=${GIGOGNE_KEPT_1_MODE}",
        "# in its place: /app/out",
    ]


def test_a_mount_of_a_stage_is_there_already() -> None:
    """A RUN that mounts files of a stage finds them where they were made, or where they are copied to before it."""
    made = lines(
        """
        FROM python AS wheels
        RUN pip wheel --wheel-dir /wheels requests
        FROM python
        RUN --mount=type=cache,target=/root --mount=from=wheels,source=/wheels,target=/wheels pip install /wheels/*
        RUN --mount=type=bind,from=wheels,source=wheels,target=/w pip install /w/*
        """
    )
    assert made[1].split() == ["RUN", "--mount=type=cache,target=/root", "pip", "install", "/wheels/*"]
    assert "for each in /wheels;" in made[2] and 'cp -a \\"$each/.\\" /w' in made[2]
    assert made[3].split() == ["RUN", "pip", "install", "/w/*"]


def test_the_image_that_can_build_is_taken() -> None:
    """Where the stages start from two images, a single stage needs the one with the tools."""
    made = derive("FROM python:3.12 AS build\nRUN make\nFROM python:3.12-slim\nCOPY --from=0 /a /a\n")
    assert made.text.startswith("FROM python:3.12\nRUN make\n")
    assert "python:3.12" in made.remark


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM python\nCOPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv\n", "one stage already"),
        ("FROM a AS base\nRUN x\nFROM base\nRUN y\n", "one stage already"),
        ("FROM node AS web\nFROM golang AS api\nFROM alpine\nCOPY --from=web /w /w\nCOPY --from=api /a /a\n", "node"),
    ],
)
def test_there_may_be_nothing_to_compare(text: str, why: str) -> None:
    """No stage is copied from, or no image can build all of it: it is said which."""
    made = derive(text)
    assert made.text == "" and why in made.remark


def test_directives_arguments_and_the_target_stay() -> None:
    """The builder's directives and the ARGs before FROM come first; a stage behind the target is left out."""
    made = derive(
        """
        # syntax=docker/dockerfile:1
        # a comment
        ARG VERSION=3.12
        FROM --platform=linux/amd64 python:${VERSION} AS build
        RUN <<EOF
        make
        EOF
        FROM python:${VERSION} AS run
        COPY --from=BUILD /a /a
        FROM run AS debug
        RUN apt-get install gdb
        """,
        "run",
    )
    assert made.text == (
        "# syntax=docker/dockerfile:1\nARG VERSION=3.12\nFROM python:${VERSION}\nRUN <<EOF\nmake\nEOF\n"
        "# in its place: /a\n"
    )


def test_a_wrong_dockerfile_is_named() -> None:
    """A line that does not parse, a stage that is not there."""
    with pytest.raises(ComposeError, match="no stage 'prod'"):
        derive("FROM python AS build\n", "prod")
    with pytest.raises(ComposeError, match="there is no FROM"):
        derive("RUN x\n")
    with pytest.raises(ComposeError, match="Dockerfile:2"):
        derive("FROM python\nNONSENSE x\n")
