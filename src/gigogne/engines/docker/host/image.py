"""The host image: built when it is missing, or when what it is made of has changed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from gigogne.core.model import Project
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.engines.docker.host.container import Daemon
from gigogne.engines.docker.host.source import HostSource
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["HostImage"]

_SOURCE = "gigogne.source"


@dataclass(frozen=True)
class HostImage:
    """The image of host containers that use this daemon, outside of them or inside."""

    daemon: Daemon

    @property
    def tag(self) -> str:
        """Its name."""
        return "python-dind:3.12-slim" + ("-inside" if self.daemon == "inside" else "")

    @cached_property
    def source(self) -> HostSource:
        """What it is built from."""
        return HostSource()

    def is_current(self, client: DockerClient) -> bool:
        """Whether the daemon has it, built from the source as it is now."""
        from docker.errors import ImageNotFound

        try:
            found = client.images.get(self.tag)
        except ImageNotFound:
            return False
        return bool(found.labels.get(_SOURCE) == self.source.digest)

    def build(self, compose: Path, tell: Callable[[str], None]) -> None:
        """Build it by the Compose binary, and `tell` each line that the builder says.

        Raises:
            EngineError: The builder fails; its last words.
        """
        with tempfile.TemporaryDirectory(prefix="gigogne-host-") as folder:
            self.source.write_to(Path(folder))
            build = {
                "context": folder,
                "dockerfile": "docker/host/Dockerfile",
                "target": self.daemon,
                "labels": {_SOURCE: self.source.digest},
            }
            model = {"name": "gigogne-host", "services": {"host": {"image": self.tag, "build": build}}}
            project = Project("gigogne-host", Path(folder), (), {})
            done = Compose(compose, project, model).follow("build", "host", tell=tell)
        if done.returncode:
            raise EngineError(
                f"the host image {self.tag} cannot be built: {last_words(done.stdout)}",
                "see all that the builder says: gigogne nest --build",
            )
