"""Where the process engine keeps things, and for how long.

=========  =====================================  ==============================================
what       where                                  how long
=========  =====================================  ==============================================
cache      environments, images, server wheels    may be deleted at any time; made again
data       named volumes, the data of servers     the user's: `gigogne down -v` removes them
runs       status files and logs of runs          `gigogne down` removes them
=========  =====================================  ==============================================

For root they lie under `/var`, because the embedded servers then run as another user, who cannot enter `/root`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import PlatformDirs

if TYPE_CHECKING:
    from gigogne.core.model import Mount, Project

__all__ = ["Paths"]


@dataclass(frozen=True, slots=True)
class Paths:
    """The two directories of the process engine: `cache` and `data`, both absolute."""

    cache: Path
    data: Path

    @classmethod
    def of_user(cls) -> Paths:
        """The directories of the calling user: `GIGOGNE_CACHE_DIR`, `GIGOGNE_DATA_DIR`, else the platform's own."""
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        dirs = PlatformDirs("gigogne", appauthor=False)
        cache, data = dirs.user_cache_path, dirs.user_data_path
        if root:
            cache, data = Path("/var/cache/gigogne"), Path("/var/lib/gigogne")
        return cls(
            cache=Path(os.environ.get("GIGOGNE_CACHE_DIR") or cache).absolute(),
            data=Path(os.environ.get("GIGOGNE_DATA_DIR") or data).absolute(),
        )

    def project(self, name: str) -> Path:
        """Everything the engine keeps of one project that is not cache."""
        return self.data / "projects" / name

    def volume(self, name: str) -> Path:
        """The directory that is a named volume. `name` is its real name (`mlops_landing`)."""
        return self.data / "volumes" / name

    def mounted(self, mount: Mount, project: Project) -> Path:
        """The directory that a mount of a named volume shows: the volume, or a part of it (`subpath`)."""
        return self.volume(project.volumes.get(mount.source, mount.source)) / mount.subpath

    def runs(self, project: str) -> Path:
        """A directory per run, and in it a directory per service with its status file and its logs."""
        return self.project(project) / "runs"
