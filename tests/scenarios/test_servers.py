"""Servers in a run, both ways: health, order, what is used as it is, what fails the run."""

from __future__ import annotations

import json
import signal
import sys

import pytest
from tests.scenarios.observe import Maker, events, left_behind, outcome

pytestmark = pytest.mark.usefixtures("way")

SERVER = """
name: served
services:
  server:
    build: .
    command: ["python", "server.py"]
    environment: {ADDRESS: "server:8123", READY: /data/ready}
    expose: ["8123"]
    volumes: ["data:/data"]
    healthcheck: {test: ["CMD", "python", "check.py"], interval: 0.3s, timeout: 5s, retries: 3, start_period: 30s}
    stop_grace_period: 5s
  client:
    build: .
    command: ["python", "client.py"]
    environment: {URL: "http://server:8123/"}
    depends_on: {server: {condition: service_healthy}}
volumes: {data: {}}
"""
SERVER_MODULES = {
    "server.py": """
        import http.server, os, signal, sys, time
        host, port = os.environ["ADDRESS"].split(":")
        def stop(*_):
            print("server said goodbye", flush=True)
            sys.exit(0)
        signal.signal(signal.SIGTERM, stop)
        time.sleep(0.7)
        server = http.server.HTTPServer((host, int(port)), http.server.SimpleHTTPRequestHandler)
        open(os.environ["READY"], "w").close()
        server.serve_forever()
        """,
    "check.py": "import os, sys; print('looked'); sys.exit(not os.path.exists(os.environ['READY']))",
    "client.py": "import os, urllib.request as r; print('status', r.urlopen(os.environ['URL']).status)",
}


def test_a_job_waits_for_a_healthy_server(python_project: Maker) -> None:
    """The client starts when the health check has passed, reaches the server by its name, and the server is stopped."""
    workspace = python_project(SERVER, SERVER_MODULES)
    result = workspace.run("run", "--json")
    assert result.returncode == 0, result.stdout + result.stderr
    names = [
        (e["event"], e["service"]) for e in events(result) if e["event"] in ("healthy", "started", "exited", "stopped")
    ]
    assert names == [
        ("started", "server"),
        ("healthy", "server"),
        ("started", "client"),
        ("exited", "client"),
        ("stopped", "server"),
    ]
    lines = [e["text"] for e in events(result) if e["event"] == "output"]
    assert "status 200" in lines and "server said goodbye" in lines
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_run_uses_a_server_that_is_up(python_project: Maker) -> None:
    """Beside `gigogne up server` a run adopts the server, waits for its health, and leaves it alone."""
    workspace = python_project(SERVER, SERVER_MODULES)
    up = workspace.start("up", "--json", "server")
    assert up.stdout is not None
    assert any('"healthy"' in line for line in iter(up.stdout.readline, ""))
    for _ in range(2):
        result = workspace.run("run", "--json")
        assert result.returncode == 0, result.stdout + result.stderr
        assert any(e["event"] == "started" and e["adopted"] for e in events(result) if e["service"] == "server")
    up.send_signal(signal.SIGINT)
    out, _ = up.communicate(timeout=30)
    assert up.returncode == 130 and "server said goodbye" in out
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_servers_stop_in_reverse_order(python_project: Maker) -> None:
    """What was started last is stopped first; a server that is only to be started is not waited for."""
    compose = """
    name: order
    services:
      base: {build: ., command: sleep infinity, stop_grace_period: 0.2s}
      top:
        build: .
        command: sleep infinity
        stop_grace_period: 0.2s
        healthcheck: {test: "true", interval: 1s}
        depends_on: {base: {condition: service_started}}
      job: {build: ., command: "true", depends_on: {top: {condition: service_healthy}}}
    """
    result = python_project(compose, {}).run("run", "--json")
    assert result.returncode == 0, result.stdout
    seen = [(e["event"], e["service"]) for e in events(result) if e["event"] in ("started", "stopped")]
    assert seen == [("started", n) for n in ("base", "top", "job")] + [("stopped", "top"), ("stopped", "base")]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_second_interrupt_ends_it_at_once(python_project: Maker) -> None:
    """A job that is deaf to its stop signal has its grace period; a second Ctrl-C does not wait for it."""
    deaf = "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('deaf', flush=True)\ntime.sleep(600)\n"
    compose = "name: deaf\nservices: {a: {build: ., command: python deaf.py, stop_grace_period: 5m}}\n"
    workspace = python_project(compose, {"deaf.py": deaf})
    process = workspace.start("run", "--json")
    assert process.stdout is not None
    for event in ("output", "stopping"):
        while json.loads(process.stdout.readline())["event"] != event:
            pass
        process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130 and not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_an_unhealthy_server_fails_the_run(python_project: Maker) -> None:
    """A health check that never passes: what it said last is told, the client is not run, nothing stays."""
    compose = SERVER.replace("start_period: 30s", "start_period: 0s").replace("check.py", "no-check.py")
    workspace = python_project(compose, SERVER_MODULES)
    result = workspace.run("run", "--json")
    assert result.returncode == 1
    assert not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])
    assert outcome(result) == {"server": "failed", "client": "not run"}
    [server] = [e for e in events(result) if e["event"] == "exited"]
    assert "failed 3 times: " in server["detail"] and "no-check.py" in server["detail"]


def test_a_server_that_ends_early_fails_the_run(python_project: Maker) -> None:
    """A server that exits before it was healthy is named with its code, and its last words were shown."""
    modules = {**SERVER_MODULES, "server.py": "import sys; sys.exit('no database')"}
    result = python_project(SERVER, modules).run("run")
    assert result.returncode == 1
    assert "no database" in result.stdout and "not run: server failed" in result.stdout
