"""Files that the daemon cannot see, brought to it: copied into volumes through its archive API."""

from __future__ import annotations

import contextlib
import os
import tarfile
import threading
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING

from gigogne.core.nesting import Nesting, Staged
from gigogne.engines.docker.empty import create_empty
from gigogne.engines.docker.owner import Owner

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["StagedVolumes", "remove_copies"]

_PROJECT, _STAGED, _OWNER = "gigogne.project", "gigogne.staged", "gigogne.owner"
_TARGET = "/staged"


class StagedVolumes:
    """The volumes of a project that hold copies of files of this place."""

    def __init__(self, client: DockerClient, project: str, nesting: Nesting, owner: Owner) -> None:
        self._client = client
        self._project = project
        self._owner = owner
        self._labels = {_PROJECT: project, _STAGED: "", _OWNER: str(owner)}
        self._staged = nesting.staged
        self._brought: set[str] = set()
        self._lock = threading.Lock()

    def bring(self, service: str) -> None:
        """Copy what a service reads, once. Contents pass through memory, in pieces: a secret leaves no file behind."""
        with self._lock:
            for staged in self._staged:
                if staged.service == service and staged.volume not in self._brought:
                    self._copy(staged)
                    self._brought.add(staged.volume)

    def remove(self) -> None:
        """Remove what this owner and dead ones have brought, but what a server uses that stays up."""
        remove_copies(self._client, self._project, self._owner)

    def _copy(self, staged: Staged) -> None:
        api = self._client.api
        api.create_volume(staged.volume, labels=self._labels)
        # Never started: the daemon reads archives into the volumes of a container that was only made, too.
        made = create_empty(
            self._client,
            labels=self._labels,
            host_config=api.create_host_config(binds=[f"{staged.volume}:{_TARGET}"]),
        )
        try:
            with _archive(staged) as archive:
                api.put_archive(made, _TARGET, archive)
        finally:
            api.remove_container(made, force=True)


def remove_copies(client: DockerClient, project: str, owner: Owner) -> None:
    """Remove what this owner and dead ones have brought, but what a container has that is still there."""
    from docker.errors import APIError

    def over(labels: Mapping[str, str]) -> bool:
        found = Owner.read(labels.get(_OWNER, ""))
        return found is None or found == owner or not found.lives(client)

    filters = {"label": [f"{_PROJECT}={project}", _STAGED]}
    for left in client.api.containers(all=True, filters=filters):
        if over(left["Labels"]):  # killed in the middle of a copy
            with contextlib.suppress(APIError):
                client.api.remove_container(left["Id"], force=True)
    for volume in client.api.volumes(filters=filters)["Volumes"] or ():
        if over(volume["Labels"]):
            with contextlib.suppress(APIError):
                client.api.remove_volume(volume["Name"])


@contextlib.contextmanager
def _archive(staged: Staged) -> Iterator[IO[bytes]]:
    """A tar archive of a directory's contents, or of one file under a name, as it is being made."""
    reading, writing = os.pipe()
    failed: list[OSError] = []

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        below = member.name.removeprefix("./")
        return None if any(below.startswith(f"{other}/") for other in staged.without) else member

    def write() -> None:
        try:
            with os.fdopen(writing, "wb") as pipe, tarfile.open(fileobj=pipe, mode="w|") as archive:
                archive.add(staged.source, staged.name or ".", filter=wanted)
        except BrokenPipeError:  # the daemon refused the archive, and says why
            pass
        except OSError as error:
            failed.append(error)

    writer = threading.Thread(target=write, name="archive", daemon=True)
    with os.fdopen(reading, "rb") as pipe:
        writer.start()
        yield pipe
    writer.join()
    if failed:
        raise failed[0]
