"""`restart:` in a run, both ways."""

from __future__ import annotations

import pytest
from tests.scenarios.observe import Maker, events, left_behind, outcome, wait_for

pytestmark = pytest.mark.usefixtures("way")

# Fails until it has been started three times; counts in a volume.
COUNTER = """
import os, pathlib, sys
file = pathlib.Path(os.environ["STATE"], "count")
count = 1 + (int(file.read_text()) if file.exists() else 0)
file.write_text(str(count))
print("try", count, flush=True)
sys.exit(0 if count >= int(os.environ["GOOD"]) else 3)
"""
JOB = """
name: again
services:
  job:
    build: .
    command: python -u counter.py
    environment: {STATE: /state, GOOD: "3"}
    volumes: ["state:/state"]
    restart: on-failure:POLICY
volumes: {state: {}}
"""


def test_a_job_is_tried_again(python_project: Maker) -> None:
    """`on-failure:5`: two failures, then success; the run succeeds, and `logs` has all three tries in order."""
    workspace = python_project(JOB.replace("POLICY", "5"), {"counter.py": COUNTER})
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    again = [(e["code"], e["number"]) for e in events(result) if e["event"] == "restarting"]
    assert again == [(3, 1), (3, 2)] and outcome(result) == {"job": "succeeded"}
    assert workspace.run("logs").stdout.split("\n")[:3] == ["job | try 1", "job | try 2", "job | try 3"]


def test_a_job_that_keeps_failing_fails_with_its_own_code(python_project: Maker) -> None:
    """`on-failure:1`: two tries, and then the exit code of the last."""
    workspace = python_project(JOB.replace("POLICY", "1"), {"counter.py": COUNTER})
    result = workspace.run("run")
    assert result.returncode == 3 and "failed after 1 restart" in result.stdout and "try 3" not in result.stdout


SERVER = """
name: again
services:
  server:
    build: .
    command: python -u server.py
    environment: {STATE: /state, GOOD: "3"}
    volumes: ["state:/state"]
    restart: unless-stopped
    stop_grace_period: 1s
    healthcheck: {test: [CMD, python, -c, "import os, sys; sys.exit(not os.path.exists(os.environ['STATE'] + '/up'))"]}
  client: {build: ., command: "true", depends_on: {server: {condition: service_healthy}}}
volumes: {state: {}}
"""
FLAKY_SERVER = COUNTER.replace("sys.exit(0 if", "import time; good = (0 if").replace("else 3)", "else 3)") + (
    "if good: sys.exit(good)\nfile.with_name('up').touch()\ntime.sleep(600)\n"
)


def test_a_server_comes_back(python_project: Maker) -> None:
    """A server that falls over twice before it stands is waited for; it is stopped when its job is done."""
    workspace = python_project(SERVER, {"server.py": FLAKY_SERVER})
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    assert sum(e["event"] == "restarting" for e in events(result)) == 2
    assert outcome(result) == {"server": "served", "client": "succeeded"}
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_a_server_that_never_stands_fails_the_run(python_project: Maker) -> None:
    """`restart: always` goes on for ever in Docker; a run gives up, says after how many restarts, and ends."""
    compose = SERVER.replace('GOOD: "3"', 'GOOD: "99"').replace("unless-stopped", "always")
    workspace = python_project(compose, {"server.py": FLAKY_SERVER})
    result = workspace.run("run")
    assert result.returncode == 3 and "failed after 7 restarts" in result.stdout
    assert "not run: server failed" in result.stdout
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_logs_follow_a_service_that_restarts(python_project: Maker) -> None:
    """`logs -f` begins with the present try of a service, and goes on with the next ones."""
    workspace = python_project(JOB.replace("POLICY", "5"), {"counter.py": "import time; time.sleep(1.2)\n" + COUNTER})
    run = workspace.start("run")
    wait_for(lambda: "job" in workspace.run("ps").stdout)
    logs = workspace.start("logs", "-f")
    run.communicate(timeout=60)
    assert logs.stdout is not None
    wait_for(lambda: logs.poll() is None)
    logs.terminate()
    out, _ = logs.communicate(timeout=30)
    # A slow machine may see it come when the first try is over.
    assert [f"| try {number}" in out for number in (2, 3)] == [True, True], out
