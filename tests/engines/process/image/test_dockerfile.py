"""What the reader makes of a whole Dockerfile: its stages, their base images, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.engines.process.image.recipes import START, Read, config, installs, refused, steps

from gigogne.core.model import Build, Project, Service
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.recipe import Copy, MakeDirectory, MakeEnvironment
from gigogne.errors import ComposeError


def test_the_usual_two_stages(read: Read) -> None:
    """The pattern of the reference stack: uv builds a venv in one stage, the other takes it and drops root."""
    recipe = read("""\
# syntax=docker/dockerfile:1
FROM python:3.12-slim AS build
COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /bin/uv
WORKDIR /src
COPY pyproject.toml ./
RUN uv venv /opt/venv && uv pip install --python /opt/venv --no-cache --group fraud
FROM python:3.12-slim
RUN useradd --create-home --uid 1000 mluser \\
 && mkdir -p /data/landing \\
 && chown -R mluser:mluser /data
COPY --from=build /opt/venv /opt/venv
WORKDIR /home/app
COPY --chown=mluser src/fraud ./fraud
ENV PATH="/opt/venv/bin:$PATH"
USER mluser
CMD ["python", "-m", "fraud"]
""")
    assert recipe.python == "3.12"
    assert steps(recipe) == (
        MakeDirectory(8, "/home/mluser"),
        MakeDirectory(9, "/data/landing"),
        Copy(11, ("/opt/venv",), "/opt/venv", 0),
        MakeDirectory(12, "/home/app"),
        Copy(13, ("src/fraud",), "/home/app/fraud"),
    )
    build = recipe.stages[0]
    assert build.name == "build"
    assert build.steps[2] == MakeEnvironment(6, "/opt/venv")
    install = installs(recipe)[0]
    assert (install.environment, install.arguments) == ("/opt/venv", ("--group", "fraud"))
    assert (install.directory, install.files) == ("/src", ("/src/pyproject.toml",))
    image = config(recipe)
    assert (image.user, image.uid, image.gid, image.home) == ("mluser", 1000, 1000, "/home/mluser")
    assert image.environment["PATH"].startswith("/opt/venv/bin:/usr/local/bin:")
    assert image.environment["LANG"] == "C.UTF-8"
    assert (image.working_dir, image.command) == ("/home/app", ("python", "-m", "fraud"))
    notices = [(problem.where, problem.message) for problem in recipe.problems]
    assert notices == [
        ("docker/x/Dockerfile:8", "user 'mluser' exists only where the service runs, with uid 1000"),
        ("docker/x/Dockerfile:10", "RUN chown is skipped: the files belong to whoever runs the service"),
        ("docker/x/Dockerfile:13", "COPY --chown is skipped: the files belong to whoever runs the service"),
    ]


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("python:3.12-slim", "3.12"),
        ("python:3.11.9-slim-bookworm", "3.11"),
        ("python:3.13", "3.13"),
        ("python:3", "3"),
        ("python", "3"),
        ("python:slim", "3"),
        ("docker.io/library/python:3.12", "3.12"),
        ("mirror.example:5000/library/python:3.12-slim@sha256:00", "3.12"),
        ("ghcr.io/astral-sh/uv:python3.12-bookworm-slim", "3.12"),
    ],
)
def test_the_python_of_an_image(read: Read, image: str, version: str) -> None:
    """The minor version comes from the tag, whatever the registry and the variant."""
    recipe = read(f"FROM {image}\n")
    assert (recipe.python, refused(recipe)) == (version, [])


def test_another_image_is_refused(read: Read) -> None:
    """An image that is not Python's cannot be stood in for."""
    for image in ("node:20", "python:2.7", "postgres"):
        found = refused(read(f"FROM {image}\n"))
        assert found == [("docker/x/Dockerfile:1", f"the image {image} is not a Python 3 image")]


def test_a_service_with_an_image_only(tmp_path: Path) -> None:
    """A service without a build section gets what its image's name says."""
    service = Service("x", image="python:3.12-slim")
    recipe = read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert recipe.python == "3.12"
    assert config(recipe).command == ("python3",)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
def test_windows_files(read: Read, start: bytes) -> None:
    """CRLF and a byte order mark change nothing, in continued lines and heredocs too."""
    text = "FROM python:3.12-slim\nENV A=b\nRUN mkdir -p /a \\\n && mkdir /b\nRUN <<EOF\nmkdir /c\nEOF\nCMD run\n"
    recipe = read(start + text.replace("\n", "\r\n").encode())
    assert [step.path for step in steps(recipe) if isinstance(step, MakeDirectory)] == ["/a", "/b", "/c"]
    assert config(recipe).environment["A"] == "b"
    assert config(recipe).command[-1] == "run"


def test_only_the_needed_stages_are_read(read: Read) -> None:
    """As with BuildKit, what the target does not need may hold anything."""
    text = "FROM node:20 AS web\nRUN npm ci\nFROM python:3.12 AS base\nFROM base AS app\nFROM web\n"
    recipe = read(text, target="APP")
    assert refused(recipe) == []
    assert [stage.name for stage in recipe.stages] == ["base", "app"]
    assert recipe.python_line == 3


def test_a_stage_inherits(read: Read) -> None:
    """FROM an earlier stage brings its variables, users and directory, not its ARGs."""
    recipe = read(
        "FROM python:3.12 AS a\nARG X=1\nENV Y=2\nWORKDIR /w\nRUN useradd app\nUSER app\nFROM a\nENV Z=$X$Y\n"
    )
    image = config(recipe)
    assert (image.environment["Z"], image.working_dir, image.uid) == ("2", "/w", 1000)


def test_uv_from_a_stage(read: Read) -> None:
    """A stage that is uv's own image only brings in uv."""
    recipe = read("FROM ghcr.io/astral-sh/uv:0.9 AS uv\nFROM python:3.12\nCOPY --from=uv /uv /uvx /bin/\n")
    assert steps(recipe) == ()


def test_files_of_another_image(read: Read) -> None:
    """COPY --from another image is refused by name."""
    found = refused(read(START + "COPY --from=nginx:1 /etc/nginx /x\n"))
    assert "--from=nginx:1" in found[0][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM python:3.12\nBOGUS x\n", "docker/x/Dockerfile:2: unknown instruction: BOGUS"),
        ("FROM python:3.12\nENV A\n", "docker/x/Dockerfile:2: ENV must have two arguments"),
        ("FROM python:3.12\nRUN <<EOF\nx\n", "docker/x/Dockerfile:2: unterminated heredoc"),
        ("RUN x\n", "docker/x/Dockerfile:1: RUN before the first FROM"),
        ("# nothing\n", "docker/x/Dockerfile: there is no FROM"),
        ("FROM $NOTHING\n", "docker/x/Dockerfile:1: FROM must be FROM image [AS name]"),
        ('FROM python:3.12\nENV A="${B:?needed}"\n', "docker/x/Dockerfile:2: ENV: B: needed"),
        ("FROM python:3.12\nCOPY x\n", "docker/x/Dockerfile:2: COPY needs a source and a target"),
        ("FROM python:3.12\nHEALTHCHECK --interval=soon CMD x\n", "docker/x/Dockerfile:2: HEALTHCHECK --interval=soon"),
        ("FROM python:3.12\nSHELL sh\n", "docker/x/Dockerfile:2: SHELL needs the JSON form"),
        (b"FROM python:3.12\nENV A=\xff\n", "docker/x/Dockerfile: cannot be read: is not UTF-8 text"),
    ],
)
def test_a_wrong_dockerfile(read: Read, text: str | bytes, message: str) -> None:
    """The error names the file, the line and the fault, and says what to do."""
    with pytest.raises(ComposeError) as raised:
        read(text)
    assert raised.value.message.startswith(message)
    assert raised.value.hint
    assert raised.value.exit_code == 2


def test_an_unknown_target(read: Read) -> None:
    """The error lists the stages that there are."""
    with pytest.raises(ComposeError) as raised:
        read("FROM python:3.12 AS app\n", target="ap")
    assert "'ap'" in raised.value.message
    assert "app" in raised.value.hint


def test_an_absent_dockerfile(tmp_path: Path) -> None:
    """The error names the file as its owner does, and the key that leads to it."""
    service = Service("x", build=Build(tmp_path, tmp_path / "docker" / "Dockerfile"))
    with pytest.raises(ComposeError) as raised:
        read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert raised.value.message == "docker/Dockerfile: there is no such Dockerfile"
    assert "services.x.build" in raised.value.hint


def test_an_inline_dockerfile(tmp_path: Path) -> None:
    """`dockerfile_inline` is read like a file, and named by its key."""
    build = Build(tmp_path, None, dockerfile_inline="FROM python:3.12\nRUN make\n")
    service = Service("x", build=build)
    recipe = read_recipe(service, Project("demo", tmp_path, (), {"x": service}))
    assert refused(recipe)[0][0] == "services.x.build.dockerfile_inline:2"
