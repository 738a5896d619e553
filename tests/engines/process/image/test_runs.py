"""Lines of RUN as they are found in public Dockerfiles: what becomes of them, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gigogne.core.model import Build, Problem, Project, Service
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.recipe import (
    CopyInside,
    MakeDirectory,
    MakeFile,
    MakeLink,
    Recipe,
    Remove,
    Step,
    UnixLines,
)

Read = Callable[[str], Recipe]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Reads one RUN, on line 4 of a Dockerfile."""

    def reader(run: str) -> Recipe:
        file = tmp_path / "Dockerfile"
        file.write_text(f"FROM python:3.12-slim\nENV ZONE=Europe/Paris\nWORKDIR /app\nRUN {run}\n")
        service = Service("x", build=Build(tmp_path, file))
        return read_recipe(service, Project("demo", tmp_path, (), {"x": service}))

    return reader


def refused(recipe: Recipe) -> list[Problem]:
    """The fatal problems."""
    return [problem for problem in recipe.problems if problem.fatal]


@pytest.mark.parametrize(
    "run",
    [
        "apt-get update && apt-get install -y --no-install-recommends gcc && rm -rf /var/lib/apt/lists/*",
        "apt update && apt install -y build-essential && apt clean && apt-get autoremove -y || exit 1",
        "apk update && apk add --no-cache --virtual .build-deps gcc musl-dev && apk del .build-deps",
        "set -ex; yum install -y gcc",
        "sed -i -e 's/# en_US.UTF-8/en_US.UTF-8/' /etc/locale.gen && dpkg-reconfigure locales && update-locale LANG=x",
        "git config --global --add safe.directory /app",
        "python --version && pip --version && pip list && ls -la && pwd && which python",
        "curl -LsSf https://astral.sh/uv/install.sh | sh",
        "wget -qO- https://astral.sh/uv/install.sh | sh",
        "find . -name '*.pyc' -delete",
        "python -m compileall -q . && python3 -m ensurepip --upgrade",
        "pip install --no-cache-dir --upgrade pip && pip3 install -U pip==24.0 && python -m pip install pip",
        "usermod -aG sudo www-data && echo done && rm -rf ~/.cache",
        "test -f x && export A=1",
    ],
)
def test_what_changes_no_file(read: Read, run: str) -> None:
    """Lines that only serve the making of an image, or its looks, are no obstacle."""
    recipe = read(run)
    assert refused(recipe) == []
    assert {type(step) for step in recipe.stages[0].steps} <= {MakeDirectory, Remove}


@pytest.mark.parametrize(
    ("run", "steps"),
    [
        ("touch a /b/c", (MakeFile(4, "/app/a"), MakeFile(4, "/b/c"))),
        ("echo $ZONE > /etc/timezone", (MakeFile(4, "/etc/timezone", b"Europe/Paris\n"),)),
        ("echo -n '[x]' >>conf.ini", (MakeFile(4, "/app/conf.ini", b"[x]", append=True),)),
        ("ln -s /a/b /c", (MakeLink(4, "/a/b", "/c"),)),
        ("ln -snf ../x", (MakeLink(4, "../x", "/app/x"),)),
        ("cp -r a b /c/", (CopyInside(4, ("/app/a", "/app/b"), "/c/"),)),
        ("mv x.example x", (CopyInside(4, ("/app/x.example",), "/app/x", move=True),)),
        ("cd /tmp && rm -f a.txt && rm -rf /app/*", (Remove(4, ("/tmp/a.txt",)), Remove(4, ("/app/*",)))),
        ("dos2unix run.sh", (UnixLines(4, ("/app/run.sh",)),)),
        ("sed -i 's/\\r$//g' run.sh", (UnixLines(4, ("/app/run.sh",)),)),
        ("sed -i -e 's/\\r$//' a b", (UnixLines(4, ("/app/a", "/app/b")),)),
        ("mkdir -p ~/x $HOME/y", (MakeDirectory(4, "/root/x"), MakeDirectory(4, "/root/y"))),
    ],
)
def test_what_changes_files(read: Read, run: str, steps: tuple[Step, ...]) -> None:
    """Commands on files are steps, with paths of the image."""
    recipe = read(run)
    assert refused(recipe) == []
    assert recipe.stages[0].steps[1:] == steps


def test_the_time_zone(read: Read) -> None:
    """A link at /etc/localtime becomes the variable that means the same, and the page of notes says so."""
    recipe = read("ln -snf /usr/share/zoneinfo/$ZONE /etc/localtime")
    assert recipe.stages[0].steps[1:] == ()
    assert recipe.config is not None
    assert recipe.config.environment["TZ"] == "Europe/Paris"
    message = "RUN ln … /etc/localtime: the variable TZ is Europe/Paris in its place"
    assert [problem.message for problem in recipe.problems] == [message]
    assert read("TZ=UTC; ln -s /usr/share/zoneinfo/Asia/Seoul /etc/localtime").problems == ()


@pytest.mark.parametrize(
    ("run", "fix"),
    [
        ("poetry install --no-root", "pip install ."),
        ("curl -sSL https://install.python-poetry.org | python3 -", "pip install ."),
        ("pipenv install --system --deploy", "pipenv requirements"),
        ("conda env create -f environment.yml", "pip install -r requirements.txt"),
        ("python -m nltk.downloader punkt", "NLTK_DATA"),
        ("python -m spacy download en_core_web_sm", "pip install"),
        ("python manage.py collectstatic", "command:"),
        ("pip wheel -w /wheels -r r.txt", "virtual environment"),
        ("pip install mlflow>=2.10.0 boto3", "quote it"),
        ("wget -q https://x/y.tar.gz -O - | tar xz", "ADD"),
        ("curl -o x https://x/y", "COPY it"),
        ("if [ $DEV = true ]; then pip install -r dev.txt; fi", "build.target"),
        ("uv run manage.py migrate", "command:"),
        ("npm ci", "COPY what it makes"),
        ("install -m 755 a /b", "--chmod"),
    ],
)
def test_what_is_refused_names_the_fix(read: Read, run: str, fix: str) -> None:
    """A command that cannot be followed says what to write in its place."""
    (problem,) = refused(read(run))
    assert problem.where == "Dockerfile:4"
    assert problem.message.startswith(f"RUN {run[:14]}")
    assert fix in problem.hint
