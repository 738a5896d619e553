"""Two runs of one project at once, both ways: they share servers, and the last one that needs a server stops it."""

from __future__ import annotations

import json
import signal
import sys

import pytest
from tests.scenarios.observe import Maker, events, left_behind, wait_for

pytestmark = [
    pytest.mark.usefixtures("way"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

SHARED = """
name: together
services:
  server:
    build: .
    command: sleep 600
    stop_grace_period: 0.2s
    healthcheck: {test: "true", interval: 1s}
  short: {build: ., command: python wait.py short, volumes: ["gate:/gate"], environment: {GATE: /gate},
          depends_on: {server: {condition: service_healthy}}}
  first: {build: ., command: python wait.py first, volumes: ["gate:/gate"], environment: {GATE: /gate},
          depends_on: {server: {condition: service_healthy}}}
  then: {build: ., command: "true", depends_on: {first: {condition: service_completed_successfully},
         server: {condition: service_healthy}}}
volumes: {gate: {}}
"""
WAIT = """
import os, pathlib, sys, time
gate = pathlib.Path(os.environ["GATE"])
(gate / f"{sys.argv[1]}.here").touch()
while not (gate / f"{sys.argv[1]}.go").exists():
    time.sleep(0.02)
"""


def test_the_last_run_stops_the_server(python_project: Maker) -> None:
    """The run that started the server ends first and leaves it; the other goes on with it, and stops it at its end."""
    workspace = python_project(SHARED, {"wait.py": WAIT})
    gate = workspace.volume("together_gate")
    one = workspace.start("run", "--json", "short")
    wait_for(lambda: (gate / "short.here").exists())
    other = workspace.start("run", "--json", "then")
    wait_for(lambda: (gate / "first.here").exists())
    (gate / "short.go").touch()
    out, _ = one.communicate(timeout=30)
    notices = [e["text"] for e in map(json.loads, out.splitlines()) if e["event"] == "notice" and e["service"]]
    assert one.returncode == 0 and "stays up: another run needs it" in notices
    (gate / "first.go").touch()
    out, _ = other.communicate(timeout=30)
    said = [json.loads(line) for line in out.splitlines()]
    assert other.returncode == 0, out
    assert any(e["event"] == "started" and e["adopted"] for e in said if e["service"] == "server")
    assert any(e["event"] == "stopped" for e in said if e["service"] == "server")
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_a_killed_run_needs_nothing_any_more(python_project: Maker) -> None:
    """A run that was killed -9 keeps no server up: the next run that uses it stops it."""
    workspace = python_project(SHARED, {"wait.py": WAIT})
    gate = workspace.volume("together_gate")
    killed = workspace.start("run", "short")
    wait_for(lambda: (gate / "short.here").exists())
    killed.kill()
    killed.communicate()
    (gate / "first.go").touch()
    result = workspace.run("run", "--json", "then")
    assert result.returncode == 0, result.stdout
    assert any(e["event"] == "started" and e["adopted"] for e in events(result) if e["service"] == "server")
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_an_interrupted_run_leaves_the_server_to_the_other(python_project: Maker) -> None:
    """Ctrl-C in one run stops its own job, not the server that the other run's job still talks to."""
    workspace = python_project(SHARED, {"wait.py": WAIT})
    gate = workspace.volume("together_gate")
    one = workspace.start("run", "short")
    wait_for(lambda: (gate / "short.here").exists())
    other = workspace.start("run", "--json", "then")
    wait_for(lambda: (gate / "first.here").exists())
    one.send_signal(signal.SIGINT)
    one.communicate(timeout=30)
    (gate / "first.go").touch()
    out, _ = other.communicate(timeout=30)
    assert one.returncode == 130 and other.returncode == 0, out
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_two_runs_that_begin_together(python_project: Maker) -> None:
    """Both find no server: one starts it, the other uses the same, and each succeeds."""
    compose = SHARED.replace('healthcheck: {test: "true", interval: 1s}', 'healthcheck: {test: "true", interval: 0.2s}')
    workspace = python_project(compose, {"wait.py": WAIT})
    gate = workspace.volume("together_gate")
    gate.mkdir(parents=True)
    (gate / "first.go").touch()
    (gate / "short.go").touch()
    runs = [workspace.start("run", "--json", name) for name in ("short", "then", "short", "then")]
    said = [run.communicate(timeout=60)[0] for run in runs]
    assert [run.returncode for run in runs] == [0] * 4, said
    started = [
        json.loads(line) for out in said for line in out.splitlines() if '"started"' in line and '"server"' in line
    ]
    assert sum(event["service"] == "server" and not event["adopted"] for event in started) < 4
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_down_ends_the_runs_that_are_under_way(python_project: Maker) -> None:
    """`down` beside `up`: the run ends in good order, and its restart policy brings nothing back."""
    compose = (
        "name: kept\nservices: {server: {build: ., command: sleep 600, restart: always, stop_grace_period: 0.2s}}\n"
    )
    workspace = python_project(compose, {})
    up = workspace.start("up", "--json")
    assert up.stdout is not None
    assert any('"started"' in line for line in iter(up.stdout.readline, ""))
    result = workspace.run("down")
    assert result.returncode == 0 and "ended" in result.stdout
    up.communicate(timeout=30)
    assert up.returncode == 143 and not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])
    assert "nothing runs" in workspace.run("ps").stdout
