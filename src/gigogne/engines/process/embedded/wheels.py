"""Server wheels: installed by uv into directories of their own, on first use.

A wheel is unpacked with `uv pip install --target`, so that the directory holds no path, can be renamed whole and
needs no interpreter to stay where it was. A warm look-up starts no process.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from gigogne.engines.process.paths import Paths
from gigogne.errors import EngineError

__all__ = ["ServerWheel", "executable", "uv_environment"]

# What points uv to another environment than the one it is told to make.
_MISLEADING = ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME", "CONDA_PREFIX", "UV_PYTHON")
# uv does not read pip's variables; those that say where packages are must keep working.
_FROM_PIP = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_NO_INDEX": "UV_NO_INDEX",
    "PIP_CERT": "SSL_CERT_FILE",
}


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
            directory.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{directory}.lock"):
                found = self.find(paths)
                if found is not None:
                    return found
                progress(f"installing {title} (once)")
                self._make(directory)
        except OSError as error:
            raise EngineError(
                f"cannot write {error.filename or directory}: {error.strerror}",
                "make the directory writable, free some space, or name another one in GIGOGNE_CACHE_DIR",
            ) from error
        return directory

    def _make(self, directory: Path) -> None:
        scratch = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
        try:
            target = scratch / "new"
            self._run_uv(target)
            if not executable(target / self.program).exists():
                raise EngineError(f"the wheel {self.name}{self.versions} holds no {self.program}", "report it to us")
            target.chmod(0o755)  # embedded servers run as another user when the caller is root
            shutil.rmtree(directory, ignore_errors=True)  # half deleted by hand: `find` did not accept it
            target.rename(directory)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _run_uv(self, target: Path) -> None:
        import uv

        requirement = f"{self.name}{self.versions}"
        done = subprocess.run(
            [
                uv.find_uv_bin(), "pip", "install", "--no-progress", "--no-deps", "--only-binary", ":all:",
                "--python", sys.executable, "--target", str(target), requirement,
            ],
            env=uv_environment(os.environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
        )  # fmt: skip
        if done.returncode:
            last = "\n".join(line for line in done.stderr.splitlines()[-6:] if line.strip())
            raise EngineError(
                f"cannot install {requirement}:\n{last}",
                "check that the package index can be reached; the settings of uv and pip (UV_DEFAULT_INDEX, "
                "PIP_INDEX_URL, proxies, certificates) are used. It is needed once",
            )


def executable(path: Path) -> Path:
    """The file of a program on this platform."""
    return path.with_suffix(".exe") if os.name == "nt" else path


def uv_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment as uv must see it: with the caller's package index, and no other target."""
    clean = {name: value for name, value in environment.items() if name not in _MISLEADING}
    for pip, uv in _FROM_PIP.items():
        if clean.get(pip):
            clean.setdefault(uv, clean[pip])
    return clean
