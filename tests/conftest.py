"""What all tests share: a project made of strings, and the command as a user runs it."""

from __future__ import annotations

import functools
import gc
import importlib.metadata
import importlib.util
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest

from gigogne.engines.docker.connection import connect
from gigogne.engines.process.sandbox import find_bubblewrap
from gigogne.errors import EngineError

REPOSITORY = Path(__file__).parent.parent
OLDEST_ENGINE = 26
OLDEST_AIRFLOW = "3.3"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PROMETHEUS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
DOCKER_IMAGES = ("busybox:1.36", "python:3.12-slim")


def pytest_configure() -> None:
    """Without Docker, unless a test asks for it: what `auto` chooses depends on the machine."""
    os.environ["GIGOGNE_ENGINE"] = "process"


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` one worker has the files that share a running Airflow: it boots one."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFile(LoadFileScheduling):  # type: ignore[misc]
        """By file, as ever, but for those."""

        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "a running Airflow" if file.startswith("tests/airflow/test_scenarios") else file

    return ByFile(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip by name what this machine cannot run; with CI=true a missing runtime fails instead."""
    if item.get_closest_marker("full") and os.environ.get("CI_LEVEL") != "full":
        pytest.skip("it takes long: CI_LEVEL=full runs it")
    if item.get_closest_marker("airflow"):
        _require("Airflow", missing_airflow(), waived="GIGOGNE_TEST_NO_AIRFLOW")
    if item.get_closest_marker("browser"):
        _require("browser", _missing_browser(), waived="GIGOGNE_TEST_NO_BROWSER")
    if item.get_closest_marker("prometheus"):
        _require("Prometheus", _missing_prometheus(), waived="GIGOGNE_TEST_NO_PROMETHEUS")
    if item.get_closest_marker("sandbox"):
        _require("sandbox", _missing_sandbox(), waived="GIGOGNE_TEST_NO_USERNS")
    if item.get_closest_marker("docker"):
        _require("Docker", _missing_docker(), waived="GIGOGNE_TEST_NO_DOCKER")


def _require(runtime: str, missing: str, *, waived: str) -> None:
    """Skip what lacks its runtime. CI runs the suite once more without some of them, and says so by a variable."""
    if missing and os.environ.get("CI") == "true" and not os.environ.get(waived):
        pytest.fail(f"CI must have {runtime}: {missing}", pytrace=False)
    if missing:
        pytest.skip(f"no {runtime}: {missing}")


@functools.cache
def _missing_sandbox() -> str:
    return find_bubblewrap()[1]


@functools.cache
def missing_airflow() -> str:
    """Why the tests marked `airflow` cannot run here; empty where they can."""
    if os.environ.get("GIGOGNE_TEST_NO_AIRFLOW"):
        return "GIGOGNE_TEST_NO_AIRFLOW is set"
    if sys.platform == "win32":
        return "Airflow does not run on Windows"
    if importlib.util.find_spec("airflow") is None:
        return "pip install -e '.[airflow,test]'"
    found = importlib.metadata.version("apache-airflow-core")
    oldest = tuple(map(int, OLDEST_AIRFLOW.split(".")))
    if tuple(map(int, found.split(".")[:2])) < oldest:
        return f"Airflow is {found}, and the tests need {OLDEST_AIRFLOW}"
    return ""


@functools.cache
def _missing_browser() -> str:
    if os.environ.get("GIGOGNE_TEST_NO_BROWSER"):
        return "GIGOGNE_TEST_NO_BROWSER is set"
    if not all(map(importlib.util.find_spec, ("playwright", "axe_playwright_python"))):
        return "pip install -e '.[browser,test]'"
    return "" if Path(CHROMIUM).exists() else f"there is no {CHROMIUM}: apt-get install chromium, or set CHROMIUM"


@functools.cache
def _missing_prometheus() -> str:
    if os.environ.get("GIGOGNE_TEST_NO_PROMETHEUS"):
        return "GIGOGNE_TEST_NO_PROMETHEUS is set"
    lacking = [name for name in PROMETHEUS if shutil.which(name) is None]
    return f"no {lacking[0]} on PATH: Debian's prometheus and prometheus-alertmanager have it" if lacking else ""


@functools.cache
def _missing_docker() -> str:
    """Why the tests marked `docker` cannot run here; empty where they can."""
    if os.environ.get("GIGOGNE_TEST_NO_DOCKER"):
        return "GIGOGNE_TEST_NO_DOCKER is set"
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # the SDK leaves a socket that could not connect to the collector
        try:
            with closing(connect(timeout=20)) as client:
                missing = _missing_in(client)
        except EngineError as error:
            missing = error.message
        gc.collect()
    return missing


def _missing_in(engine: docker.DockerClient) -> str:
    version = str(engine.version()["Version"])
    if int(version.split(".", maxsplit=1)[0]) < OLDEST_ENGINE:
        return f"the engine is {version}, and the tests need {OLDEST_ENGINE}"
    there = {tag for image in engine.api.images() for tag in image["RepoTags"] or ()}
    lacking = [f"there is no image {each}: python tests/images/build.py" for each in DOCKER_IMAGES if each not in there]
    return lacking[0] if lacking else ""


@pytest.fixture(scope="session")
def docker_engine() -> Iterator[docker.DockerClient]:
    """The engine of this machine, for tests marked `docker`."""
    with closing(connect()) as client:
        yield client


@dataclass
class Workspace:
    """A folder with a project, and data directories of its own; a command in it may take `patience` seconds."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)
    patience: float = 120

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, their text dedented."""
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text), encoding="utf-8")

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start the command `gigogne` in the folder."""
        return subprocess.Popen(
            [sys.executable, "-m", "gigogne", *arguments],
            cwd=self.folder,
            env={**os.environ, **self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command `gigogne` in the folder to its end."""
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=self.patience)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def volume(self, name: str) -> Path:
        """The directory of a named volume, by its real name."""
        return Path(self.environment["GIGOGNE_DATA_DIR"]) / "volumes" / name


def free_port() -> int:
    """A port that nobody listens on, at any address of this machine."""
    return next(free_ports())


def free_ports() -> Iterator[int]:
    """Ports that nobody listens on, none of them twice.

    Not those that systems give away by themselves (32768 and up on Linux, 49152 and up elsewhere): between being found
    and being listened on they would go to whoever opens a connection.
    """
    # Not what a test may have seeded: two workers would get the same.
    for port in random.SystemRandom().sample(range(20000, 32768), k=100):
        with socket.socket() as tried:
            try:
                tried.bind(("", port))
            except OSError:
                continue
        yield port


@contextmanager
def healthy(up: subprocess.Popen[str], *names: str) -> Iterator[dict[str, str]]:
    """The addresses of servers that `gigogne up --json` starts, once each of these is healthy; Ctrl-C in the end.

    Raises:
        AssertionError: It ended before; what it said.
    """
    assert up.stdout is not None
    said: list[str] = []
    addresses: dict[str, str] = {}
    there: set[str] = set()
    try:
        while not there >= set(names):
            said.append(up.stdout.readline())
            assert said[-1], "".join(said[-20:]) + (up.stderr.read() if up.stderr else "")
            event = json.loads(said[-1])
            if event["event"] == "started":
                addresses[event["service"]] = event["address"]
            if event["event"] == "healthy":
                there.add(event["service"])  # a busy server may be healthy, unhealthy, and healthy again
        yield addresses
    finally:
        up.send_signal(signal.SIGINT)
        # Shown where the test fails: whether a server ended, and came back.
        print("".join(line for line in up.communicate(timeout=60)[0].splitlines(True) if '"output"' not in line))


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    """An empty folder for a project; what it started is stopped in the end."""
    folder = tmp_path / "project"
    folder.mkdir()
    # Not under pytest's own folder, which is closed to others: PostgreSQL, which refuses root, runs as nobody.
    with tempfile.TemporaryDirectory(prefix="gigogne-test-", ignore_cleanup_errors=True) as data:
        Path(data).chmod(0o755)
        made = Workspace(folder, {"GIGOGNE_DATA_DIR": data})
        yield made
        if any(folder.glob("*compose*.y*ml")):
            made.run("down", "-v")


@pytest.fixture(params=os.environ.get("GIGOGNE_TEST_WAYS", "sandbox portable").split())
def way(request: pytest.FixtureRequest, workspace: Workspace) -> str:
    """Both ways of the process engine, one test after the other."""
    if request.param == "sandbox" and find_bubblewrap()[0] is None:
        if os.environ.get("CI") == "true" and not os.environ.get("GIGOGNE_TEST_NO_USERNS"):
            pytest.fail("CI must have a sandbox")
        pytest.skip("no sandbox: user namespaces are not permitted here")
    workspace.environment["GIGOGNE_PROCESS"] = request.param
    return str(request.param)


PYTHON_SERVICE = """\
FROM python:3.12-slim
WORKDIR /app
COPY . .
"""


@pytest.fixture
def python_project(workspace: Workspace) -> Callable[[str, Mapping[str, str]], Workspace]:
    """Makes a project of one Dockerfile that holds the given modules."""

    def make(compose: str, modules: Mapping[str, str]) -> Workspace:
        workspace.write({"Dockerfile": PYTHON_SERVICE, "docker-compose.yml": compose, **modules})
        return workspace

    return make
