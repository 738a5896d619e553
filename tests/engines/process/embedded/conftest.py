"""A small driver: it starts what an embedded server describes, as the engine does, and sees that it ends."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from tests.conftest import free_port

from gigogne.core.model import Service
from gigogne.engines.process.addresses import Endpoint
from gigogne.engines.process.command import Command
from gigogne.engines.process.embedded import EmbeddedServer, embedded_server
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.sandbox import find_bubblewrap

WAYS = ("sandbox", "portable")
# A network of this test run's own: other runs on this machine have servers on the usual addresses.
NETWORK = f"127.{100 + os.getpid() % 100}.{os.getpid() // 100 % 250}"
HERE, THERE = f"{NETWORK}.2", f"{NETWORK}.3"


def find_bwrap() -> Path | None:
    """A bubblewrap that works on this machine."""
    found, _ = find_bubblewrap()
    return found.path if found else None


@pytest.fixture(params=WAYS, scope="module")
def bwrap(request: pytest.FixtureRequest) -> Path | None:
    """Each test runs in both ways: with bubblewrap, and as if user namespaces were denied."""
    if request.param == "portable":
        return None
    path = find_bwrap()
    if path is None:
        if os.environ.get("CI") == "true" and not os.environ.get("GIGOGNE_TEST_NO_USERNS"):
            pytest.fail("user namespaces are needed in CI")
        pytest.skip("user namespaces are denied here")
    return path


@pytest.fixture(scope="session")
def paths() -> Iterator[Paths]:
    """Directories that `nobody` can enter, unlike pytest's own. The cache is kept where the caller names one."""
    base = Path(tempfile.mkdtemp(prefix="gigogne-embedded-"))
    base.chmod(0o755)
    cache = os.environ.get("GIGOGNE_CACHE_DIR")
    found = Paths(cache=Path(cache).absolute() if cache else base / "cache", data=base / "data")
    for image in ("postgres", "minio/minio", "mongo"):
        server = embedded_server(image)
        assert server
        server.prepare(found, print)
    yield found
    shutil.rmtree(base, ignore_errors=True)


def make_home(paths: Paths) -> Path:
    """A new directory for volumes and runs, which `nobody` can enter."""
    directory = Path(tempfile.mkdtemp(dir=paths.data.parent))
    directory.chmod(0o755)
    return directory


@pytest.fixture
def home(paths: Paths) -> Path:
    """The directory of one test."""
    return make_home(paths)


@dataclass
class Running:
    """A started server."""

    service: Service
    at: Endpoint
    command: Command
    process: subprocess.Popen[bytes]
    inner: int
    log: Path

    @property
    def address(self) -> str:
        """The loopback address on which it listens."""
        return self.at.address

    @property
    def tree(self) -> list[psutil.Process]:
        """All of its processes."""
        try:
            top = psutil.Process(self.process.pid)
            return [top, *top.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def listening(self) -> set[tuple[str, int]]:
        """Every address and port on which it listens, in the network that this test sees."""
        found: set[tuple[str, int]] = set()
        for process in self.tree:
            with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError):  # a backend that just ended
                if not Path(f"/proc/{process.pid}/ns/net").samefile("/proc/self/ns/net"):
                    continue
                for item in process.net_connections("inet"):
                    if item.status == psutil.CONN_LISTEN:
                        found.add((item.laddr.ip, item.laddr.port))
        return found

    def sockets(self) -> list[Path]:
        """The sockets of its ports in /tmp."""
        ports = [word.partition("=")[2] for word in self.command.argv if ".port=" in word]
        return [path for port in ports for path in Path("/tmp").glob(f"seaweedfs-*-{int(port) + 10000}.sock")]

    def stop(self) -> int:
        """Ask it to end, as the engine does, and return its exit code."""
        if self.process.poll() is None:
            os.kill(self.inner, self.command.stop_signal)
        return self.process.wait(20)

    def kill(self) -> None:
        """Kill -9 of its first process: the server itself where it is alone, else what stands before it."""
        os.kill(self.inner, signal.SIGKILL)
        self.process.wait(20)

    def text(self) -> str:
        """All that it wrote."""
        return self.log.read_text(errors="replace")


@dataclass
class Driver:
    """Starts embedded servers and ends them all."""

    paths: Paths
    home: Path
    bwrap: Path | None
    running: list[Running] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def at(self, service: Service, where: str | Endpoint) -> Endpoint:
        """Where it listens: an address with the service's own port, unless another one is named."""
        return where if isinstance(where, Endpoint) else Endpoint(where, self.server(service).port(service))

    def describe(self, service: Service, where: str | Endpoint = HERE, volume: str = "volume") -> Command:
        """The command of a server, with its data initialised."""
        server = self.server(service)
        assert not [found for found in server.check(service) if found.fatal]
        runtime = Path(tempfile.mkdtemp(prefix="run-", dir=self.home))
        at = self.at(service, where)
        return server.command(service, at, self.home / volume, runtime, self.paths, self.bwrap, self.said.append)

    def start(
        self, service: Service, where: str | Endpoint = HERE, volume: str = "volume", *, wait: bool = True
    ) -> Running:
        """Start a server and wait until it is ready."""
        started = self.launch(self.describe(service, where, volume), service, where)
        if wait:
            self.wait(started)
        return started

    def launch(self, command: Command, service: Service, where: str | Endpoint = HERE) -> Running:
        """Start a command as the engine does: detached, with its log in a file."""
        log = Path(tempfile.mkstemp(prefix="log-", dir=self.home)[1])
        reader, writer = os.pipe()
        argv = list(command.argv)
        if command.sandboxed:
            argv[1:1] = ["--info-fd", str(writer)]
        who = {"user": command.user, "group": command.user, "extra_groups": []} if command.user else {}
        with log.open("wb") as stream:
            process = subprocess.Popen(
                argv,
                env=dict(command.environment),
                cwd=command.directory,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                pass_fds=(writer,) if command.sandboxed else (),
                start_new_session=True,
                **who,  # type: ignore[call-overload]
            )
        os.close(writer)
        with os.fdopen(reader) as information:
            text = information.read() if command.sandboxed else ""
        inner = json.loads(text)["child-pid"] if text else process.pid
        started = Running(service, self.at(service, where), command, process, inner, log)
        self.running.append(started)
        return started

    def wait(self, started: Running, timeout: float = 20.0) -> None:
        """Wait until it is ready."""
        end = time.monotonic() + timeout
        while not self.server(started.service).ready(started.service, started.at):
            assert started.process.poll() is None, started.text()
            assert time.monotonic() < end, started.text()
            time.sleep(0.02)

    def end(self) -> None:
        """Kill what still runs."""
        for started in self.running:
            tree = started.tree
            for process in tree:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            started.process.wait(20)
            still_running(tree)
            for path in started.sockets():
                path.unlink()

    @staticmethod
    def server(service: Service) -> EmbeddedServer:
        """The embedded server of a service."""
        server = embedded_server(service.image)
        assert server
        return server


def odd_endpoint() -> Endpoint:
    """A free port of the one loopback address that macOS has; not one that the system gives away by itself."""
    return Endpoint("127.0.0.1", free_port())


@pytest.fixture
def driver(paths: Paths, home: Path, bwrap: Path | None) -> Iterator[Driver]:
    """A driver in one of the two ways. Whatever a test leaves running is killed."""
    made = Driver(paths, home, bwrap)
    yield made
    made.end()


@pytest.fixture(scope="module")
def shared(paths: Paths, bwrap: Path | None) -> Iterator[Driver]:
    """A driver for the servers that the tests of a module share, one after the other."""
    made = Driver(paths, make_home(paths), bwrap)
    yield made
    made.end()


def still_running(tree: list[psutil.Process], timeout: float = 10.0) -> list[psutil.Process]:
    """What of these processes does not end in time. Those that only wait for init to take notice have ended."""
    end = time.monotonic() + timeout
    while left := [process for process in tree if _runs(process)]:
        if time.monotonic() > end:
            return left
        time.sleep(0.02)
    return []


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def places_of(secret: str, started: Running, directory: Path) -> list[str]:
    """Where a secret shows: command lines of a running server, and every file under a directory, logs included."""
    found = []
    for process in started.tree:
        with contextlib.suppress(psutil.NoSuchProcess):  # a backend that just ended
            found += [f"argv of {process.name()}"] if secret in " ".join(process.cmdline()) else []
    files = (path for path in directory.rglob("*") if path.is_file())
    return found + [str(path) for path in files if secret.encode() in path.read_bytes()]


def become_nobody(directory: Path) -> None:
    """Give the directory to `nobody`, and be nobody from now on: for the child of a fork."""
    os.chown(directory, 65534, 65534)
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
    os.chdir("/")
