"""`ports:` without Docker, both ways: published by a relay, and refused before the start when two want one."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from tests.conftest import Workspace, free_port
from tests.scenarios.observe import Maker, left_behind, wait_for
from tests.scenarios.unshare import run_unshared

pytestmark = [
    pytest.mark.usefixtures("way"),
    pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals"),
]

WEB = """
name: published
services:
  web:
    build: .
    command: python -u -m http.server INNER
    ports: ["OUTER:INNER"]
    healthcheck: {test: [CMD, python, -c, "import urllib.request as r; r.urlopen('http://localhost:INNER')"]}
"""


def web(outer: object, inner: int, extra: str = "") -> str:
    """A web server that listens on `inner` and is published as `outer`."""
    return WEB.replace("OUTER", str(outer)).replace("INNER", str(inner)) + extra


def status(port: int, address: str = "127.0.0.1") -> int:
    """The HTTP status of a server of this machine, 0 where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{address}:{port}/", timeout=5) as answer:
            return int(answer.status)
    except OSError:
        return 0


@contextmanager
def up(workspace: Workspace, *services: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The servers, healthy, and stopped by Ctrl-C."""
    process = workspace.start("up", "--json", *services, **environment)
    assert process.stdout is not None
    said = []
    for line in iter(process.stdout.readline, ""):
        said.append(line)
        if '"healthy"' in line:
            break
    else:
        pytest.fail("".join(said) + (process.stderr.read() if process.stderr else ""))
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def test_another_port_is_relayed(python_project: Maker) -> None:
    """`8080:8000`: the server is there on both, `ps` names the published one, and both go with it."""
    outer, inner = free_port(), free_port()
    workspace = python_project(web(outer, inner), {})
    with up(workspace):
        wait_for(lambda: status(outer) == 200)  # the relay is a process of its own, which has to start
        assert status(inner) == 200
        assert f"127.0.0.1:{outer}" in workspace.run("ps").stdout
    assert status(outer) == 0 and not left_behind(workspace.environment["GIGOGNE_DATA_DIR"])


def test_the_same_port_is_the_server_itself(python_project: Maker) -> None:
    """`8000:8000`: the server listens on every address, so nothing is in its way."""
    port = free_port()
    with up(python_project(web(port, port), {})):
        assert status(port) == 200


def test_the_port_outlives_a_killed_supervisor(python_project: Maker) -> None:
    """After kill -9 of Gigogne server and port are still there; `down` takes both away."""
    outer, inner = free_port(), free_port()
    workspace = python_project(web(outer, inner), {})
    process = workspace.start("up", "--json")
    wait_for(lambda: status(outer) == 200)
    process.kill()
    process.communicate()
    assert status(outer) == 200 and "orphan" in workspace.run("ps").stdout
    assert workspace.run("down").returncode == 0
    wait_for(lambda: status(outer) == 0)
    wait_for(lambda: not left_behind(workspace.environment["GIGOGNE_DATA_DIR"]))


def test_a_taken_port_is_told_before_the_start(python_project: Maker) -> None:
    """Who has the port is named, and another one proposed; nothing was started."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        workspace = python_project(web(port, free_port()), {})
        result = workspace.run("up")
    assert result.returncode == 3, result.stdout
    assert f"port {port} of 127.0.0.1 is taken by {psutil.Process().name()}" in result.stderr
    assert f'"{port + 1}:…"' in result.stderr
    assert "started" not in result.stdout


def test_a_run_goes_on_without_a_taken_port(python_project: Maker) -> None:
    """Jobs call servers by name: that nobody else can is a notice of the run."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        job = "  job: {build: ., command: 'true', depends_on: {web: {condition: service_healthy}}}\n"
        result = python_project(web(port, free_port(), job), {}).run("run")
    assert result.returncode == 0, result.stderr
    assert f"services.web.ports: port {port} of 127.0.0.1 is taken by {psutil.Process().name()}" in result.stdout


def test_two_servers_on_one_port_are_refused(python_project: Maker) -> None:
    """In Docker each has a network of its own; here the second would fail, so it is said before."""
    inner = free_port()
    second = f"  second: {{build: ., command: python -m http.server {inner}, expose: ['{inner}']}}\n"
    workspace = python_project(web(free_port(), inner, second), {})
    result = workspace.run("up")
    assert result.returncode == 3 and "services.second.expose" in result.stderr
    assert "let one listen on another port" in result.stderr
    with up(workspace, "web"):
        assert status(inner) == 200


NAMED = """
services:
  web:
    build: .
    command: [python, serve.py]
    environment: {BIND_HOST: web}
    ports: ["${PUBLISHED}:PORT:PORT"]
    healthcheck: {test: [CMD, python, -c, "import urllib.request as r; r.urlopen('http://web:PORT')"]}
"""
SERVE = "import os, http.server as h; h.test(h.SimpleHTTPRequestHandler, port=PORT, bind=os.environ['BIND_HOST'])"


def test_two_projects_with_a_server_on_one_port(python_project: Maker) -> None:
    """A server that is told to listen on its own name leaves the port to others: each is at its published address."""
    port = free_port()
    workspace = python_project(NAMED.replace("PORT", str(port)), {"serve.py": SERVE.replace("PORT", str(port))})
    one, other = ({"PUBLISHED": f"127.0.0.{n}", "COMPOSE_PROJECT_NAME": f"named-{n}"} for n in (1, 9))
    with up(workspace, **one):
        with up(workspace, **other):
            wait_for(lambda: [status(port), status(port, "127.0.0.9")] == [200, 200])
        wait_for(lambda: not status(port, "127.0.0.9"))
        with socket.create_server(("127.0.0.9", port)):
            assert f"port {port} of 127.0.0.9 is taken" in workspace.run("up", **other).stderr


def test_a_running_server_holds_its_own_port(python_project: Maker) -> None:
    """A run beside `gigogne up` finds the ports taken by the very services that it uses."""
    outer, inner = free_port(), free_port()
    job = "  job: {build: ., command: 'true', depends_on: {web: {condition: service_healthy}}}\n"
    workspace = python_project(web(outer, inner, job), {})
    with up(workspace, "web"):
        result = workspace.run("run")
    assert result.returncode == 0, result.stdout + result.stderr


ONE_LOOPBACK = """
name: one-loopback
services:
  first: {image: "postgres:17", environment: {POSTGRES_PASSWORD: one}}
  second: {image: "postgres:17", environment: {POSTGRES_PASSWORD: two}}
  third: {image: "postgres:17", environment: {POSTGRES_PASSWORD: three}, ports: ["15433:5432"]}
  ask:
    image: python:3.12-slim
    command: [python, -c, "import os; print(*map(os.environ.get, ['ONE', 'TWO', 'THREE', 'PGHOST']))"]
    environment:
      {ONE: "postgresql://u@first:5432/x", TWO: "postgresql://u@second/x", THREE: "third:5432", PGHOST: first}
    depends_on: {first: {condition: service_healthy}, second: {condition: service_healthy},
                 third: {condition: service_healthy}}
"""


@pytest.mark.skipif(not sys.platform.startswith("linux") or os.geteuid() != 0, reason="makes a network of its own")
def test_one_loopback_address(workspace: Workspace, way: str) -> None:
    """As on macOS: servers share 127.0.0.1, who finds its port taken moves, and callers are told by rewriting."""
    workspace.write({"docker-compose.yml": ONE_LOOPBACK})
    only = "ip link set lo up && ip addr del 127.0.0.1/8 dev lo && ip addr add 127.0.0.1/32 dev lo"
    result = run_unshared(workspace, only, "--net")
    if way == "sandbox":  # there names are looked up, and a name has no port
        assert result.returncode == 3 and "set GIGOGNE_PROCESS=portable" in result.stderr
        return
    assert result.returncode == 0, result.stdout + result.stderr
    [said] = [line for line in result.stdout.splitlines() if line.startswith("ask") and "postgresql://" in line][:1]
    one, two, three, host = said.partition("| ")[2].split()
    assert (one, three, host) == ("postgresql://u@127.0.0.1:5432/x", "127.0.0.1:15433", "127.0.0.1")
    moved = int(two.removeprefix("postgresql://u@127.0.0.1:").removesuffix("/x"))
    assert 20_000 <= moved < 22_000 and f"second listens on 127.0.0.1:{moved}" in result.stdout
