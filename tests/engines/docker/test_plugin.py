"""The command lines that people type after `docker compose`, taken apart and put together."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gigogne.cli.words import Invocation


def read(line: str, *, by_docker: bool = False) -> Invocation:
    """A command line without quotes, taken apart."""
    return Invocation.read(line.split(), by_docker=by_docker)


@pytest.mark.parametrize(
    ("line", "targets"),
    [
        ("up", ()),
        ("up -d a b", ("a", "b")),
        ("up --exit-code-from a --scale b=2 -t 5 --no-attach c", ()),
        ("up -dt5 a", ("a",)),
        ("up -dt 5 a", ("a",)),
        ("up --timeout=5 a --wait b", ("a", "b")),
        ("run --rm -e A=b -v ./x:/x -u 1 a sh -c b", ("a",)),
        ("run -itu 1 a b", ("a",)),
        ("run -- a b", ("a",)),
        ("run -T --entrypoint sh a -u 2", ("a",)),
        ("scale a=2 b=3", ("a", "b")),
        ("create --pull never a", ("a",)),
        ("watch a", ("a",)),
    ],
)
def test_targets(line: str, targets: tuple[str, ...]) -> None:
    """The services that a command names, and not the values of its options."""
    call = read(line)
    assert call.creates
    assert call.targets() == targets
    assert call.words() == line.split()


@pytest.mark.parametrize(
    "line", ["", "-f a.yml", "down -v", "config", "ps -a", "exec a sh", "up --help", "run -h", "logs"]
)
def test_commands_that_create_nothing(line: str) -> None:
    """They are Compose's own affair, as is the help of the others."""
    assert not read(line).creates
    assert not read("__complete compose up a", by_docker=True).creates


def test_options_of_compose() -> None:
    """Its own options stand before the command, in one word or two, and are the project's."""
    call = read("-f a.yml --file=b.yml -pname --env-file e --profile p --profile=q --ansi never --progress plain up c")
    options = call.load_options()
    assert (options.files, options.project_name, options.env_files) == (("a.yml", "b.yml"), "name", ("e",))
    assert (options.profiles, options.directory) == (("p", "q"), None)
    assert call.targets() == ("c",)
    settled = "--env-file e --profile p --profile=q --ansi never --progress plain -f NEW up c"
    assert call.settled(["-f", "NEW"]) == settled.split()


def test_words_of_docker() -> None:
    """As a plug-in it gets the words of `docker` too; those that name a daemon are heeded."""
    call = read("--context far --debug compose --project-directory d up -d", by_docker=True)
    assert call.before == ("--context", "far", "--debug", "compose")
    assert call.daemon() == {"DOCKER_CONTEXT": "far"}
    assert call.load_options().directory == "d"
    assert call.settled(["-p", "n"]) == [*call.before, "-p", "n", "up", "-d"]
    assert read("up compose").targets() == ("compose",), "a service may have the name"
    assert read("-H tcp://h:1 compose up", by_docker=True).daemon() == {"DOCKER_HOST": "tcp://h:1"}


def test_volumes_of_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run -v PATH:…` is a bind mount like those of the file, from the folder one stands in; a volume is none."""
    monkeypatch.chdir(tmp_path)
    call = read("run --rm -v ./x:/x:ro -vdata:/d --volume=/a$b:/c job -v ./not:/mine")
    assert call.binds() == [
        {"type": "bind", "source": f"{tmp_path}/x", "target": "/x", "read_only": True},
        {"type": "bind", "source": "/a$$b", "target": "/c"},
    ]
    assert call.settled([]) == "run --rm -vdata:/d job -v ./not:/mine".split()
    assert read("up -V a").binds() == []


@pytest.mark.parametrize(
    ("line", "service"),
    [
        ("up --exit-code-from a", "a"),
        ("up --build --exit-code-from=a --no-color", "a"),
        ("up --exit-code-from a b", ""),
        ("up --exit-code-from a --abort-on-container-failure", ""),
        ("up --abort-on-container-exit --exit-code-from a", ""),
        ("up -d", ""),
        ("run a", ""),
    ],
)
def test_what_is_awaited(line: str, service: str) -> None:
    """`up --exit-code-from X` waits for X, unless the user says himself what is to be started, or what ends it."""
    assert read(line).awaited == service


def test_it_does_not_become_itself(tmp_path: Path) -> None:
    """Where GIGOGNE_COMPOSE names this very command it ends with what to do, and does not go on for ever."""
    command = tmp_path / "docker-compose"
    command.write_text(f"#!{sys.executable}\nfrom gigogne.cli.plugin import main\nmain()\n")
    command.chmod(0o755)
    done = subprocess.run(
        [command, "version"],
        env={**os.environ, "GIGOGNE_COMPOSE": str(command)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 4
    assert "let GIGOGNE_COMPOSE name Docker's" in done.stderr
