"""What the host image is built from: the package that runs, its metadata, and the files of `docker/host/`.

They come from the repository where the package is installed from there (`pip install -e`), else from the wheel, which
carries them. Both give the same files, and so the same digest: an image that is built once serves both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path

import gigogne
from gigogne.errors import EngineError

__all__ = ["HostSource"]

_METADATA = ("pyproject.toml", "README.md", "LICENSE")
_HOST = "docker/host"
_PACKAGE = "src/gigogne"


class HostSource:
    """The files of the build context by their path in it, as they were when they were read.

    Args:
        package: The folder of the package; `gigogne` itself where none is given.

    Raises:
        EngineError: The files that the wheel carries are not there.
    """

    def __init__(self, package: Path | None = None) -> None:
        package = package or Path(gigogne.__file__).parent
        # A wheel carries here what lies outside the package; it is no part of the package.
        carried = package / "engines/docker/host/source"
        repository = package.parent.parent
        root = repository if (repository / _HOST / "Dockerfile").is_file() else carried
        missing = [name for name in (*_METADATA, f"{_HOST}/Dockerfile") if not (root / name).is_file()]
        if missing:
            raise EngineError(
                f"{root / missing[0]} is missing: the host image is built from it",
                "install gigogne again, from its wheel or with pip install -e",
            )
        paths = {name: root / name for name in _METADATA}
        paths |= {f"{_HOST}/{name}": path for name, path in _below(root / _HOST)}
        paths |= {f"{_PACKAGE}/{name}": path for name, path in _below(package) if carried not in path.parents}
        self.files: Mapping[str, bytes] = {name: paths[name].read_bytes() for name in sorted(paths)}

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the files and their paths: it is another where the image would be another."""
        found = hashlib.sha256()
        for name, content in self.files.items():
            found.update(f"{name}\0{len(content)}\0".encode() + content)
        return found.hexdigest()

    def write_to(self, folder: Path) -> None:
        """Write the build context into a folder."""
        for name, content in self.files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            # A wheel and a Windows disk keep no modes.
            target.chmod(0o755 if content.startswith(b"#!") else 0o644)


def _below(folder: Path) -> Iterator[tuple[str, Path]]:
    """The files of a folder, without what Python and linters leave there."""
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in inside.parts):
            yield inside.as_posix(), path
