"""Which daemon is asked, and what is said when it does not answer."""

from __future__ import annotations

import gc
import importlib.util
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing
from inspect import getfile
from pathlib import Path

import pytest
from docker.client import DockerClient
from docker.context import ContextAPI
from tests.conftest import REPOSITORY

from gigogne.engines.docker.connection import connect, endpoint, is_local
from gigogne.errors import EngineError

SOCKET = Path("/var/run/docker.sock")
# The SDK leaves a socket open where it could not connect.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
posix = pytest.mark.skipif(os.name == "nt", reason="sockets of Unix")


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing of this machine's configuration of the Docker CLI, which is an empty one in place of it."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    yield
    gc.collect()  # or the sockets would be told in another module's test


def refusal() -> EngineError:
    """What `connect` says of a daemon that cannot be had."""
    with pytest.raises(EngineError) as raised:
        connect(timeout=2)
    return raised.value


@posix
def test_no_daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket, one on which nobody listens, and a port: each is named with what named it."""
    left = tmp_path / "left.sock"
    with closing(socket.socket(socket.AF_UNIX)) as bound:
        bound.bind(str(left))
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
    for url in (f"unix://{tmp_path}/none.sock", f"unix://{left}", f"tcp://127.0.0.1:{port}"):
        monkeypatch.setenv("DOCKER_HOST", url)
        error = refusal()
        assert error.message == f"no Docker daemon answers at {url} (DOCKER_HOST)"
        assert "correct DOCKER_HOST" in error.hint and "--engine process" in error.hint


def test_no_route_by_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK speaks SSH with a package of its own, which is asked for by name."""
    monkeypatch.setenv("DOCKER_HOST", "ssh://nobody@127.0.0.1:1")
    error = refusal()
    assert "ssh://nobody@127.0.0.1:1 (DOCKER_HOST)" in error.message
    has = importlib.util.find_spec("paramiko") is not None
    assert ("ssh nobody@127.0.0.1:1 docker version" if has else "pip install 'docker[ssh]'") in error.hint


def test_certificates_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder is named. Unless they are asked for, as the Docker CLI does, they are not looked at."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    assert "no Docker daemon answers" in refusal().message
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    error = refusal()
    assert error.message == f"DOCKER_TLS_VERIFY is set, and {tmp_path} does not hold the certificates"
    assert "ca.pem, cert.pem and key.pem" in error.hint


def test_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`DOCKER_HOST` comes first, then `DOCKER_CONTEXT`, then the current context, then this machine's socket."""
    for name in ("here", "there"):
        ContextAPI.create_context(name, host=f"unix:///{name}.sock")
    plain = endpoint()
    assert plain.endswith(("docker.sock", "docker_engine"))
    (tmp_path / "config.json").write_text('{"currentContext": "here"}')
    assert endpoint() == "unix:///here.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "there")
    assert endpoint() == "unix:///there.sock"
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert endpoint() == plain
    monkeypatch.setenv("DOCKER_HOST", "unix:///else.sock")
    assert endpoint() == "unix:///else.sock"


def test_contexts_that_are_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not there, and one whose file is damaged."""
    monkeypatch.setenv("DOCKER_CONTEXT", "nowhere")
    assert refusal().message == "there is no Docker context nowhere"
    monkeypatch.setenv("DOCKER_CONTEXT", "here")
    ContextAPI.create_context("here", host="unix:///here.sock")
    (meta,) = tmp_path.glob("contexts/meta/*/meta.json")
    meta.write_text("{")
    error = refusal()
    assert "the Docker context here cannot be read" in error.message and error.hint == "see: docker context ls"


@pytest.mark.docker
@posix
def test_a_daemon_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the default, and by a context."""
    ContextAPI.create_context("mine", host=endpoint())
    for context in ("default", "mine"):
        monkeypatch.setenv("DOCKER_CONTEXT", context)
        with closing(connect()) as client:
            assert is_local(client) and client.ping()


@pytest.mark.docker
@pytest.mark.skipif(not SOCKET.exists(), reason="the daemon listens elsewhere")
def test_a_socket_that_is_not_permitted() -> None:
    """Its group is named, by the number that a container needs; with it the daemon answers."""
    libraries = (str(REPOSITORY / "src"), str(Path(getfile(DockerClient)).parents[1]))
    words = ["docker", "run", "--rm", "--user", "4711:4711", "-v", f"{SOCKET}:{SOCKET}"]
    words += [word for path in libraries for word in ("-v", f"{path}:{path}:ro")]
    words += ["-e", f"PYTHONPATH={':'.join(libraries)}", "-e", "PYTHONDONTWRITEBYTECODE=1"]
    code = "from gigogne.engines.docker.connection import connect; print(connect().ping())"
    group = f"--group-add={SOCKET.stat().st_gid}"
    refused = subprocess.run([*words, "python:3.12-slim", "python", "-c", code], capture_output=True, text=True)
    assert f"EngineError: you may not use the Docker daemon at unix://{SOCKET}" in refused.stderr
    granted = subprocess.run([*words, group, "python:3.12-slim", "python", "-c", code], capture_output=True, text=True)
    assert granted.stdout == "True\n", granted.stderr
