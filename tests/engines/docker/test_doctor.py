"""What the doctor says of Docker: of a daemon that answers, and of each way in which there is none."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gigogne.core.finding import Finding
from gigogne.core.place import MountPoint, Place, PlaceKind
from gigogne.engines.docker.doctor import daemon_findings, docker_probes
from gigogne.engines.process.sandbox import find_bubblewrap

# The SDK leaves the socket of a connection that fails to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed:ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)
posix = pytest.mark.skipif(sys.platform == "win32", reason="Unix sockets")

HOST = Place(PlaceKind.HOST, engine_version="28.1.0")
INFO: dict[str, Any] = {
    "ServerVersion": "28.1.0",
    "Driver": "overlay2",
    "OperatingSystem": "Ubuntu 24.04.2 LTS",
    "Architecture": "x86_64",
    "CgroupVersion": "2",
    "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=cgroupns"],
}


@pytest.fixture(autouse=True)
def caller(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of the caller's settings of Docker."""
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "GIGOGNE_ENGINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))


def said(info: dict[str, Any] = INFO, place: Place = HOST, endpoint: str = "ssh://me@there", **more: Any) -> Any:
    """The findings of a daemon that answers, by name."""
    found = {finding.name: finding for finding in daemon_findings(info, place, endpoint, **more)}
    assert all(finding.fix for finding in found.values() if finding.state != "ok")
    return found


def absent() -> Finding:
    """The one finding of a daemon that does not answer."""
    [found] = docker_probes()["Docker"]()
    return found


def test_a_daemon_that_is_as_it_should_be() -> None:
    """Version, address without a password, storage, subpaths, place: nothing asks for anything."""
    found = said(endpoint="ssh://me:hunter2@build.example:2222")
    assert {finding.state for finding in found.values()} == {"ok"} and "hunter2" not in str(found)
    assert found["Docker"].found == ("engine 28.1.0 at ssh://build.example:2222, Ubuntu 24.04.2 LTS x86_64, cgroup v2")
    assert "as root" in found["Docker access"].found and "overlay2" in found["Docker storage"].found


def test_an_old_daemon_that_copies_each_layer() -> None:
    """Engines before 26 ignore a subpath silently, and vfs is slow: each with what to do."""
    info = {"ServerVersion": "20.10.24+dfsg1", "Driver": "vfs"}
    found = said(info, Place(PlaceKind.HOST, engine_version="20.10.24+dfsg1"))
    assert found["volume subpath"].state == found["Docker storage"].state == "note"
    assert "20.10.24" in found["volume subpath"].found and "26 or newer" in found["volume subpath"].fix
    assert "/var/lib/docker" in found["Docker storage"].fix


def test_who_else_may_use_the_daemon() -> None:
    """TCP without TLS is named; with a certificate, or rootless, it is not the same."""
    open_to_all = said(endpoint="tcp://10.0.0.7:2375")["Docker access"]
    assert open_to_all.state == "note" and "without TLS" in open_to_all.found and "DOCKER_TLS_VERIFY" in open_to_all.fix
    assert said(endpoint="tcp://10.0.0.7:2376", encrypted=True)["Docker access"].state == "ok"
    rootless = said({**INFO, "SecurityOptions": ["name=rootless"]})["Docker access"]
    assert "rootless" in rootless.found and "as root" not in rootless.found


@pytest.fixture
def listening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket on which somebody listens and never answers."""
    path = Path(os.path.relpath(tmp_path / "docker.sock"))  # a whole path may be too long for a socket
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path.resolve()}")
        yield path.resolve()


@posix
def test_a_socket_that_is_open_to_everybody(listening: Path) -> None:
    """`chmod 666`, as many recipes say, is named as what it is; closed again it is in order."""
    endpoint = f"unix://{listening}"
    listening.chmod(0o666)
    found = said(endpoint=endpoint)["Docker access"]
    assert found.state == "note" and "open to everybody" in found.found and f"chmod 660 {listening}" in found.fix
    listening.chmod(0o660)
    assert said(endpoint=endpoint)["Docker access"].state == "ok"


def test_each_place() -> None:
    """Whose disk the daemon sees; in a container, the table of its mounts in the daemon's own words."""
    mounts = (
        MountPoint("/home/hosted", "bind", r"C:\work\hosted"),
        MountPoint("/data", "volume", "shop_data", subpath="2026", read_only=True),
    )
    outside = said(place=Place(PlaceKind.OUTSIDE, mounts, "4f1c" * 16, "28.1.0"))["place"]
    assert outside.found.startswith("outside: in the container 4f1c4f1c4f1c")
    assert outside.found.splitlines()[1:] == [
        r"/home/hosted is C:\work\hosted",
        "/data is volume shop_data/2026, read-only",
    ]
    bare = said(place=Place(PlaceKind.OUTSIDE, (), "4f1c" * 16, "28.1.0"))["place"]
    assert bare.state == "note" and "-v FOLDER:/home/hosted" in bare.fix
    assert said(place=Place(PlaceKind.INSIDE, engine_version="28.1.0"))["place"].state == "ok"
    remote = said(place=Place(PlaceKind.REMOTE, engine_version="28.1.0"))["place"]
    assert remote.state == "note" and "named volumes" in remote.fix


@posix
def test_no_docker_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A note, because nothing needs one; to who asks for Docker by GIGOGNE_ENGINE it is missing."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    found = absent()
    assert found.state == "note" and str(tmp_path) in found.found and "works without" in found.found
    monkeypatch.setenv("GIGOGNE_ENGINE", "docker")
    assert absent().state == "missing" and "unset it" in absent().fix


@posix
def test_a_daemon_that_hangs(listening: Path) -> None:
    """It is told after some seconds, not after a minute."""
    began = time.monotonic()
    found = absent()
    assert time.monotonic() - began < 8 and found.state == "note" and str(listening) in found.found


@pytest.mark.sandbox
def test_a_socket_that_is_not_permitted(listening: Path) -> None:
    """The group is what helps, and the words to type are there."""
    bubblewrap, _ = find_bubblewrap()
    assert bubblewrap is not None
    listening.chmod(0)
    code = (
        "import json, dataclasses; from gigogne.engines.docker.doctor import docker_probes;"
        "print(json.dumps([dataclasses.asdict(one) for one in docker_probes()['Docker']()]))"
    )
    ran = subprocess.run(
        [str(bubblewrap.path), "--dev-bind", "/", "/", "--unshare-user", "--uid", "1000", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    [found] = [Finding(**one) for one in json.loads(ran.stdout)]
    assert found.state == "note" and "you may not use" in found.found and "usermod -aG docker" in found.fix


@posix
@pytest.mark.docker
def test_the_daemon_of_this_machine() -> None:
    """Asked for real, all is answered in a moment."""
    began = time.monotonic()
    found = {finding.name: finding for finding in docker_probes()["Docker"]()}
    assert time.monotonic() - began < 2
    assert {"Docker", "Docker access", "Docker storage", "volume subpath", "place"} == set(found)
    assert {found["Docker"].state, found["volume subpath"].state} == {"ok"}


@posix
@pytest.mark.docker
def test_the_daemon_of_this_machine_over_tcp(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same daemon behind an open port: it works, its place is found by the probe, and the port is named."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_forward, args=(server,), daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{server.getsockname()[1]}")
        found = {finding.name: finding for finding in docker_probes()["Docker"]()}
    assert found["Docker"].state == "ok" and found["place"].found.startswith("inside")
    assert found["Docker access"].state == "note" and "without TLS" in found["Docker access"].found


def _forward(server: socket.socket) -> None:
    """Pass each connection on to the daemon's socket, until the server is closed."""
    while True:
        try:
            one, _ = server.accept()
        except OSError:
            return
        other = socket.socket(socket.AF_UNIX)
        other.connect("/var/run/docker.sock")
        for source, sink in ((one, other), (other, one)):
            threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with source, contextlib.suppress(OSError):  # either end may close first
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def test_buildx_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is looked for where Docker and Compose look, and really started."""
    plugin = tmp_path / "docker" / "cli-plugins" / ("docker-buildx.exe" if sys.platform == "win32" else "docker-buildx")
    plugin.parent.mkdir(parents=True)
    plugin.write_text("no program", encoding="utf-8")
    plugin.chmod(0o755)
    [found] = docker_probes()["buildx"]()
    assert found.state == "note" and str(plugin) in found.found and "docker-buildx" in found.fix
