"""Runs that share servers: who needs which, told by the daemon itself, since runs may be on a host and in containers.

A run holds a *lease* while it lives: an empty volume, whose labels say which services the run needs and which of them
were there before, started by no run: those are the user's, and stay. A volume is quickly made, and `docker system
prune` lets it be. A *lock* is a container that is created and never started: the daemon gives its name once, and its
id never again, so that who breaks a dead run's lock breaks no other. The next run reaps what a killed one leaves.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gigogne.engines.docker.empty import create_empty
from gigogne.engines.docker.owner import Owner

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Lease", "Leases"]

_PROJECT, _RUN, _LOCK, _OWNER, _NEEDS, _FOUND = (
    "gigogne.project",
    "gigogne.lease",
    "gigogne.lock",
    "gigogne.owner",
    "gigogne.needs",
    "gigogne.found",
)
# Who waits for a lock looks again so often, in seconds.
_BREATH = 0.1


@dataclass(frozen=True, slots=True)
class Lease:
    """What one run of a project needs.

    `found` are the servers that ran already and that no run had started; `volume` is the lease itself.
    """

    run: str
    needs: frozenset[str]
    found: frozenset[str]
    owner: Owner | None
    volume: str


class Leases:
    """The leases of one project."""

    def __init__(self, client: DockerClient, project: str, owner: Owner) -> None:
        self._client = client
        self._project = project
        self._owner = owner
        self._labels = {_PROJECT: project, _OWNER: str(owner)}

    def take(self, run: str, needs: Sequence[str], running: Callable[[], frozenset[str]]) -> frozenset[str]:
        """Write down what a run needs, take over what dead runs have left, and return what the other runs need."""
        others = [lease for lease in self.all() if lease.run != run]
        started = {name for lease in others for name in lease.needs - lease.found}
        found = (running() & frozenset(needs)) - started
        labels = {_RUN: run, _NEEDS: json.dumps(sorted(needs)), _FOUND: json.dumps(sorted(found))}
        self._client.api.create_volume(f"{self._project}-gigogne-run-{run}", labels=self._labels | labels)
        return frozenset(name for lease in others if self._live(lease) for name in lease.needs)

    def give_back(self, run: str) -> frozenset[str]:
        """The services that others need: other runs, and those who had started them before this run found them."""
        leases = self.all()
        mine = [lease for lease in leases if lease.run == run]
        others = [lease for lease in leases if lease.run != run and self._live(lease)]
        return frozenset(
            [name for lease in others for name in lease.needs] + [name for lease in mine for name in lease.found]
        )

    def drop(self, run: str) -> None:
        """The run needs nothing any more; the leases of dead runs whose servers it has seen to go with its own."""
        leases = self.all()
        mine = frozenset(name for lease in leases if lease.run == run for name in lease.needs)
        for lease in leases:
            if lease.run == run or (not self._live(lease) and lease.needs - lease.found <= mine):
                self._drop(lease)
        self._break_locks()

    def remove(self) -> None:
        """Remove what dead runs have left."""
        for lease in self.all():
            if not self._live(lease):
                self._drop(lease)
        self._break_locks()

    def all(self) -> list[Lease]:
        """All leases, of the living and the dead."""
        filters = {"label": [f"{_PROJECT}={self._project}", _RUN]}
        return [
            Lease(
                run=each["Labels"][_RUN],
                needs=frozenset(json.loads(each["Labels"][_NEEDS])),
                found=frozenset(json.loads(each["Labels"][_FOUND])),
                owner=Owner.read(each["Labels"].get(_OWNER, "")),
                volume=each["Name"],
            )
            for each in self._client.api.volumes(filters=filters)["Volumes"] or ()
        ]

    @contextlib.contextmanager
    def alone(self, doing: str, hurry: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """While it holds, no other run of the project does the same; who is in a hurry goes on without."""
        lock, name = None, f"{self._project}-gigogne-{doing}"
        while lock is None and not hurry():
            lock = self._lock(name, doing)
            if lock is None and not self._break(name):
                time.sleep(_BREATH)
        try:
            yield
        finally:
            if lock is not None:
                self._remove(lock)

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

    def _drop(self, lease: Lease) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # another run was quicker
            self._client.api.remove_volume(lease.volume)

    def _remove(self, container: str) -> None:
        from docker.errors import APIError

        with contextlib.suppress(APIError):  # another run was quicker
            self._client.api.remove_container(container, force=True)
