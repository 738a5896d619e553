"""An engine in each of its ways, and a project made of strings."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gigogne.compose import LoadOptions, load_project
from gigogne.core.engine import Handle, Line, Run
from gigogne.core.model import Project
from gigogne.engines.process.engine import ProcessEngine
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.sandbox import Bubblewrap, find_bubblewrap

DOCKERFILE = "FROM python:3.12-slim\nWORKDIR /app\nCOPY . .\n"


@dataclass
class Bench:
    """An engine and a folder for a project."""

    engine: ProcessEngine
    folder: Path
    runs: int = 0

    def load(self, compose: str, files: Mapping[str, str] | None = None) -> Project:
        """The project of a Compose file, beside a Dockerfile that copies everything."""
        for name, text in {"Dockerfile": DOCKERFILE, "docker-compose.yml": compose, **(files or {})}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return load_project(LoadOptions(files=(str(self.folder / "docker-compose.yml"),), project_name="bench"))

    def start(self, project: Project, service: str = "a") -> Handle:
        """Prepare and start one service."""
        self.runs += 1
        run = Run(f"run-{self.runs}", project, tuple(project.services))
        self.engine.prepare(project.services[service], run)
        return self.engine.start(project.services[service], run)

    def lines(self, handle: Handle) -> list[Line]:
        """All that a service wrote, once it has ended."""
        said = list(self.engine.logs(handle, follow=True))
        self.engine.wait(handle, timeout=30)
        return said

    def python(self, code: str, compose: str = "", files: Mapping[str, str] | None = None) -> str:
        """What `python -c code` prints as service `a`, to which lines of Compose may be added; it must succeed."""
        text = f"services:\n  a:\n    build: .\n    command: {json.dumps(['python', '-c', code])}\n{compose}"
        handle = self.start(self.load(text, files))
        said = "\n".join(line.text for line in self.lines(handle))
        assert self.engine.wait(handle, timeout=30).code == 0, said
        return said


@pytest.fixture(params=["sandbox", "copying", "portable"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """All ways: the sandbox with overlays, the sandbox where the kernel lays none, and the portable one."""
    with _made(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=["sandbox", "portable"])
def both(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """Both ways, where it makes no difference whether the kernel lays overlays."""
    with _made(request.param, tmp_path) as made:
        yield made


@contextlib.contextmanager
def _made(way: str, tmp_path: Path) -> Iterator[Bench]:
    bubblewrap = None if way == "portable" else find_bubblewrap()[0]
    if bubblewrap is None and way != "portable":
        if os.environ.get("CI") == "true" and not os.environ.get("GIGOGNE_TEST_NO_USERNS"):
            pytest.fail("CI must have a sandbox")
        pytest.skip("no sandbox: user namespaces are not permitted here")
    if way == "copying" and bubblewrap is not None:
        bubblewrap = Bubblewrap(bubblewrap.path, overlay=False)
    folder = tmp_path / "project"
    folder.mkdir()
    with tempfile.TemporaryDirectory(prefix="gigogne-test-") as data:
        paths = Paths(cache=Paths.of_user().cache, data=Path(data))
        made = Bench(ProcessEngine(paths, bubblewrap, lambda _service, _text: None), folder)
        yield made
        for handle in made.engine.find(Project("bench", folder, (), {})):
            made.engine.stop(handle, grace=0)


@pytest.fixture
def sandbox(bench: Bench) -> Bench:
    """Only what a sandbox can do."""
    if bench.engine.bubblewrap is None:
        pytest.skip("the portable way cannot")
    return bench
