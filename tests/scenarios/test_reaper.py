"""`gigogne reap` as a process: its daemon dies and comes back, it is asked to end, it ends by itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tests.conftest import REPOSITORY, Workspace
from tests.scenarios.daemon import own_daemon
from tests.scenarios.docked import read_until, running, started, use_docker

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

JOB = """services:
  job: {image: busybox:1.36, network_mode: none, stop_grace_period: 1s, labels: {gigogne.kind: job},
        command: [sh, -c, 'trap "exit 0" TERM; while :; do sleep 0.1; done']}
"""


def leave(workspace: Workspace, run: str) -> None:
    """Start the job of a detached run, which nobody sees to after that."""
    words = [sys.executable, str(REPOSITORY / "tests/orchestrators/detached.py"), "leave", run, "job"]
    environment = {**os.environ, **workspace.environment}
    subprocess.run(words, cwd=workspace.folder, env=environment, capture_output=True, check=True)


@pytest.mark.docker
@pytest.mark.full
def test_a_daemon_that_comes_back(workspace: Workspace) -> None:
    """While no daemon answers it waits, and then goes on with its work."""
    project = use_docker(workspace)
    workspace.write({"compose.yml": JOB})
    with own_daemon(["busybox:1.36"]) as daemon:
        workspace.environment["DOCKER_HOST"] = daemon.host
        leave(workspace, "before")
        client = daemon.client()
        with started(workspace, "reap", "--project", project, "--patience", "10", "--json") as reaper:
            read_until(reaper, "looks after")
            daemon.kill()
            time.sleep(2.5)
            daemon.start()  # which ends the containers of the one that was killed
            assert reaper.poll() is None
            leave(workspace, "after")
            assert len(running(client, project, "job")) == 1
            out, err = reaper.communicate(timeout=30)
        assert reaper.returncode == 0, err
        assert [json.loads(line)["text"].rpartition(" for ")[0] for line in out.splitlines()] == [
            "ended: nobody has attended to it"
        ]
        assert not running(client, project, "job")
        client.close()
        (workspace.folder / "compose.yml").unlink()  # what is left goes with this daemon


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_it_ends_when_it_is_asked_to(workspace: Workspace, number: signal.Signals, code: int) -> None:
    """Ctrl-C, or the stop of the container that it is in: at once, in silence; what it guards lives on."""
    workspace.write(
        {"compose.yml": JOB.replace("network_mode: none, ", "").replace("busybox:1.36", "python:3.12-slim")}
    )
    leave(workspace, "left")
    with started(workspace, "reap") as reaper:
        read_until(reaper, "looks after")
        reaper.send_signal(number)
        out, err = reaper.communicate(timeout=10)
    assert (reaper.returncode, out, err.strip()) == (code, "", "")
    assert "left" in workspace.run("ps").stdout
