"""Who supervises a run on Docker is killed or interrupted, or the daemon dies: nothing is doubled, nothing is left."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import psutil
import pytest
from docker import DockerClient
from tests.conftest import Workspace
from tests.scenarios.daemon import Daemon, own_daemon
from tests.scenarios.docked import containers, leases, on_event, read_until, running, started, until
from tests.scenarios.observe import events, outcome

from gigogne.compose.binary import compose_binary

pytestmark = [
    pytest.mark.docker,
    pytest.mark.usefixtures("project"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]
FULL = os.environ.get("CI_LEVEL") == "full"

SERVER = """{image: busybox:1.36, network_mode: none, stop_grace_period: 1s,
           command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done'],
           healthcheck: {test: "true", start_period: 10s, start_interval: 100ms}}"""
JOB = "image: busybox:1.36, network_mode: none, stop_grace_period: 1s"
# A Compose that is held when it has made a container, or has started it too.
HELD = """\
#!/bin/sh
case " $* " in *" up "*) ;; *) exec {0} "$@" ;; esac
for word; do
  shift
  [ "$word" = -d ] && word={1}
  set -- "$@" "$word"
done
{0} "$@"
sleep 60
"""


@pytest.fixture
def daemon(workspace: Workspace) -> Iterator[Daemon]:
    """A daemon of the test's own, which the workspace's command uses."""
    with own_daemon(["busybox:1.36"]) as made:
        workspace.environment["DOCKER_HOST"] = made.host
        yield made
        # What is left goes with this daemon.
        (workspace.folder / "compose.yml").unlink(missing_ok=True)


def waiting(name: str, needs: str = "") -> str:
    """A job that says that it is here, and waits to be told to go."""
    command = f"[sh, -c, 'touch /here/{name}; while [ ! -e /here/go ]; do sleep 0.1; done']"
    return f"{{{JOB}, volumes: ['.:/here'], command: {command}{needs}}}"


def kill_all(process: subprocess.Popen[str]) -> None:
    """Kill -9 the command, and the Compose that it has called."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                each.kill()


def test_a_killed_run_is_cleaned_up_after(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """The next run ends the job that was left, stops the server that Gigogne had started, and leaves the user's."""
    needs = ", depends_on: {mine: {condition: service_healthy}, theirs: {condition: service_healthy}}"
    text = f"services:\n  mine: {SERVER}\n  theirs: {SERVER}\n  job: {waiting('job', needs)}\n"
    workspace.write({"compose.yml": text})
    up = [str(compose_binary()), "-p", project, "up", "--detach", "--wait", "theirs"]
    subprocess.run(up, cwd=workspace.folder, capture_output=True, check=True)
    theirs = containers(docker_engine, project)[f"{project}-theirs-1"]
    with started(workspace, "run") as killed:
        until(lambda: (workspace.folder / "job").exists(), killed)
        killed.kill()
    (left,) = running(docker_engine, project, "job")
    (workspace.folder / "job").unlink()
    with started(workspace, "run") as again:
        until(lambda: (workspace.folder / "job").exists(), again)
        (mine,) = running(docker_engine, project, "job")
        assert mine != left
        (workspace.folder / "go").touch()
        out, err = again.communicate(timeout=30)
    assert again.returncode == 0, err
    assert "left it behind when it was killed" in out
    after = containers(docker_engine, project)
    assert {name: each["State"]["Running"] for name, each in after.items()} == {
        f"{project}-mine-1": False,
        f"{project}-theirs-1": True,
    }
    assert after[f"{project}-theirs-1"]["Id"] == theirs["Id"]
    assert after[f"{project}-theirs-1"]["State"]["StartedAt"] == theirs["State"]["StartedAt"]
    assert not leases(docker_engine, project)


@pytest.mark.parametrize("event", ["create", *(["start"] if FULL else [])])
def test_killed_while_a_job_starts(workspace: Workspace, docker_engine: DockerClient, event: str, project: str) -> None:
    """A container that was made and never started is removed by the next run, which has its own."""
    workspace.write({"compose.yml": f"services: {{job: {{{JOB}, command: echo here}}}}\n"})
    seen: list[str] = []
    with started(workspace, "run") as killed:

        def kill(happened: dict[str, Any]) -> None:
            if not seen:
                seen.append(happened["Actor"]["Attributes"]["name"])
                kill_all(killed)

        with on_event(docker_engine, project, event, kill):
            killed.wait(30)
    assert killed.returncode == -signal.SIGKILL and seen
    result = workspace.run("run")
    assert result.returncode == 0 and result.stdout.count("job | here\n") == 1
    assert not containers(docker_engine, project) and not leases(docker_engine, project)


@pytest.mark.parametrize(("event", "up"), [("create", "--no-start"), ("start", "-d")])
def test_killed_while_a_server_starts(
    workspace: Workspace, docker_engine: DockerClient, event: str, up: str, project: str
) -> None:
    """The lock that its start was under is broken, the server is used, and stopped in the end."""
    needs = "depends_on: {server: {condition: service_healthy}}"
    text = f"services:\n  server: {SERVER}\n  job: {{{JOB}, command: echo here, {needs}}}\n"
    workspace.write({"compose.yml": text, "docker-compose": HELD.format(compose_binary(), up)})
    slow = workspace.folder / "docker-compose"
    slow.chmod(0o755)
    with (
        started(workspace, "run", GIGOGNE_COMPOSE=str(slow)) as killed,
        on_event(docker_engine, project, event, lambda _: kill_all(killed)),
    ):
        killed.wait(30)
    assert any("start-server" in name for name in containers(docker_engine, project))
    result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr
    left = containers(docker_engine, project)
    assert list(left) == [f"{project}-server-1"] and not left[f"{project}-server-1"]["State"]["Running"]
    assert not leases(docker_engine, project)


@pytest.mark.parametrize("event", ["create", *(["start"] if FULL else [])])
def test_an_interrupt_while_a_service_starts(
    workspace: Workspace, docker_engine: DockerClient, event: str, project: str
) -> None:
    """Ctrl-C in the middle of a start ends it in good order: 130, no job, no lock; the network stays."""
    needs = "depends_on: {server: {condition: service_healthy}}"
    text = f"services:\n  server: {SERVER.replace('network_mode: none, ', '')}\n"
    workspace.write({"compose.yml": f"{text}  job: {{{JOB}, command: 'sleep 1', {needs}}}\n"})
    for service in ("server", "job"):
        with started(workspace, "run") as process:

            def interrupt(happened: dict[str, Any], name: str = service) -> None:
                if happened["Actor"]["Attributes"]["com.docker.compose.service"] == name:
                    process.send_signal(signal.SIGINT)

            with on_event(docker_engine, project, event, interrupt):
                out, err = process.communicate(timeout=40)
        assert process.returncode == 130 and "Traceback" not in err, out + err
        left = containers(docker_engine, project)
        assert [name for name in left if "server-1" not in name] == []
        assert not any(each["State"]["Running"] for each in left.values()) and not leases(docker_engine, project)
    assert docker_engine.networks.list(names=[f"{project}_default"])


def test_ten_runs_at_once(workspace: Workspace, docker_engine: DockerClient, project: str) -> None:
    """All succeed, one of them starts the server and one stops it; another project beside them is not touched."""
    runs = 10 if FULL else 6
    needs = "depends_on: {server: {condition: service_healthy}}"
    text = f"services:\n  server: {SERVER}\n  job: {{{JOB}, command: sleep 0.5, {needs}}}\n"
    workspace.write({"compose.yml": text})
    made: list[str] = []
    note = on_event(docker_engine, project, "start", lambda event: made.append(event["Actor"]["Attributes"]["name"]))
    with note, ThreadPoolExecutor(runs + 1) as pool:
        other = pool.submit(workspace.run, "-p", f"{project}-other", "run", "--json")
        results = list(pool.map(lambda _: workspace.run("run", "--json"), range(runs)))
    for result in (*results, other.result()):
        assert result.returncode == 0, result.stdout + result.stderr
        assert outcome(result) == {"server": "served", "job": "succeeded"}
    jobs = [name for name in made if "-job-run-" in name]
    assert len(jobs) == len(set(jobs)) == runs
    started_it = [
        e for result in results for e in events(result) if e["event"] == "started" and e["service"] == "server"
    ]
    assert sum(not event["adopted"] for event in started_it) == made.count(f"{project}-server-1")
    for name in (project, f"{project}-other"):
        left = containers(docker_engine, name)
        assert list(left) == [f"{name}-server-1"] and not left[f"{name}-server-1"]["State"]["Running"]
        assert not leases(docker_engine, name)
    workspace.run("-p", f"{project}-other", "down")


@pytest.mark.parametrize("seed", range(20 if FULL else 1))
def test_killed_at_any_time(workspace: Workspace, docker_engine: DockerClient, seed: int, project: str) -> None:
    """Two of three runs are killed or interrupted, whatever they do: the third succeeds, the next leaves nothing."""
    chance = random.Random(seed)
    needs = "depends_on: {server: {condition: service_healthy}}"
    text = f"services:\n  server: {SERVER}\n  job: {{{JOB}, command: sleep 0.7, {needs}}}\n"
    workspace.write({"compose.yml": text})
    ends: dict[str, Callable[[subprocess.Popen[str]], object]] = {
        "kill": lambda process: process.kill(),
        "kill with Compose": kill_all,
        "Ctrl-C": lambda process: process.send_signal(signal.SIGINT),
    }
    fates = [(chance.uniform(0.0, 3.5), chance.choice(sorted(ends))) for _ in range(2)]

    def run(fate: tuple[float, str] | None) -> tuple[int, str, str]:
        with started(workspace, "run") as process:
            if fate is not None:
                read_until(process, " on docker")  # before, Python is still being loaded
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(fate[0])
                ends[fate[1]](process)
            out, err = process.communicate(timeout=60)
        return process.returncode, out, err

    with ThreadPoolExecutor(3) as pool:
        *ended, spared = pool.map(run, [*fates, None])
    assert spared[0] == 0, (fates, spared)
    assert all(code in (0, 130, -signal.SIGKILL) for code, _, _ in ended), (fates, ended)
    assert workspace.run("run").returncode == 0, fates
    left = containers(docker_engine, project)
    assert {name: each["State"]["Running"] for name, each in left.items()} == {f"{project}-server-1": False}, fates
    assert not leases(docker_engine, project), fates


def test_the_daemon_dies_and_comes_back(workspace: Workspace, daemon: Daemon, project: str) -> None:
    """A daemon ends the containers that its dead predecessor left: the job has failed, with its own code, and why."""
    text = f"services:\n  server: {SERVER}\n  job: {waiting('job', ', depends_on: [server]')}\n"
    workspace.write({"compose.yml": text})
    with started(workspace, "run", "--json") as process:
        said = read_until(process, '"started"', '"job"')
        daemon.kill()
        daemon.start()
        out, err = process.communicate(timeout=60)
    assert process.returncode in (137, 143, 255) and "Traceback" not in err, (said, out, err)
    (job,) = [each for each in events(_done(out))[-1]["services"] if each["service"] == "job"]
    assert job["code"] == process.returncode and job["reason"] == "ended while the Docker daemon was started anew"
    with closing(daemon.client()) as client:
        assert not any(each["State"]["Running"] for each in containers(client, project).values())
        assert not leases(client, project)
        (workspace.folder / "go").touch()
        assert workspace.run("run").returncode == 0


def test_the_daemon_dies_and_does_not_come_back(workspace: Workspace, daemon: Daemon, project: str) -> None:
    """It is waited for, then the run ends with 4 and says so; when the daemon is back, the next run cleans up."""
    text = f"services:\n  server: {SERVER}\n  job: {waiting('job', ', depends_on: [server]')}\n"
    workspace.write({"compose.yml": text})
    with started(workspace, "run") as process:
        read_until(process, "job", "started")
        daemon.kill()
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4 and time.monotonic() - began < 30
    assert f"the Docker daemon at {daemon.host} does not answer any more" in err and "fix: start it" in err
    assert "Traceback" not in err
    refused = workspace.run("run")
    assert refused.returncode == 4 and f"no Docker daemon answers at {daemon.host}" in refused.stderr
    daemon.start()
    (workspace.folder / "go").touch()
    assert workspace.run("run").returncode == 0
    with closing(daemon.client()) as client:
        assert not running(client, project, "server") and not running(client, project, "job")
        assert not leases(client, project)


def test_the_disk_is_full(workspace: Workspace, project: str) -> None:
    """A build that fills the daemon's disk fails with the system's words; no image, no container; others still run."""
    with own_daemon(["busybox:1.36"], disk="48m") as daemon, closing(daemon.client()) as client:
        workspace.environment["DOCKER_HOST"] = daemon.host
        workspace.write(
            {
                "compose.yml": f"""
                services:
                  big: {{build: ., network_mode: none}}
                  small: {{{JOB}, command: echo small}}
                """,
                "Dockerfile": "FROM busybox:1.36\nRUN dd if=/dev/zero of=/big bs=1M count=100\n",
            }
        )
        result = workspace.run("run", "big")
        assert result.returncode == 4 and "Traceback" not in result.stderr
        assert "No space left on device" in result.stderr and "Dockerfile:2" in result.stderr, result.stderr
        assert not containers(client, project) and not client.images.list(f"{project}-big")
        assert workspace.run("run", "small").returncode == 0
        (workspace.folder / "compose.yml").unlink()


def _done(out: str) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess([], 0, out)


def test_an_interrupt_while_the_daemon_is_dead(workspace: Workspace, daemon: Daemon) -> None:
    """Ctrl-C does not wait for a daemon that may come back: the run ends, and says what may be left."""
    text = f"services:\n  server: {SERVER}\n  job: {waiting('job', ', depends_on: [server]')}\n"
    workspace.write({"compose.yml": text})
    with started(workspace, "run") as process:
        read_until(process, "job", "started")
        daemon.kill()
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 4 and "Traceback" not in err
    assert "does not answer any more" in err and time.monotonic() - began < 10
