"""The relay of published ports, run as the process that it is."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.processes import Process
from gigogne.engines.process.publish import publish
from gigogne.engines.session import own_session

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone gives a project addresses of its own")


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Path]:
    """The directory of a service that runs."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, **own_session()) as process:
        Process.note(process.pid, tmp_path).write()
        yield tmp_path


def test_a_stranger_that_was_there_first_and_left(service: Path) -> None:
    """A server of another project on every address is not taken for the service: what it leaves is published."""
    with socket.create_server(("0.0.0.0", 0)) as stranger:
        port = stranger.getsockname()[1]
        at, target = Endpoint("127.0.0.1", port), Endpoint("127.0.0.9", port)
        relay = publish({at: target}, service, everywhere=True)
        assert relay is not None
        with stranger.accept()[0], stranger.accept()[0]:  # it looks at the service's address, then at its own
            pass
    try:
        with socket.create_server((target.address, port)) as own, _connect(at) as client, own.accept()[0] as served:
            client.sendall(b"hello")
            assert served.recv(5) == b"hello"
    finally:
        relay.kill()
        relay.wait()


def _connect(at: Endpoint) -> socket.socket:
    deadline = time.monotonic() + 30
    while True:
        try:
            return socket.create_connection((at.address, at.port), timeout=30)
        except ConnectionRefusedError:
            assert time.monotonic() < deadline, "the relay does not listen"
            time.sleep(0.05)
