"""A module with a Dockerfile: made into an image, or only read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.engines.process.image.recipes import Read

from gigogne.core.model import Build, Mount, Problem, Project, Service
from gigogne.engines.process.image import Image, check_image, executables, prepare_image
from gigogne.engines.process.image.dockerfile import read_recipe
from gigogne.engines.process.image.recipe import Recipe
from gigogne.engines.process.paths import Paths

FROM = f"FROM python:3.{sys.version_info[1]}-slim\n"
"""The first line of a Dockerfile for the Python that runs the tests."""


@dataclass
class Module:
    """A module with a Dockerfile, in a directory whose name is not plain ASCII."""

    folder: Path
    paths: Paths
    mounts: tuple[Mount, ...] = ()
    image: str = ""

    def write(self, dockerfile: str, files: Mapping[str, str] | None = None) -> None:
        """Write the Dockerfile and the files of the build context."""
        for name, text in {"Dockerfile": dockerfile, **(files or {})}.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def parts(self) -> tuple[Service, Project]:
        """The service and its project."""
        build = None if self.image else Build(self.folder, self.folder / "Dockerfile")
        service = Service("job", image=self.image, build=build, mounts=self.mounts)
        return service, Project("demo", self.folder, (), {"job": service}, {"data": "demo_data"})

    def prepare(self, progress: Callable[[str], None] = lambda line: None) -> Image:
        """The image."""
        return prepare_image(*self.parts(), self.paths, progress)

    def check(self, *, sandboxed: bool = True) -> list[Problem]:
        """The problems."""
        return check_image(*self.parts(), self.paths, sandboxed=sandboxed)

    def files(self) -> dict[str, str]:
        """The files of the image, with their content."""
        root = self.prepare().root
        return {
            path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*")) if path.is_file()
        }

    def python(self, code: str, environment: str = "/usr/local", **variables: str) -> str:
        """What a Python of the image prints."""
        program = executables(self.prepare().environments[environment]) / "python"
        done = subprocess.run([program, "-c", code], capture_output=True, text=True, check=True, env=variables)
        return done.stdout.strip()


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that the tests share, for speed: none depends on what is in it."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def module(tmp_path: Path, cache: Path) -> Module:
    """An empty module."""
    return Module(tmp_path / "projet à moi", Paths(cache, tmp_path / "data"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Writes a Dockerfile and reads it."""

    def reader(text: str | bytes, *, target: str | None = None, **arguments: str) -> Recipe:
        file = tmp_path / "docker" / "x" / "Dockerfile"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        service = Service("x", build=Build(tmp_path, file, args=arguments, target=target))
        return read_recipe(service, Project("demo", tmp_path, (), {"x": service}))

    return reader
