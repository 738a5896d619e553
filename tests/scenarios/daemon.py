"""A Docker daemon of a test's own, to be killed, filled or closed: the engine of the machine is left alone."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
import psutil
import pytest

__all__ = ["Daemon", "own_daemon"]

_PATIENCE = 30.0
# Of the oldest engine that the tests take. To ask for the version would be a request, which fails while none answers.
_API = "1.45"


def _missing() -> str:
    """Why this machine cannot start another daemon; empty where it can."""
    if not sys.platform.startswith("linux"):
        return "another daemon needs Linux"
    if os.geteuid() != 0:
        return "another daemon needs root"
    tools = [tool for tool in ("dockerd", "unshare", "nsenter") if not shutil.which(tool)]
    return f"there is no {tools[0]}" if tools else ""


@dataclass
class Daemon:
    """A daemon in namespaces of its own: a second one in a network would take the bridge of the first.

    Attributes:
        folder: Where its files and its socket are.
        init: The first process of the namespaces: what runs in them ends with it.
    """

    folder: Path
    init: int
    _process: subprocess.Popen[bytes] = field(init=False)

    @property
    def host(self) -> str:
        """Its address, for DOCKER_HOST."""
        return f"unix://{self.folder}/docker.sock"

    def client(self) -> docker.DockerClient:
        """A client of it, which has not asked it yet."""
        return docker.DockerClient(self.host, version=_API, timeout=60)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        words = ["--data-root", str(self.folder / "data"), "--exec-root", str(self.folder / "exec")]
        words += ["--pidfile", str(self.folder / "pid"), "--host", self.host, "--iptables=false", "--ip6tables=false"]
        words += [f"--cgroup-parent=/{self.folder.name}"]
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_entering(self.init), "dockerd", *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
            time.sleep(0.05)

    def load(self, *images: str) -> None:
        """Copy images of the machine's own engine."""
        with closing(docker.from_env()) as source, closing(self.client()) as target:
            for image in images:
                target.images.load(b"".join(source.images.get(image).save(named=True)))

    def kill(self) -> None:
        """Kill it with -9. The containers live on, as those of a daemon do that crashed."""
        if self._process.poll() is None:
            (daemon,) = psutil.Process(self._process.pid).children()
            daemon.kill()
        self._process.wait()

    def _answers(self) -> bool:
        # Not by the SDK: it leaves a socket open that nobody took.
        with socket.socket(socket.AF_UNIX) as tried:
            if tried.connect_ex(str(self.folder / "docker.sock")):
                return False
        with closing(self.client()) as client:
            return bool(client.ping())


@contextmanager
def own_daemon(images: Sequence[str], *, disk: str = "") -> Iterator[Daemon]:
    """A daemon that has these images, on a disk of its own of that size (`64m`) where one is given.

    Skips the test where this machine cannot have one; with CI=true that is a failure.
    """
    if missing := _missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must be able to start another daemon: {missing}", pytrace=False)
        pytest.skip(missing)
    # Not under pytest's folder: the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory(prefix="gigogne-daemon-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "data").mkdir()
        with _swept_cgroups(folder.name), _namespaces() as init:
            if disk:
                mount = ["mount", "-t", "tmpfs", "-o", f"size={disk}", "small", str(folder / "data")]
                subprocess.run([*_entering(init), *mount], check=True)
            made = Daemon(folder, init)
            made.start()
            try:
                made.load(*images)
                yield made
            finally:
                made.kill()


@contextmanager
def _namespaces() -> Iterator[int]:
    """New namespaces of mounts, network and processes: the process id of their init, which reaps as one must."""
    init = "sleep infinity & wait"
    unshare = subprocess.Popen(
        ["unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", init],
        stdin=subprocess.DEVNULL,
    )
    found: list[psutil.Process] = []
    try:
        deadline = time.monotonic() + _PATIENCE
        while not (found := [child for child in psutil.Process(unshare.pid).children() if child.children()]):
            assert unshare.poll() is None and time.monotonic() < deadline, "no namespaces"
            time.sleep(0.02)
        yield found[0].pid
    finally:
        unshare.kill()
        unshare.wait()
        for process in found:  # it ends after all others there: nothing writes any more, no control group is in use
            process.wait(_PATIENCE)


@contextmanager
def _swept_cgroups(name: str) -> Iterator[None]:
    """The control groups of containers outlive a daemon that is killed: they are no part of a namespace."""
    yield
    for group in (*Path("/sys/fs/cgroup").glob(f"*/{name}"), Path("/sys/fs/cgroup", name)):
        for inner, _, _ in os.walk(group, topdown=False):
            with suppress(OSError):  # it was removed meanwhile
                Path(inner).rmdir()


def _entering(init: int) -> list[str]:
    return ["nsenter", "--target", str(init), "--mount", "--net", "--pid"]
