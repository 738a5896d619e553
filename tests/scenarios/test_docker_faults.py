"""What goes wrong around a run on Docker: a message with the fix, the right exit code, nothing lost, nothing left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from docker import DockerClient
from tests.conftest import Workspace
from tests.scenarios.docked import containers, read_until, running, started, until
from tests.scenarios.observe import events, left_behind, outcome, wait_for

import gigogne

pytestmark = [
    pytest.mark.docker,
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals, and the modes of a socket"),
]
NOBODY = 65534
FULL = os.environ.get("CI_LEVEL") == "full"


def jobs(**services: str) -> dict[str, str]:
    """A Compose file of jobs of busybox without a network: their settings, by name."""
    lines = [f"  {name}: {{image: 'busybox:1.36', network_mode: none, {text}}}" for name, text in services.items()]
    return {"compose.yml": "\n".join(["services:", *lines, ""])}


@pytest.mark.parametrize(
    ("settings", "words", "fix"),
    [
        ("image: 'localhost:1/nosuch:1'", "localhost:1/nosuch:1 cannot be pulled: ", "docker login"),
        ("image: 'busybox:1.3666', pull_policy: never", "busybox:1.3666 is not here, and pull_policy", "docker pull"),
    ],
)
def test_an_image_that_cannot_be_had(
    workspace: Workspace, docker_engine: DockerClient, settings: str, words: str, fix: str, project: str
) -> None:
    """It is said at once, in one line, with what to do; nothing starts."""
    workspace.write({"compose.yml": f"services: {{job: {{{settings}}}}}\n"})
    began = time.monotonic()
    result = workspace.run("run")
    assert result.returncode == 4 and time.monotonic() - began < 15
    problem, hint = result.stderr.splitlines()
    assert problem.startswith(f"error: job: the image {words}")
    assert hint.startswith("  fix: ") and fix in hint
    assert not containers(docker_engine, project)


@pytest.mark.parametrize(
    ("dockerfile", "line", "words", "fix"),
    [
        ("FROM busybox:1.36\nRUN echo no such package >&2 && exit 7\n", 2, " no such package", "mend the Dockerfile"),
        ("FROM busybox:1.36\nRUM true\n", 2, "unknown instruction: RUM", "mend the Dockerfile"),
        ("FROM localhost:1/nosuch:1\n", 1, "localhost:1/nosuch:1", "look at the image's name and tag in FROM"),
    ],
)
def test_a_build_that_fails(
    workspace: Workspace, docker_engine: DockerClient, dockerfile: str, line: int, words: str, fix: str, project: str
) -> None:
    """The last words of the step, and the Dockerfile's line; no image, no container."""
    workspace.write({"compose.yml": "services: {job: {build: .}}\n", "Dockerfile": dockerfile})
    result = workspace.run("run")
    assert result.returncode == 4 and "Traceback" not in result.stderr
    told = result.stderr.splitlines()
    assert told[0] == f"error: job: the image {project}-job cannot be built:"
    assert f"Dockerfile:{line}" in result.stderr and words in result.stderr and len(told) < 15
    assert told[-1].startswith(f"  fix: {fix}")
    assert not containers(docker_engine, project) and not docker_engine.images.list(f"{project}-job")


def test_a_secret_among_the_build_arguments(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """The builder names each step by its words, values included: they are masked as it goes, and where it fails."""
    workspace.write(
        {
            "compose.yml": "services: {job: {build: {context: ., args: {API_TOKEN: hunter2-of-builds}}}}\n",
            "Dockerfile": 'FROM busybox:1.36\nARG API_TOKEN\nRUN test -n "$API_TOKEN"\nRUN test -z "$API_TOKEN"\n',
        }
    )
    for words in (["run"], ["run", "--json"]):
        result = workspace.run(*words)
        assert result.returncode == 4 and "***" in result.stdout + result.stderr
        assert "hunter2" not in result.stdout + result.stderr


def test_an_interrupt_while_building(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """Ctrl-C ends the build where it is, in the daemon too."""
    mark = f"6{uuid4().int % 10**8}"
    workspace.write(
        {
            "compose.yml": "services: {job: {build: .}}\n",
            "Dockerfile": f"FROM busybox:1.36\nRUN sleep {mark}\n",
        }
    )
    with started(workspace, "run") as process:
        until(lambda: bool(left_behind(f"sleep {mark}")), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130 and "Traceback" not in err
    assert "not run" in out
    wait_for(lambda: not left_behind(f"sleep {mark}"))
    assert not left_behind(str(workspace.folder)) and not containers(docker_engine, project)


@pytest.mark.parametrize(
    ("check", "why"),
    [
        ('"echo relation jobs is missing >&2; exit 3"', "unhealthy: relation jobs is missing"),
        ('["CMD", "pg_isready"]', 'unhealthy: exec: "pg_isready": executable file not found in $PATH'),
    ],
)
def test_a_server_that_never_turns_healthy(
    workspace: Workspace, docker_engine: DockerClient, check: str, why: str, project: str
) -> None:
    """The run says what the check said, or that there is none; what waited is not run; the server is stopped."""
    server = f"stop_grace_period: 0s, command: sleep 600, healthcheck: {{test: {check}, interval: 0.2s, retries: 2}}"
    job = "command: 'true', depends_on: {server: {condition: service_healthy}}"
    workspace.write(jobs(server=server, job=job))
    result = workspace.run("run", "--json")
    assert result.returncode == 1 and outcome(result) == {"server": "failed", "job": "not run"}
    reasons = {each["service"]: each["reason"] for each in events(result)[-1]["services"]}
    assert reasons == {"server": why, "job": "server failed"}
    assert [each["State"]["Running"] for each in containers(docker_engine, project).values()] == [False]


@pytest.mark.parametrize("twice", [False, True])
def test_a_job_that_ignores_its_stop_signal(
    workspace: Workspace, docker_engine: DockerClient, twice: bool, project: str
) -> None:
    """It is killed when its grace period is over; with a second Ctrl-C at once."""
    grace = 60 if twice else 2
    text = f"stop_grace_period: {grace}s, command: [sh, -c, 'trap \"\" TERM; echo begun; sleep 100; sleep 100']"
    workspace.write(jobs(job=text))
    with started(workspace, "run") as process:
        read_until(process, "begun")
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        if twice:
            read_until(process, "Ctrl-C again")
            process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=40)
    assert process.returncode == 130 and "Traceback" not in err
    assert time.monotonic() - began < 20 and (twice or time.monotonic() - began > grace)
    assert not containers(docker_engine, project)


def test_a_bind_source_that_is_not_there(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """It is refused, with the command that makes it; Docker would make an empty directory, owned by root."""
    workspace.write(jobs(job="command: ls /data, volumes: ['./dta:/data']"))
    result = workspace.run("run")
    assert result.returncode == 3
    assert "compose.yml:2" in result.stderr and f"{workspace.folder / 'dta'} does not exist" in result.stderr
    assert "mkdir" in result.stderr and not (workspace.folder / "dta").exists()
    assert not containers(docker_engine, project)


def test_a_bind_that_only_this_container_has(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """In a container, results written to a path of its own would vanish: refused. Under a mount they arrive."""
    workspace.write(jobs(job="command: [touch, /out/here], volumes: ['${OUT}:/out']"))
    ours = {str(Path(gigogne.__file__).parents[2]), sys.prefix, sys.base_prefix, str(workspace.folder)}
    volumes = [f"{path}:{path}" for path in sorted(ours)] + ["/var/run/docker.sock:/var/run/docker.sock"]
    command = [sys.executable, "-m", "gigogne", "--engine", "docker", "run"]
    for out, code in (("/root/results", 3), (f"{workspace.folder}/results", 0)):
        made = docker_engine.containers.run(
            "python:3.12-slim",
            ["sh", "-c", 'mkdir -p "$OUT" && exec "$0" "$@"', *command],
            environment={"OUT": out, "COMPOSE_PROJECT_NAME": project},
            working_dir=str(workspace.folder),
            volumes=volumes,
            detach=True,
        )
        try:
            assert made.wait()["StatusCode"] == code, made.logs().decode()
            told = made.logs(stdout=False).decode()
        finally:
            made.remove(force=True)
        if code:
            assert "/root/results" in told and "compose.yml:2" in told and "volumes" in told
    assert (workspace.folder / "results/here").exists() and not Path("/root/results").exists()


def test_how_jobs_are_killed(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """Out of memory, killed through Docker, removed, and a program's own code 137: four ends with one code."""
    eat = "mem_limit: 16m, command: [sh, -c, 'x=aaaaaaaa; while :; do x=$$x$$x; done']"
    own = "command: [sh, -c, 'exit 137']"
    workspace.write(jobs(memory=eat, own=own, killed="command: sleep 600", removed="command: sleep 600"))
    with started(workspace, "run", "--json", "--jobs", "4", "--keep-going") as process:
        for service in ("killed", "removed"):
            until(partial(running, docker_engine, project, service), process)
            (container,) = running(docker_engine, project, service)
            if service == "killed":
                docker_engine.api.kill(container)
            else:
                docker_engine.api.remove_container(container, force=True)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 137
    services = events(subprocess.CompletedProcess([], 0, out))[-1]["services"]
    assert {each["code"] for each in services} == {137}
    reasons = {each["service"]: each["reason"] for each in services}
    assert reasons == {
        "memory": "out of memory: its limit is 16 MiB (mem_limit)",
        "own": "its program gave this code, or got SIGKILL on the machine",
        "killed": "ended by SIGKILL, which somebody sent it (docker kill, docker stop)",
        "removed": "its container was removed from outside",
    }
    assert not containers(docker_engine, project)


def test_a_port_that_a_program_has(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """It is said before anything starts; what Docker itself finds taken is said in few words."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        workspace.write(
            {
                "compose.yml": f"""
                services:
                  server: {{image: busybox:1.36, command: sleep 600, ports: ["127.0.0.1:{port}:80"]}}
                  job: {{image: busybox:1.36, command: "true", depends_on: [server]}}
                """
            }
        )
        result = workspace.run("run")
    assert result.returncode == 3 and f"port {port} of this machine is taken" in result.stderr
    assert "publish another port" in result.stderr and not containers(docker_engine, project)


def test_who_may_not_use_the_socket(workspace: Workspace) -> None:
    """The group is named that opens it; `auto` goes on without Docker, and says why."""
    if os.geteuid() != 0:
        pytest.skip("becoming somebody else needs root")
    image = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    workspace.write({"compose.yml": f"services: {{job: {{image: '{image}', command: python -V}}}}\n"})
    workspace.folder.chmod(0o777)
    # Who may read what root has, as an ordinary user's own Python can be read, and may write nothing of it.
    somebody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    somebody += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]

    def run(engine: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*somebody, sys.executable, "-m", "gigogne", "--engine", engine, "run"],
            cwd=workspace.folder,
            env={**os.environ, "HOME": str(workspace.folder), "GIGOGNE_CACHE_DIR": str(workspace.folder / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )

    asked = run("docker")
    assert asked.returncode == 4 and "you may not use the Docker daemon" in asked.stderr
    assert "sudo usermod -aG docker $USER" in asked.stderr and "--engine process" in asked.stderr
    fallen_back = run("auto")
    assert "no Docker: you may not use the Docker daemon" in fallen_back.stdout, fallen_back.stdout + fallen_back.stderr
    assert " on process" in fallen_back.stdout, fallen_back.stdout + fallen_back.stderr


def test_a_value_is_in_no_file_event_or_message(
    workspace: Workspace, docker_engine: DockerClient, tmp_path: Path, project: str
) -> None:
    """Not in temporary files, not in the daemon's events, not in what a failing run says."""
    secret, temporary = f"s3cr3t-{uuid4().hex}", tmp_path / "temporary"
    temporary.mkdir()
    workspace.write(
        {
            "compose.yml": """
            services:
              job: {build: {context: ., args: [TOKEN]}, environment: [TOKEN], command: [sh, -c, "exit 3"]}
            """,
            "Dockerfile": "FROM busybox:1.36\nARG TOKEN\nRUN sleep 0.5\n",
        }
    )
    began, found = int(time.time()) - 1, []
    with workspace.start("run", TOKEN=secret, TMPDIR=str(temporary)) as process:
        while process.poll() is None:
            found += [file.name for file in temporary.rglob("*") if file.is_file() and secret in _text(file)]
            found += left_behind(secret)
        out, err = process.communicate()
    assert process.returncode == 3 and not found and secret not in out + err
    seen = [str(event) for event in docker_engine.events(since=began, until=int(time.time()) + 1, decode=True)]
    assert any(project in event for event in seen) and not any(secret in event for event in seen)
    docker_engine.images.remove(f"{project}-job")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def test_much_output_in_little_memory(workspace: Workspace) -> None:
    """All of it arrives, 100 MB with CI_LEVEL=full; Gigogne's own memory does not grow with it."""
    lines, first = 100_000 if FULL else 30_000, 2_000
    text = "x" * 999
    script = (
        f"yes {text} | head -n {first}; until [ -e /here/go ]; do sleep 0.1; done; yes {text} | head -n {lines - first}"
    )
    workspace.write(jobs(job=f"volumes: ['.:/here'], command: [sh, -c, '{script}']"))
    with (workspace.folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "gigogne", "run", "--json"],
            cwd=workspace.folder,
            env={**os.environ, **workspace.environment},
            stdout=said,
        )
        wait_for(lambda: os.fstat(said.fileno()).st_size > 1_000_000)
        watched = psutil.Process(process.pid)
        before = watched.memory_info().rss
        (workspace.folder / "go").touch()
        while process.poll() is None:
            assert watched.memory_info().rss - before < 15_000_000
            time.sleep(0.05)
    assert process.returncode == 0
    assert re.findall(rb'"text": "(x+)"', (workspace.folder / "said").read_bytes()) == [text.encode()] * lines


def test_many_short_jobs(workspace: Workspace) -> None:
    """Jobs that live for 50 ms lose no line, and their two streams stay apart; twenty of them with CI_LEVEL=full."""
    count = 20 if FULL else 5
    command = "command: [sh, -c, 'seq 1 200; seq 201 400 >&2']"
    workspace.write(jobs(**{f"j{number}": command for number in range(count)}))
    result = workspace.run("run", "--json", "--jobs", "8")
    assert result.returncode == 0, result.stdout
    said = [event for event in events(result) if event["event"] == "output"]
    for number in range(count):
        mine = [event for event in said if event["service"] == f"j{number}"]
        for stream, first in (("stdout", 1), ("stderr", 201)):
            assert [e["text"] for e in mine if e["stream"] == stream] == [str(n) for n in range(first, first + 200)]
