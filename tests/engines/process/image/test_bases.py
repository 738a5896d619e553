"""Images without a Dockerfile: what there is in their place, and what is said about it."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.conftest import Workspace

from gigogne.engines.process.image import executables, is_known_image
from gigogne.engines.process.image.bases import Base, base_of

from .conftest import FROM, Module


@pytest.mark.parametrize(
    ("image", "known"),
    [
        ("python", True),
        ("python:3.12-slim", True),
        ("registry.example:5000/library/python:3.12@sha256:00", True),
        ("python:2.7", False),
        ("busybox", True),
        ("busybox:1.36", True),
        ("mirror.example/library/alpine:3.20", True),
        ("mirror.example:5000/docker/library/debian:bookworm-slim", True),
        ("ubuntu:24.04", True),
        ("bash:5", True),
        ("mycompany/ubuntu:1", False),
        ("ubuntu/postgres", False),
        ("apache/airflow", True),
        ("apache/airflow:3.3.2-python3.12", True),
        ("apache/airflow-cli:1", False),
        ("ghcr.io/mlflow/mlflow:v3.17.0", True),
        ("mlflow/mlflow-server", False),
        ("nginx", False),
        ("node:20", False),
        ("", False),
    ],
)
def test_known_images(image: str, known: bool) -> None:
    """An image is known by its name, whatever its registry; another one that has a name like it is not."""
    assert is_known_image(image) is known


def base(image: str) -> Base:
    """What there is in place of an image, which is known."""
    found = base_of(image)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("image", "python", "packages"),
    [
        ("apache/airflow:3.3.2-python3.13", "3.13", ("apache-airflow[postgres]==3.3.2",)),
        ("apache/airflow:3.3.2", "3.12", ("apache-airflow[postgres]==3.3.2",)),
        ("apache/airflow:slim-3.3.2-python3.11", "3.11", ("apache-airflow[postgres]==3.3.2",)),
        ("apache/airflow:latest-python3.11", "3.11", ("apache-airflow[postgres]",)),
        ("apache/airflow", "3.12", ("apache-airflow[postgres]",)),
        ("ghcr.io/mlflow/mlflow:v3.17.0", "3.11", ("mlflow==3.17.0",)),
        ("ghcr.io/mlflow/mlflow:3.17.0", "3.11", ("mlflow==3.17.0",)),
        ("ghcr.io/mlflow/mlflow", "3.11", ("mlflow",)),
        ("ghcr.io/mlflow/mlflow:latest", "3.11", ("mlflow",)),
    ],
)
def test_images_that_are_a_package(image: str, python: str, packages: tuple[str, ...]) -> None:
    """The tag says which version and which Python; without a version it is the newest, and a notice says so."""
    found = base(image)
    assert (found.python, found.packages) == (python, packages)
    assert ("no version is named" in found.notice[0]) is ("==" not in packages[0])


def test_the_configuration_of_airflow(module: Module) -> None:
    """Its user, home, directories and entry point are those of the image, also for a Dockerfile that starts from it."""
    module.image = "apache/airflow:3.3.2-python3.12"
    notices = module.check()
    assert [(problem.where, problem.fatal) for problem in notices[:1]] == [("services.job.image", False)]
    assert "RUN pip install" in notices[0].hint
    assert base(module.image).users["airflow"].uid == 50000

    module.image = ""
    module.write("FROM apache/airflow:3.3.2\nUSER root\nRUN apt-get install -y gcc\nUSER airflow\n")
    assert [problem for problem in module.check() if problem.fatal] == []


@pytest.mark.skipif(sys.platform == "win32", reason="Airflow is not for Windows")
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["version"], "airflow version"),
        (["airflow", "version"], "airflow version"),
        (["python", "-c", "print('py')"], "py"),
        (["bash", "-c", "echo sh"], "sh"),
    ],
)
def test_the_entry_point_of_airflow(module: Module, words: list[str], said: str) -> None:
    """It runs Airflow's command, with or without its name, but a shell or Python where that is asked for."""
    script = base("apache/airflow:3.3.2").scripts["/entrypoint"]
    module.write(FROM, {"entrypoint": script, "bin/airflow": '#!/bin/sh\necho airflow "$@"\n'})
    (module.folder / "bin/airflow").chmod(0o755)
    python = executables(module.prepare().environments["/usr/local"])
    path = f"{module.folder / 'bin'}:{python}:/usr/bin:/bin"
    argv = [str(python / "python"), str(module.folder / "entrypoint"), *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env={"PATH": path})
    assert done.stdout.strip() == said
    more = {"PATH": path, "_AIRFLOW_DB_MIGRATE": "true"}
    done = subprocess.run(argv, capture_output=True, text=True, check=True, env=more)
    assert done.stdout.splitlines() == ["airflow db migrate", said]
    more = {"PATH": path, "_PIP_ADDITIONAL_REQUIREMENTS": "six"}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=more)
    assert (done.returncode, done.stdout) == (1, "")
    assert "RUN pip install" in done.stderr


def test_a_service_with_a_python_image(module: Module) -> None:
    """An image alone is a Dockerfile of one line; its problems name the key, not a line."""
    module.image = f"python:3.{sys.version_info[1]}-slim"
    assert module.check() == []
    assert list(module.prepare().root.iterdir()) == []
    module.image = "nginx:1"
    (problem,) = module.check()
    assert (problem.where, problem.message) == ("services.job.image", "the image nginx:1 can only run in Docker")


def test_userland_images_want_a_sandbox(module: Module) -> None:
    """With a sandbox there is a notice; without one it is refused, because a command would change this machine."""
    for image, dockerfile in (("busybox:1.36", ""), ("", "FROM alpine:3 AS base\nFROM base\nCMD rm -rf /data\n")):
        module.image = image
        module.write(dockerfile)
        (notice,) = module.check()
        assert not notice.fatal
        assert "this machine's own" in notice.message
        *_, refusal = module.check(sandboxed=False)
        assert refusal.fatal
        assert "would change this machine itself" in refusal.message
        assert "python:3.12-slim" in refusal.hint


COMPOSE = """\
services:
  write:
    image: busybox
    command: sh -c 'echo "$$(id -u) $$(pwd)" > /out/said'
    user: "1234"
    working_dir: /tmp
    volumes: ["out:/out"]
  read:
    image: python:3.12-slim
    command: ["python", "/code/read.py"]
    environment: {OUT: /out}
    volumes: ["out:/out:ro", "./read.py:/code/read.py"]
    depends_on: {write: {condition: service_completed_successfully}}
volumes: {out: {}}
"""


@pytest.mark.sandbox
def test_a_run_of_images_alone(workspace: Workspace) -> None:
    """A Compose file without any build: a shell and a Python share a volume."""
    workspace.write(
        {"docker-compose.yml": COMPOSE, "read.py": "import os; print(open(os.environ['OUT'] + '/said').read())"}
    )
    done = workspace.run("run")
    assert done.returncode == 0, done.stderr
    assert "1234 /tmp" in done.stdout


def test_a_run_of_images_alone_without_a_sandbox(workspace: Workspace) -> None:
    """The shell is refused by name, before anything starts."""
    workspace.write({"docker-compose.yml": COMPOSE, "read.py": ""})
    done = workspace.run("run", GIGOGNE_PROCESS="portable")
    assert done.returncode == 3
    assert "services.write.image: the commands of busybox would change this machine itself" in done.stderr + done.stdout
    assert not workspace.volume("project_out").exists()


UV = """\
services:
  job:
    build: .
"""


@pytest.mark.parametrize(
    "start",
    [
        "FROM ghcr.io/astral-sh/uv:python3.12-bookworm-slim\n",
        "FROM python:3.12-slim\nCOPY --from=ghcr.io/astral-sh/uv:0.9 /uv /uvx /bin/\n",
        "FROM python:3.12-slim\nRUN pip install uv\n",
        "FROM python:3.12-slim\nRUN curl -LsSf https://astral.sh/uv/install.sh | sh\n",
    ],
)
def test_a_command_that_uv_runs(workspace: Workspace, way: str, start: str) -> None:
    """`uv run` finds the environment that `uv sync` made, however uv came into the image, and changes nothing."""
    project = "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.11'\ndependencies = ['six']\n"
    body = 'WORKDIR /srv\nCOPY pyproject.toml main.py ./\nRUN uv sync\nCMD ["uv", "run", "python", "main.py"]\n'
    main = "import six, sys; print('found', six.__name__)"
    workspace.write({"docker-compose.yml": UV, "Dockerfile": start + body, "pyproject.toml": project, "main.py": main})
    done = workspace.run("run")
    assert "found six" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


EDITABLE = "[build-system]\nrequires = ['hatchling']\nbuild-backend = 'hatchling.build'\n"


@pytest.mark.usefixtures("way")
def test_an_editable_install_runs(workspace: Workspace) -> None:
    """The launched code is that of the image's directory, extras and constraints included."""
    workspace.write(
        {
            "docker-compose.yml": UV,
            "Dockerfile": "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\nRUN pip install -c limits.txt -e .[more]\n"
            "CMD python -c 'import six, pack; print(six.__version__, pack.__file__)'\n",
            "pyproject.toml": "[project]\nname='pack'\nversion='1'\noptional-dependencies.more=['six']\n" + EDITABLE,
            "limits.txt": "-c more-limits.txt\n",
            "more-limits.txt": "six==1.16.0\n",
            "src/pack/__init__.py": "",
        }
    )
    done = workspace.run("run")
    assert "| 1.16.0 " in done.stdout and "/app/src/pack/__init__.py" in done.stdout, done.stdout + done.stderr


MLFLOW = """\
services:
  tracking:
    image: ghcr.io/mlflow/mlflow:v3.17.0
    command: mlflow server --host 0.0.0.0 --port 5004 --workers 1
    environment: {MLFLOW_SERVER_ENABLE_JOB_EXECUTION: "false", MLFLOW_SERVER_ALLOWED_HOSTS: "*"}
    expose: ["5004"]
    healthcheck:
      test: ["CMD", "python", "-c", "import urllib.request as u; u.urlopen('http://tracking:5004/health')"]
      interval: 1s
      start_period: 90s
      start_interval: 1s
  client:
    image: python:3.12-slim
    command: ["python", "-c", "import urllib.request as u; print(u.urlopen('http://tracking:5004/health').read())"]
    depends_on: {tracking: {condition: service_healthy}}
"""


AIRFLOW = """\
services:
  job:
    image: apache/airflow:3.3.2-python3.12
    command: bash -c "airflow version && id -u && pwd && echo $$HOME $$AIRFLOW_HOME"
"""


@pytest.mark.sandbox
def test_airflow_from_its_image_alone(workspace: Workspace) -> None:
    """The real Airflow, from the name of its image, as the user and in the directory of the image."""
    workspace.write({"docker-compose.yml": AIRFLOW})
    done = workspace.run("run")
    assert done.returncode == 0, done.stdout + done.stderr
    said = [line.partition("| ")[2] for line in done.stdout.splitlines() if line.startswith("job | ")]
    assert said == ["3.3.2", "50000", "/opt/airflow", "/home/airflow /opt/airflow"]


@pytest.mark.full
@pytest.mark.sandbox
def test_mlflow_from_its_image_alone(workspace: Workspace) -> None:
    """The real MLflow, from the name of its image: its server answers to a client."""
    workspace.write({"docker-compose.yml": MLFLOW})
    done = workspace.run("run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "b'OK'" in done.stdout
