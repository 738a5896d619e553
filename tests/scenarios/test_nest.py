"""`gigogne nest` for real: a container that can start containers, and in it the command lines that people type."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import NotFound
from docker.models.containers import Container
from docker.models.networks import Network
from tests.conftest import REPOSITORY, Workspace
from tests.scenarios.tls import daemon_behind_tls

pytestmark = pytest.mark.docker

FULL = os.environ.get("CI_LEVEL") == "full"
# Not root, and in no group of this machine.
SOMEBODY = 4321
PROJECT = """
services:
  job:
    image: busybox:1.36
    command: [sh, -c, 'cat /in/word /else/word; echo "$$TOKEN" >/out/token; exit 3']
    environment: [TOKEN]
    volumes:
      - ./in:/in:ro
      - ./out:/out
      - ${ELSEWHERE:-./in}:/else:ro
  first:
    image: busybox:1.36
    command: ["true"]
    profiles: [chain]
  last:
    image: busybox:1.36
    init: true
    command: [sh, -c, "sleep 1; exit 6"]
    profiles: [chain]
    depends_on: {first: {condition: service_completed_successfully}}
"""


@pytest.fixture
def hosted(tmp_path: Path, docker_engine: docker.DockerClient) -> Iterator[Workspace]:
    """A project of its own name, on Docker, of which nothing stays."""
    name = f"nest-{secrets.token_hex(4)}"
    made = Workspace(tmp_path / "project", {"GIGOGNE_ENGINE": "docker", "COMPOSE_PROJECT_NAME": name})
    made.write({"docker-compose.yml": PROJECT, "in/word": "here\n", "out/.gitkeep": ""})
    # Somebody else may write here.
    for folder in (made.folder, made.folder / "out"):
        folder.chmod(0o777)
    try:
        yield made
        left = [each.name for each in found(docker_engine, f"gigogne-nest-{name}")]
        assert left == [], "nothing is left of the host container"
    finally:
        for each in (*found(docker_engine, f"gigogne-nest-{name}"), *found(docker_engine, name)):
            each.remove(force=True, v=True) if isinstance(each, Container) else each.remove()
        for volume in docker_engine.volumes.list(filters={"name": f"{name}_"}):
            volume.remove(force=True)


def found(engine: docker.DockerClient, project: str) -> list[Container | Network]:
    """The containers and the networks of a Compose project."""
    filters: dict[str, Any] = {"label": f"com.docker.compose.project={project}"}
    return [*engine.containers.list(all=True, filters=filters), *engine.networks.list(filters=filters)]


def until(there: Path, process: subprocess.Popen[str]) -> None:
    """Wait for a file that a process is to make; with what the process says where it ends before."""
    deadline = time.monotonic() + 120
    while not there.exists():
        if process.poll() is not None:
            pytest.fail(f"ended too early: {process.communicate()}")
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_command_in_the_project(hosted: Workspace) -> None:
    """It starts where the user stands, with what -v and -e name; output, files and exit code are the user's."""
    elsewhere = hosted.folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "word").write_text("elsewhere\n")
    script = "pwd; cat /other/word; echo $EXTRA $COMPOSE_PROJECT_NAME; echo mine >mine; test -t 0 || exit 5"
    at_work = Workspace(hosted.folder / "in", hosted.environment)
    done = at_work.run(
        "nest", "-e", "EXTRA", "-v", "../../elsewhere:/other:ro", "--", "sh", "-c", script, EXTRA="a b  $c"
    )
    assert done.returncode == 5, done
    assert done.stdout == f"/home/hosted/in\nelsewhere\na b $c {hosted.environment['COMPOSE_PROJECT_NAME']}\n"
    assert (hosted.folder / "in/mine").read_text() == "mine\n"


def test_the_usual_command_line(hosted: Workspace, docker_engine: docker.DockerClient) -> None:
    """`docker compose up --exit-code-from`: files arrive, the variable too, which shows nowhere else on the machine."""
    secret = f"value-{secrets.token_hex(8)}"
    elsewhere = hosted.folder.parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "word").write_text("elsewhere\n")
    script = "docker compose up --exit-code-from job; code=$?; until test -e go; do sleep 0.1; done; exit $code"
    temporary = hosted.folder.parent / "temporary"
    temporary.mkdir()
    given = {"TOKEN": secret, "ELSEWHERE": str(elsewhere), "TMPDIR": str(temporary)}
    process = hosted.start("nest", "--", "sh", "-c", script, **given)
    until(hosted.folder / "out/token", process)
    texts = [file.read_text() for file in temporary.rglob("*") if file.is_file()]
    places = dict(disclosures(secret, docker_engine, hosted))
    hosted.write({"go": ""})
    out, err = process.communicate(timeout=60)
    assert process.returncode == 3, err
    assert "| here" in out
    assert "| elsewhere" in out, "a source that lies elsewhere is at the same path"
    assert (hosted.folder / "out/token").read_text() == f"{secret}\n"
    assert places == {}
    assert any('"TOKEN": null' in text for text in texts), "the file that Compose reads is among them"
    assert not any(secret in text for text in texts)
    assert list(temporary.iterdir()) == []


def disclosures(secret: str, engine: docker.DockerClient, hosted: Workspace) -> Iterator[tuple[str, str]]:
    """Where a value can be read that should be in the environment of its own containers alone."""
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            words = (process / "cmdline").read_text(errors="replace")
            if secret in words:
                yield f"{process}/cmdline", words
    for container in engine.api.containers(all=True):
        with contextlib.suppress(NotFound):  # another test's
            inspected = engine.api.inspect_container(container["Id"])
            project = inspected["Config"]["Labels"].get("com.docker.compose.project", "")
            mine = project.endswith(hosted.environment["COMPOSE_PROJECT_NAME"])
            variables = inspected["Config"].pop("Env", None) or []
            assert not mine or f"TOKEN={secret}" in variables
            if secret in json.dumps(inspected) or (not mine and secret in str(variables)):
                yield inspected["Name"], "inspect"


def test_one_shots_before_it(hosted: Workspace) -> None:
    """`up --exit-code-from` of a job that waits for another gives its own exit code; plain Compose kills it (143).

    Which files and profiles are meant is said outside.
    """
    beside = Workspace(hosted.folder.parent, hosted.environment)
    options = ("-f", "project/docker-compose.yml", "--profile", "chain")
    done = beside.run(*options, "nest", "--", "docker", "compose", "up", "--exit-code-from", "last")
    assert done.returncode == 6, done
    assert "note: Compose would stop everything when first ends" in done.stderr


def test_the_naive_way_beside(hosted: Workspace) -> None:
    """A plain `docker run -v` in the container mounts an empty directory and exits 0; Compose there has the files."""
    stray = Path("/home/hosted/in")
    assert not stray.exists(), "the path is free on this machine"
    script = "docker run --rm -v $PWD/in:/in busybox:1.36 ls -A /in; echo exit $?; docker compose run --rm job"
    try:
        done = hosted.run("nest", "--", "sh", "-c", script, TOKEN="t")
        assert stray.is_dir(), "Docker has made it, on the host"
    finally:
        shutil.rmtree(stray, ignore_errors=True)
        with contextlib.suppress(OSError):
            stray.parent.rmdir()
    assert done.stdout.splitlines() == ["exit 0", "here", "here"]
    assert done.returncode == 3


def test_what_cannot_be_had(hosted: Workspace) -> None:
    """In it a source that is not there is refused, with what to do; nothing is started. Other commands just run."""
    script = "docker compose run --rm -v ./gone:/gone job; echo $?; docker-compose config --services | sort"
    done = hosted.run("nest", "--", "sh", "-c", script)
    assert done.stdout == "3\njob\n"
    assert "/home/hosted/gone does not exist" in done.stderr
    assert not (hosted.folder / "gone").exists()


def test_two_deep_and_nobody_is_root(hosted: Workspace, docker_engine: docker.DockerClient) -> None:
    """A user who is not root stays so, reaches the daemon by its group, and nests again; his files are his own."""
    group = Path("/var/run/docker.sock").stat().st_gid
    user = f"env HOME=/home/nest setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --groups {group}".split()
    script = "id -u; id -G; touch ~/at-home out/mine; docker compose run --rm job"
    words = ["nest", "--", *user, "gigogne", "nest", "--", "sh", "-c", script]
    done = hosted.run(*words, TOKEN="t")
    assert done.returncode == 3, done
    assert done.stdout.splitlines() == [f"{SOMEBODY}", f"{SOMEBODY} {group}", "here", "here"]
    assert (hosted.folder / "out/mine").stat().st_uid == SOMEBODY
    assert (hosted.folder / "out/token").read_text() == "t\n"
    assert done.stderr.count("building") <= 1, "the image that is built outside is current inside"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals(hosted: Workspace, number: signal.Signals) -> None:
    """A signal reaches the command once, its exit code comes back, and nothing is left."""
    program = (
        "import pathlib, signal, sys, time\n"
        "def end(number, _):\n"
        "    print('got', number, flush=True); time.sleep(0.5); sys.exit(40)\n"
        "for number in (1, 2, 15): signal.signal(number, end)\n"
        "pathlib.Path('out/ready').touch(); [time.sleep(0.1) for _ in range(600)]\n"
    )
    process = hosted.start("nest", "--", "python", "-c", program)
    until(hosted.folder / "out/ready", process)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out.strip()) == (40, f"got {int(number)}"), err


def test_a_shell(hosted: Workspace) -> None:
    """Without a command it is a shell, with a terminal where standard input is one; its exit code comes back."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "gigogne", "nest"],
        cwd=hosted.folder,
        env={**os.environ, **hosted.environment, "TERM": "dumb"},
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
    )
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # the end of a terminal is EIO
        while chunk := os.read(master, 4096):
            if b"/home/hosted#" in chunk and b"/home/hosted#" not in said:
                os.write(master, b"tty; exit 9\n")
            said += chunk
    os.close(master)
    assert process.wait(timeout=30) == 9, said
    assert b"/dev/pts/" in said


@pytest.mark.timeout(400)
def test_an_engine_inside(hosted: Workspace) -> None:
    """With an engine of its own: images come by standard input, the same files arrive, and no port is open."""
    listening = "cat /proc/net/tcp /proc/net/tcp6 | awk '$4 == \"0A\"' | wc -l"
    script = (
        f"docker load -q; {listening}; docker info -f '{{{{.Driver}}}}'; docker ps -q; "
        "docker compose up --exit-code-from job; echo $?; gigogne run job"
    )
    with subprocess.Popen(["docker", "save", "busybox:1.36"], stdout=subprocess.PIPE) as saving:
        done = subprocess.run(
            [sys.executable, "-m", "gigogne", "nest", "--daemon", "inside", "--", "sh", "-c", script],
            cwd=hosted.folder,
            env={**os.environ, **hosted.environment, "TOKEN": "t", "GIGOGNE_ENGINE": ""},
            stdin=saving.stdout,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode == 3, done
    lines = done.stdout.splitlines()
    assert lines[:3] == ["Loaded image: busybox:1.36", "0", "overlay2"]
    assert "3" in lines, "the exit code of docker compose"
    assert "job | here" in lines, "what gigogne run shows"
    assert (hosted.folder / "out/token").read_text() == "t\n"


@pytest.mark.skipif(not FULL, reason="CI_LEVEL=full: it needs seconds for what the engine outside shows already")
def test_an_engine_inside_for_a_user(hosted: Workspace) -> None:
    """The command beside an engine of its own runs as who calls, and SIGTERM reaches it."""
    program = (
        "import os, pathlib, signal, sys, time\n"
        "signal.signal(15, lambda *_: sys.exit(41))\n"
        "os.system('docker ps -q')\n"
        "pathlib.Path('out/ready').write_text(str(os.getuid())); [time.sleep(0.1) for _ in range(600)]\n"
    )
    group = Path("/var/run/docker.sock").stat().st_gid
    user = f"env HOME=/home/nest setpriv --reuid {SOMEBODY} --regid {SOMEBODY} --groups {group}".split()
    process = hosted.start("nest", "--", *user, "gigogne", "nest", "--daemon", "inside", "--", "python", "-c", program)
    until(hosted.folder / "out/ready", process)
    assert (hosted.folder / "out/ready").read_text() == str(SOMEBODY)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 41, err


def test_a_daemon_behind_tls(hosted: Workspace) -> None:
    """DOCKER_HOST with TLS is used in there as it is here: with the certificates, and without the socket."""
    certificates = hosted.folder.parent / "certificates"
    certificates.mkdir()
    script = "test -e /var/run/docker.sock && echo socket; ls /certs/ca.pem; docker compose run --rm job"
    with daemon_behind_tls(certificates) as address:
        given = {"DOCKER_HOST": address, "DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(certificates)}
        done = hosted.run("nest", "--", "sh", "-c", script, TOKEN="t", **given)
    assert (done.returncode, done.stdout) == (3, "/certs/ca.pem\nhere\nhere\n"), done


def test_the_scripts_in_plain_sight(hosted: Workspace) -> None:
    """`build_host.sh` and `run_host.sh` do the same with plain `docker build` and `docker run`."""
    scripts = REPOSITORY / "docker/host"

    def run(*words: str) -> Any:
        return subprocess.run(
            words,
            cwd=hosted.folder,
            env={**os.environ, **hosted.environment, "TOKEN": "t"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    assert run(str(scripts / "build_host.sh")).returncode == 0
    done = run(str(scripts / "run_host.sh"), "-e", "TOKEN", "docker", "compose", "run", "--rm", "job")
    assert (done.returncode, done.stdout) == (3, "here\nhere\n"), done
    assert (hosted.folder / "out/token").read_text() == "t\n"
