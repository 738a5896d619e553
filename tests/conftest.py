"""What all tests share: a project made of strings, and the command as a user runs it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from gigogne.engines.process.sandbox import find_bubblewrap

REPOSITORY = Path(__file__).parent.parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip by name what this machine cannot run; with CI=true a missing runtime fails instead."""
    bubblewrap, reason = find_bubblewrap()
    for item in items:
        if item.get_closest_marker("sandbox") and bubblewrap is None:
            # CI runs the suite once more with user namespaces denied, and says so.
            if os.environ.get("CI") == "true" and not os.environ.get("GIGOGNE_TEST_NO_USERNS"):
                item.add_marker(pytest.mark.xfail(reason=f"CI must have a sandbox: {reason}", run=False, strict=True))
            else:
                item.add_marker(pytest.mark.skip(reason=f"no sandbox: {reason}"))


@dataclass
class Workspace:
    """A folder with a project, and data directories of its own."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

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
                out, err = process.communicate(timeout=120)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def volume(self, name: str) -> Path:
        """The directory of a named volume, by its real name."""
        return Path(self.environment["GIGOGNE_DATA_DIR"]) / "volumes" / name


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


@pytest.fixture(params=["sandbox", "portable"])
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
