"""The command line: what a newcomer types, and what it answers."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tests.conftest import Workspace

JOB = "services: {a: {build: ., command: 'true'}}"
CHAIN = """
name: chain
services:
  first: {image: "postgres:17", environment: {POSTGRES_PASSWORD: x}, healthcheck: {test: [CMD, pg_isready]}}
  second: {build: ., command: "true", depends_on: {first: {condition: service_healthy}}}
"""
DOCKERFILE = "FROM python:3.12-slim\n"


@pytest.mark.parametrize(
    "command", [(), *[(name,) for name in "run up down check explain doctor ps logs plan".split()]]
)
def test_help_shows_examples(workspace: Workspace, command: tuple[str, ...]) -> None:
    """`--help` of each command ends with lines that can be typed."""
    result = workspace.run(*command, "--help")
    assert result.returncode == 0
    _, _, examples = result.stdout.partition("Examples:")
    assert examples.count("gigogne ") >= 2 and "\b" not in result.stdout


def test_an_empty_folder(workspace: Workspace) -> None:
    """Where there is no Compose file the error says what to type, on stderr, and the code is 2."""
    for command in ("run", "up", "down", "plan"):
        result = workspace.run(command)
        assert (result.returncode, result.stdout) == (2, "")
        assert "no Compose file" in result.stderr and "fix:" in result.stderr
    assert workspace.run("check").returncode == 1


def test_a_typo_in_the_file(workspace: Workspace) -> None:
    """A misspelt key is named with file and line, and with the key that was meant."""
    workspace.write({"docker-compose.yml": "services:\n  a:\n    image: x\n    comand: y\n"})
    result = workspace.run("run")
    assert result.returncode == 2
    assert "docker-compose.yml:4" in result.stderr and "`command`" in result.stderr


def test_a_typo_in_a_service(workspace: Workspace) -> None:
    """A misspelt service is met with the one that was meant."""
    workspace.write({"docker-compose.yml": CHAIN, "Dockerfile": DOCKERFILE})
    result = workspace.run("run", "secnd")
    assert result.returncode == 2 and "did you mean second?" in result.stderr


def test_a_typo_in_an_option_or_command(workspace: Workspace) -> None:
    """Usage errors are click's own, with code 2."""
    for words in (("rnu",), ("run", "--kep-going")):
        result = workspace.run(*words)
        assert result.returncode == 2 and "No such" in result.stderr


def test_plan_in_three_forms(workspace: Workspace) -> None:
    """Text with causes, JSON for programs, Mermaid for a page; nothing is started."""
    workspace.write({"docker-compose.yml": CHAIN, "Dockerfile": DOCKERFILE})
    text = workspace.run("plan").stdout
    assert text.splitlines() == [
        "start first  second waits for it to be healthy",
        "run second   you asked for it",
        "stop first   no job needs it any more",
    ]
    steps = json.loads(workspace.run("plan", "--format", "json").stdout)["steps"]
    assert [(s["action"], s["service"]) for s in steps] == [("start", "first"), ("run", "second"), ("stop", "first")]
    assert workspace.run("plan", "--format", "mermaid").stdout.startswith("flowchart LR\n")


def test_options_stand_before_or_after_the_command(workspace: Workspace) -> None:
    """-f and -p may stand where Docker Compose has them, or after the command."""
    workspace.write({"other.yml": CHAIN, "Dockerfile": DOCKERFILE})
    before = workspace.run("-f", "other.yml", "-p", "named", "plan", "--format", "json")
    after = workspace.run("plan", "-f", "other.yml", "--project-name", "named", "--format", "json")
    assert before.stdout == after.stdout and json.loads(after.stdout)["project"] == "named"


def test_check_tells_problems_from_notes(workspace: Workspace) -> None:
    """0 with notes alone, 1 with a problem; --json gives them one a line."""
    workspace.write({"docker-compose.yml": CHAIN, "Dockerfile": DOCKERFILE})
    assert workspace.run("check").returncode == 0
    workspace.write({"Dockerfile": "FROM python:3.12-slim\nRUN make\nRUN curl x | sh\n"})
    result = workspace.run("check")
    assert result.returncode == 1 and "Dockerfile:2" in result.stdout and "Dockerfile:3" in result.stdout
    problems = [json.loads(line) for line in workspace.run("check", "--json").stdout.splitlines()]
    assert {p["where"] for p in problems if p["fatal"]} == {"Dockerfile:2", "Dockerfile:3"}
    assert all(p["hint"] for p in problems if p["fatal"])


def test_errors_as_json(workspace: Workspace) -> None:
    """With --json an error is an event like all others."""
    workspace.write({"docker-compose.yml": "services: {a: {image: 'no/such:1'}}"})
    result = workspace.run("run", "--json")
    error = json.loads(result.stdout.splitlines()[-1])
    assert (result.returncode, error["event"], error["code"]) == (3, "error", 3) and "services.a.image" in error[
        "message"
    ]


def test_up_without_servers(workspace: Workspace) -> None:
    """A project of jobs alone has nothing to keep up, and says what to type."""
    workspace.write({"docker-compose.yml": JOB, "Dockerfile": DOCKERFILE})
    result = workspace.run("up")
    assert result.returncode == 2 and "gigogne run" in result.stderr


def test_a_reader_that_leaves(workspace: Workspace) -> None:
    """`gigogne plan | head -0` ends without a traceback."""
    workspace.write({"docker-compose.yml": CHAIN, "Dockerfile": DOCKERFILE})
    process = workspace.start("plan")
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    process.wait(30)
    assert "Traceback" not in process.stderr.read()
    process.stderr.close()


def test_a_data_directory_that_cannot_be(workspace: Workspace) -> None:
    """Where data cannot be written the error names the path and the variable that names another one."""
    workspace.write({"docker-compose.yml": JOB, "Dockerfile": DOCKERFILE, "file": ""})
    result = workspace.run("run", GIGOGNE_DATA_DIR=str(workspace.folder / "file"))
    assert result.returncode == 4 and "Traceback" not in result.stderr
    assert str(workspace.folder / "file") in result.stderr and "GIGOGNE_DATA_DIR" in result.stderr


def test_as_a_module_and_its_version() -> None:
    """`python -m gigogne --version` is the version of the package."""
    import gigogne

    said = subprocess.run([sys.executable, "-m", "gigogne", "--version"], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith(gigogne.__version__)


@pytest.mark.parametrize(
    ("words", "fix"),
    [
        (("up", "-d"), "stays in the foreground"),
        (("run", "a", "--epochs", "3"), "what follows `run` are services"),
        (("run", "a", "sh"), "the services are: a"),
    ],
)
def test_words_of_docker_compose_that_mean_nothing_here(workspace: Workspace, words: tuple[str, ...], fix: str) -> None:
    """Who types what Docker Compose has is told what to do in its place."""
    workspace.write({"docker-compose.yml": JOB, "Dockerfile": DOCKERFILE})
    result = workspace.run(*words)
    assert result.returncode == 2 and fix in result.stderr, result.stderr


def test_words_of_docker_compose_that_change_nothing(workspace: Workspace) -> None:
    """`run --rm` and `--build` are what is done anyway."""
    workspace.write({"docker-compose.yml": JOB, "Dockerfile": DOCKERFILE})
    result = workspace.run("run", "--rm", "--build", "a")
    assert result.returncode == 0, result.stderr


def test_a_name_behind_a_profile_is_proposed(workspace: Workspace) -> None:
    """A typo in the name of a service that needs its profile, or `docker compose run`, is still met."""
    workspace.write({"docker-compose.yml": "services: {train: {image: x, profiles: [p]}, b: {image: x}}"})
    result = workspace.run("run", "trian")
    assert result.returncode == 2 and "did you mean train?" in result.stderr


def test_check_for_every_engine(workspace: Workspace) -> None:
    """`--engine all` checks each way that this machine has; file, line and key stand before each problem."""
    compose = "services:\n  a:\n    build: .\n    command: 'true'\n    privileged: true\n"
    workspace.write({"docker-compose.yml": compose, "Dockerfile": DOCKERFILE})
    result = workspace.run("check", "--engine", "all")
    assert result.returncode == 1 and "on process (portable): 1 problem" in result.stdout
    assert "problem: docker-compose.yml:5: services.a.privileged: " in result.stdout
    said = [json.loads(line) for line in workspace.run("check", "--engine", "all", "--json").stdout.splitlines()]
    fatal = [each for each in said if each["fatal"]]
    assert {each["line"] for each in fatal} == {5} and "process (portable)" in {each["engine"] for each in fatal}


def test_check_of_a_server(workspace: Workspace) -> None:
    """A server is as good a target of `check` as a job."""
    workspace.write({"docker-compose.yml": "services: {web: {build: ., expose: ['18431']}}", "Dockerfile": DOCKERFILE})
    result = workspace.run("check", "web")
    assert result.returncode == 0 and "no problems" in result.stdout, result.stderr
