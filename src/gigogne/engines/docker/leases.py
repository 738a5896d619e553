"""Runs that share servers: who needs which, told by the daemon itself, since runs may be on a host and in containers.

A run holds a *lease* while it lives: an empty volume, whose labels say which services the run needs. A *mark*, another
one, says of a server's container that a run has started it: what has no mark is the user's, and stays. A volume is
quickly made, and `docker system prune` lets it be. A *lock* is a container that is created and never started: the
daemon gives its name once, and its id never again, so that who breaks a dead run's lock breaks no other. The next run
reaps what a killed one leaves.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gigogne.engines.docker.empty import create_empty
from gigogne.engines.docker.owner import Owner

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Lease", "Leases"]

_PROJECT, _OWNER = "gigogne.project", "gigogne.owner"
_RUN, _NEEDS = "gigogne.lease", "gigogne.needs"
_SERVER, _STARTED = "gigogne.server", "gigogne.started"
_LOCK = "gigogne.lock"
# Who waits for a lock looks again so often, and after a while says for whom it waits; in seconds.
_BREATH, _LONG = 0.1, 5.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What one run of a project needs; `volume` is the lease itself."""

    run: str
    needs: frozenset[str]
    owner: Owner | None
    volume: str


class Leases:
    """The leases, marks and locks of one project; `tell` hears for whom somebody waits."""

    def __init__(self, client: DockerClient, project: str, owner: Owner, tell: Callable[[str], None]) -> None:
        self._client = client
        self._project = project
        self._owner = owner
        self._tell = tell
        self._labels = {_PROJECT: project, _OWNER: str(owner)}

    def take(self, run: str, needs: Sequence[str]) -> frozenset[str]:
        """Write down what a run needs, and return what the other runs need."""
        labels = {_RUN: run, _NEEDS: json.dumps(sorted(needs))}
        self._client.api.create_volume(f"{self._project}-gigogne-run-{run}", labels=self._labels | labels)
        return self.needed(besides=run)

    def needed(self, *, besides: str = "") -> frozenset[str]:
        """The services that the living runs need."""
        others = [lease for lease in self.all() if lease.run != besides and self._live(lease)]
        return frozenset(name for lease in others for name in lease.needs)

    def drop(self, run: str) -> None:
        """The run needs nothing any more; the leases of dead runs go with its own."""
        for lease in self.all():
            if lease.run == run or not self._live(lease):
                self._remove_volume(lease.volume)
        self._break_locks()

    def remove(self) -> None:
        """Remove what runs have left, also those out of sight: nothing of the project runs any more."""
        for lease in self.all():
            self._remove_volume(lease.volume)
        for container in self.marks():
            self.unmark(container)
        self._break_locks()

    def mark(self, container: str, started: str) -> None:
        """Note that a run has started a server's container, at that time."""
        self.unmark(container)
        self._client.api.create_volume(
            self._mark(container), labels=self._labels | {_SERVER: container, _STARTED: started}
        )

    def unmark(self, container: str) -> None:
        """It has ended: who starts it next may be the user."""
        self._remove_volume(self._mark(container))

    def marks(self) -> dict[str, str]:
        """The containers that runs have started, by id, and when."""
        return {each["Labels"][_SERVER]: each["Labels"][_STARTED] for each in self._volumes(_SERVER)}

    def _mark(self, container: str) -> str:
        return f"{self._project}-gigogne-server-{container[:12]}"

    def all(self) -> list[Lease]:
        """All leases, of the living and the dead."""
        return [
            Lease(
                run=each["Labels"][_RUN],
                needs=frozenset(json.loads(each["Labels"][_NEEDS])),
                owner=Owner.read(each["Labels"].get(_OWNER, "")),
                volume=each["Name"],
            )
            for each in self._volumes(_RUN)
        ]

    @contextlib.contextmanager
    def alone(self, doing: str, hurry: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """While it holds, no other run of the project does the same; who is in a hurry goes on without."""
        lock, name, began = None, f"{self._project}-gigogne-{doing}", time.monotonic()
        told = False
        while lock is None and not hurry():
            lock = self._lock(name, doing)
            if lock is None and not self._break(name):
                if not told and time.monotonic() - began > _LONG:
                    told = True
                    self._tell(f"waits for another run of {self._project}; if there is none: docker rm {name}")
                time.sleep(_BREATH)
        try:
            yield
        finally:
            if lock is not None:
                self._remove(lock)

    def _volumes(self, label: str) -> list[dict[str, Any]]:
        filters = {"label": [f"{_PROJECT}={self._project}", label]}
        return list(self._client.api.volumes(filters=filters)["Volumes"] or ())

    def _break_locks(self) -> None:
        """Remove the locks that dead runs have left: nobody may ever want them again."""
        filters = {"label": [f"{_PROJECT}={self._project}", _LOCK]}
        for each in self._client.api.containers(all=True, filters=filters):
            owner = Owner.read(each["Labels"].get(_OWNER, ""))
            if owner is None or not owner.lives(self._client):
                self._remove(each["Id"])

    def _live(self, lease: Lease) -> bool:
        return lease.owner is not None and lease.owner.lives(self._client)

    def _break(self, name: str) -> bool:
        """Remove a lock whose owner is dead, by its id: the name may be another's by then."""
        from docker.errors import NotFound

        try:
            held = self._client.api.inspect_container(name)
        except NotFound:
            return True
        owner = Owner.read(held["Config"]["Labels"].get(_OWNER, ""))
        if owner is not None and owner.lives(self._client):
            return False
        self._remove(held["Id"])
        return True

    def _lock(self, name: str, doing: str) -> str | None:
        """The id of a container of that name; None where the name is taken."""
        from docker.errors import APIError

        try:
            return create_empty(self._client, name=name, labels=self._labels | {_LOCK: doing})
        except APIError as error:
            if error.status_code == 409:
                return None
            raise

    def _remove_volume(self, name: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # it is not there, or another run was quicker
            self._client.api.remove_volume(name)

    def _remove(self, container: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # another run was quicker
            self._client.api.remove_container(container, force=True)
