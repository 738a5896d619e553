"""The Docker engine as a user meets it: what starts, what is adopted, what is kept, what is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from docker import DockerClient
from docker.errors import NotFound
from tests.conftest import Workspace
from tests.scenarios.observe import events, outcome, wait_for

from gigogne.compose.binary import compose_binary

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docked")]

SERVER = """
  db:
    image: busybox:1.36
    command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']
    healthcheck: {test: [CMD, "true"], start_period: 10s, start_interval: 100ms}
"""
JOB = "  job:\n    image: busybox:1.36\n    depends_on: {db: {condition: service_healthy}}\n"


@pytest.fixture
def docked(workspace: Workspace) -> Iterator[None]:
    """The workspace's command uses Docker."""
    workspace.environment["GIGOGNE_ENGINE"] = "docker"
    yield


def containers(engine: DockerClient, project: str) -> dict[str, dict[str, Any]]:
    """The containers of a project, inspected, by name."""
    found = {}
    for each in engine.api.containers(all=True, filters={"label": f"com.docker.compose.project={project}"}):
        with contextlib.suppress(NotFound):  # it goes at this moment
            found[each["Names"][0][1:]] = engine.api.inspect_container(each["Id"])
    return found


def compose(workspace: Workspace, *words: str) -> subprocess.CompletedProcess[str]:
    """`docker compose`, as the user types it."""
    return subprocess.run(
        [str(compose_binary()), *words], cwd=workspace.folder, capture_output=True, text=True, check=True
    )


@contextlib.contextmanager
def started(workspace: Workspace, *words: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A command under way; a test that fails meanwhile does not wait for it."""
    with workspace.start(*words, **environment) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def test_a_job_and_its_server(workspace: Workspace, docker_engine: DockerClient) -> None:
    """Streams stay apart, the code is the job's, its container goes and the server's is stopped; twice."""
    command = "    command: [sh, -c, 'echo out; echo err >&2; exit 3']\n"
    workspace.write({"compose.yml": f"name: dock-first\nservices:{SERVER}{JOB}{command}"})
    for _ in range(2):
        result = workspace.run("run", "--json")
        assert result.returncode == 3, result.stderr
        said = [(e["stream"], e["text"]) for e in events(result) if e["event"] == "output"]
        assert sorted(said) == [("stderr", "err"), ("stdout", "out")]
        assert outcome(result) == {"db": "served", "job": "failed"}
        left = containers(docker_engine, "dock-first")
        assert list(left) == ["dock-first-db-1"] and not left["dock-first-db-1"]["State"]["Running"]
    assert workspace.run("down").returncode == 0
    assert not containers(docker_engine, "dock-first")
    assert not docker_engine.networks.list(names=["dock-first_default"])


def test_a_users_server_is_adopted(workspace: Workspace, docker_engine: DockerClient) -> None:
    """What `docker compose up -d` started serves two runs, is never started anew, and stays up."""
    workspace.write({"compose.yml": f"name: dock-adopt\nservices:{SERVER}{JOB}    command: ['true']\n"})
    compose(workspace, "up", "-d", "db")

    def server() -> tuple[str, str, bool]:
        seen = containers(docker_engine, "dock-adopt")["dock-adopt-db-1"]
        return seen["Id"], seen["State"]["StartedAt"], seen["State"]["Running"]

    before = server()
    for _ in range(2):
        result = workspace.run("run", "--json")
        assert result.returncode == 0, result.stderr
        started = next(e for e in events(result) if e["event"] == "started" and e["service"] == "db")
        assert started["adopted"]
    assert server() == before and before[2]
    compose(workspace, "up", "-d", "db")  # no label of ours has changed its configuration
    assert server() == before


def test_an_adopted_server_with_other_settings_is_told(workspace: Workspace) -> None:
    """A server that runs on other settings than the files have is used as it is, and the run says so."""
    text = f"name: dock-changed\nservices:{SERVER}    environment: {{PASSWORD: '1'}}\n{JOB}    command: ['true']\n"
    workspace.write({"compose.yml": text})
    compose(workspace, "up", "-d", "db")
    workspace.write({"compose.yml": text.replace("'1'", "'2'")})
    result = workspace.run("run")
    assert result.returncode == 0
    assert "dock-changed-db-1 runs with other settings" in result.stdout
    assert "docker compose up -d db" in result.stdout


def test_a_stopped_server_starts_with_the_settings_of_now(workspace: Workspace) -> None:
    """A stopped container is nobody's work: with changed settings it is made anew."""
    probe = "    command: [sh, -c, 'wget -qO- http://db:8000/password']\n"
    settings = "environment: {PASSWORD: '1'}\n    stop_signal: KILL\n    command: [sh"
    server = SERVER.replace("command: [sh", settings).replace(
        "while :; do sleep 0.1; done", "mkdir /www; echo $$PASSWORD > /www/password; exec httpd -f -p 8000 -h /www"
    )
    workspace.write({"compose.yml": f"name: dock-anew\nservices:{server}{JOB}{probe}"})
    assert "job | 1\n" in workspace.run("run").stdout
    text = (workspace.folder / "compose.yml").read_text()
    workspace.write({"compose.yml": text.replace("PASSWORD: '1'", "PASSWORD: '2'")})
    assert "job | 2\n" in workspace.run("run").stdout


def test_runs_share_a_server(workspace: Workspace, docker_engine: DockerClient) -> None:
    """The run that ends first leaves the server to the other one, which stops it in the end."""
    slow = "    command: [sh, -c, 'while [ ! -e /here/go ]; do sleep 0.1; done']\n    volumes: ['.:/here']\n"
    quick = "  quick:\n    image: busybox:1.36\n    command: ['true']\n" + JOB.splitlines(keepends=True)[-1]
    workspace.write({"compose.yml": f"name: dock-share\nservices:{SERVER}{JOB}{slow}{quick}"})

    def running() -> bool:
        return bool(containers(docker_engine, "dock-share")["dock-share-db-1"]["State"]["Running"])

    with started(workspace, "run", "job") as first:
        wait_for(lambda: any("-job-run-" in name for name in containers(docker_engine, "dock-share")))
        result = workspace.run("run", "quick")
        assert result.returncode == 0 and "note: stays up: another run needs it" in result.stdout
        assert running()
        (workspace.folder / "go").touch()
        first.communicate(timeout=30)
        assert first.returncode == 0
    assert not running()


def test_what_failed_is_kept_when_asked(workspace: Workspace, docker_engine: DockerClient) -> None:
    """`--keep` leaves the containers of jobs that failed, names them, and `logs` and `ps -a` show them."""
    workspace.write(
        {
            "compose.yml": """
            name: dock-keep
            services:
              good: {image: busybox:1.36, command: ["true"]}
              bad: {image: busybox:1.36, command: [sh, -c, "echo why; exit 7"], depends_on: [good]}
            """
        }
    )
    result = workspace.run("run", "--keep")
    assert result.returncode == 7
    (kept,) = containers(docker_engine, "dock-keep")
    assert kept.startswith("dock-keep-bad-run-") and f"docker logs {kept}" in result.stdout
    assert "bad | why" in workspace.run("logs").stdout
    assert "exited 7" in workspace.run("ps", "-a").stdout
    assert workspace.run("run").returncode == 7
    assert kept in containers(docker_engine, "dock-keep")  # the next run does not clear it away
    workspace.run("down")
    assert not containers(docker_engine, "dock-keep")


def test_names_and_ports_of_jobs(workspace: Workspace, docker_engine: DockerClient) -> None:
    """`container_name` would let one run in at a time: it is dropped with a note. A job publishes its ports."""
    workspace.write(
        {
            "compose.yml": """
            name: dock-names
            services:
              job:
                image: busybox:1.36
                container_name: mine
                labels: {gigogne.kind: job}
                ports: ["127.0.0.1:18099:80"]
                command: [sh, -c, "while [ ! -e /here/go ]; do sleep 0.1; done"]
                volumes: [".:/here"]
            """
        }
    )
    assert "container_name: not used for a job" in workspace.run("check").stdout
    with started(workspace, "run") as running:
        wait_for(lambda: any(each["State"]["Running"] for each in containers(docker_engine, "dock-names").values()))
        ((name, seen),) = containers(docker_engine, "dock-names").items()
        assert name != "mine" and seen["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"] == "18099"
        taken = workspace.run("run")
        assert taken.returncode == 3 and f"port 18099 of this machine is taken by the container {name}" in taken.stderr
        (workspace.folder / "go").touch()
        running.communicate(timeout=30)
        assert running.returncode == 0


def test_short_jobs_lose_no_line(workspace: Workspace) -> None:
    """What a job that lives for milliseconds wrote is whole."""
    jobs = "".join(f"  j{n}: {{image: busybox:1.36, command: [sh, -c, 'seq 1 300']}}\n" for n in range(6))
    workspace.write({"compose.yml": f"name: dock-short\nservices:\n{jobs}"})
    result = workspace.run("run", "--json", "-j", "6")
    assert result.returncode == 0, result.stderr
    for number in range(6):
        lines = [e["text"] for e in events(result) if e["event"] == "output" and e["service"] == f"j{number}"]
        assert lines == [str(n) for n in range(1, 301)]


@pytest.mark.parametrize(
    ("settings", "code", "words"),
    [
        ("command: [nosuch]", 127, "nosuch"),
        ("command: [/etc]", 126, "/etc"),
        ('command: [sh, -c, "kill -SEGV $$$$"], init: true', 139, "ended by SIGSEGV"),
        ('command: [sh, -c, "exit 137"]', 137, ""),
        ("mem_limit: 16m, command: [sh, -c, 'x=aaaaaaaa; while :; do x=$$x$$x; done']", 137, "its limit is 16 MiB"),
    ],
)
def test_how_a_job_ends(workspace: Workspace, settings: str, code: int, words: str) -> None:
    """The code is the container's, and the message tells a signal from memory from a command that is not there."""
    workspace.write(
        {"compose.yml": f"name: dock-end-{os.getpid()}\nservices: {{job: {{image: 'busybox:1.36', {settings}}}}}\n"}
    )
    result = workspace.run("run", "--json")
    (job,) = events(result)[-1]["services"]
    assert (result.returncode, job["code"]) == (code, code), result.stdout
    assert words in job["reason"]


def test_restart_policies(workspace: Workspace, docker_engine: DockerClient) -> None:
    """A job's tries are ours, since `compose run` gives none; each has a container of its own, and none is left."""
    workspace.write(
        {
            "compose.yml": """
            name: dock-tries
            services:
              job:
                image: busybox:1.36
                restart: on-failure:3
                command: [sh, -c, "echo x >> /here/tries; test $(wc -l < /here/tries) = 3"]
                volumes: [".:/here"]
            """
        }
    )
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout
    assert [e["number"] for e in events(result) if e["event"] == "restarting"] == [1, 2]
    assert not containers(docker_engine, "dock-tries")


def test_an_image_is_built_when_it_is_missing_or_when_that_is_asked(
    workspace: Workspace, docker_engine: DockerClient
) -> None:
    """A changed source counts with `--build`; without it the image that is there runs."""
    dockerfile = 'FROM busybox:1.36\nCOPY said /said\nCMD ["cat", "/said"]\n'
    workspace.write({"compose.yml": "name: dock-build\nservices: {job: {build: .}}\n", "Dockerfile": dockerfile})
    for text, words, expected in (("one", (), "one"), ("two", (), "one"), ("three", ("--build",), "three")):
        (workspace.folder / "said").write_text(f"{text}\n")
        result = workspace.run("run", *words)
        assert result.returncode == 0 and f"job | {expected}\n" in result.stdout, result.stderr
    docker_engine.images.remove("dock-build-job")


def test_values_reach_the_job_and_nothing_else(workspace: Workspace, docker_engine: DockerClient) -> None:
    """Any text arrives as it is; it is on no command line, in no label and in no file on the way."""
    secret = "s3cr3t $HOME ${X} 'q\" \\n é😀\u2028 end"
    seen: list[str] = []
    workspace.write(
        {
            "compose.yml": """
            name: dock-secret
            services:
              job:
                image: busybox:1.36
                environment: [TOKEN]
                command: [sh, -c, 'printf %s "$$TOKEN" > /here/token; sleep 1']
                volumes: [".:/here"]
            """
        }
    )
    with started(workspace, "run", TOKEN=secret) as running:
        while running.poll() is None:
            seen += _command_lines()
            for each in containers(docker_engine, "dock-secret").values():
                assert "s3cr3t" not in json.dumps(each["Config"]["Labels"])
    assert running.returncode == 0
    assert (workspace.folder / "token").read_text(encoding="utf-8") == secret
    assert any("dock-secret" in line for line in seen) and not any("s3cr3t" in line for line in seen)


def _command_lines() -> list[str]:
    """Those of all processes but this one, as everybody on the machine sees them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [" ".join(process.cmdline())] if process.pid != os.getpid() else []
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_interrupted_and_down(workspace: Workspace, docker_engine: DockerClient) -> None:
    """Ctrl-C ends job and server in good order; `down` ends a run that is under way in another terminal."""
    command = "    command: [sh, -c, 'trap \"echo bye; exit 0\" TERM; while [ ! -e /never ]; do sleep 0.1; done']\n"
    workspace.write({"compose.yml": f"name: dock-stop\nservices:{SERVER}{JOB}{command}"})

    def at_work() -> bool:
        return any(
            "-job-run-" in n and c["State"]["Running"] for n, c in containers(docker_engine, "dock-stop").items()
        )

    for end in ("interrupt", "down"):
        with started(workspace, "run") as run:
            wait_for(at_work)
            if end == "interrupt":
                run.send_signal(signal.SIGINT)
            else:
                assert workspace.run("down").returncode == 0
            out, err = run.communicate(timeout=40)
        assert run.returncode == (130 if end == "interrupt" else 143), err
        assert "job | bye" in out
        assert not any(c["State"]["Running"] for c in containers(docker_engine, "dock-stop").values())
    assert not containers(docker_engine, "dock-stop")


def test_a_server_that_the_user_started_since_is_the_users(workspace: Workspace, docker_engine: DockerClient) -> None:
    """After a killed run, a `docker compose down` and `up`, the new container is not taken for the run's."""
    slow = "    command: [sh, -c, 'while [ ! -e /here/go ]; do sleep 0.1; done']\n    volumes: ['.:/here']\n"
    workspace.write({"compose.yml": f"name: dock-theirs\nservices:{SERVER}{JOB}{slow}"})
    with started(workspace, "run") as run:
        wait_for(lambda: any("-job-run-" in name for name in containers(docker_engine, "dock-theirs")))
        run.kill()
        run.communicate()
    (workspace.folder / "go").touch()
    compose(workspace, "down")
    compose(workspace, "up", "-d", "db")
    assert workspace.run("run").returncode == 0
    assert containers(docker_engine, "dock-theirs")["dock-theirs-db-1"]["State"]["Running"]


def test_a_server_of_two_containers(workspace: Workspace, docker_engine: DockerClient) -> None:
    """`scale: 2` starts both and stops both; two that run already are one server to the run."""
    server = SERVER.replace("image:", "scale: 2\n    image:", 1)
    workspace.write({"compose.yml": f"name: dock-two\nservices:{server}{JOB}    command: ['true']\n"})

    def running() -> list[bool]:
        return [each["State"]["Running"] for each in containers(docker_engine, "dock-two").values()]

    assert workspace.run("run").returncode == 0
    assert running() == [False, False]
    compose(workspace, "up", "-d", "db")
    assert workspace.run("run").returncode == 0
    assert running() == [True, True]


def test_servers_of_other_files_with_the_same_name_stay(workspace: Workspace, docker_engine: DockerClient) -> None:
    """`down` ends what its own files say, as `docker compose down` does."""
    workspace.write(
        {
            "compose.yml": f"name: dock-files\nservices:{SERVER}",
            "other.yml": f"name: dock-files\nservices:{SERVER.replace('db:', 'other:')}",
        }
    )
    compose(workspace, "-f", "other.yml", "up", "-d")
    compose(workspace, "up", "-d")
    assert workspace.run("down").returncode == 0
    assert list(containers(docker_engine, "dock-files")) == ["dock-files-other-1"]
    compose(workspace, "-f", "other.yml", "down")
