"""Runs that share servers: who needs which, told by the daemon itself, since runs may be on a host and in containers.

A run holds a *lease* while it lives: an empty volume, whose labels say which services the run needs. That of a detached
run, which lives in many processes, is held by each of them while it sees to the run, or ends at a time. A *mark*,
another one, says of a server's container that a run has started it: what has no mark is the user's, and stays. A volume
is quickly made, and `docker system prune` lets it be. A *lock* is a container that is created and never started: the
daemon gives its name once, and its id never again, so that who breaks a dead run's lock breaks no other. The next run
reaps what a killed one leaves.
"""

from __future__ import annotations

import contextlib
import functools
import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gigogne.engines.docker.empty import create_empty
from gigogne.engines.docker.owner import Owner

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["Lease", "Leases", "Mark"]

_PROJECT, _OWNER = "gigogne.project", "gigogne.owner"
_RUN, _NEEDS = "gigogne.lease", "gigogne.needs"
# Of the leases of detached runs alone: when such a lease ends by itself, empty where it ends with its owner.
_UNTIL = "gigogne.until"
_GUARD = "gigogne.guard"
_SERVER, _STARTED, _BY = "gigogne.server", "gigogne.started", "gigogne.by"
_LOCK, _START = "gigogne.lock", "start-"
# Who waits for a lock looks again so often, and after a while says for whom it waits; in seconds.
_BREATH, _LONG = 0.1, 5.0
# For so long, in seconds, who was seen in another container is taken to be there.
_MOMENT = 10.0


@dataclass(frozen=True, slots=True)
class Lease:
    """What one run of a project needs; `volume` is the lease itself.

    `owner` is who holds it, None for one that lives until a time: `until`. Who holds that of a `detached` run attends
    to it for a while, and is not to be asked to end it.
    """

    run: str
    needs: frozenset[str]
    owner: Owner | None
    volume: str
    detached: bool = False
    until: float | None = None

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Lease:
        """The lease that is one of the daemon's volumes."""
        labels = listed["Labels"]
        until = labels.get(_UNTIL)
        return cls(
            run=labels[_RUN],
            needs=frozenset(json.loads(labels[_NEEDS])),
            owner=None if until else Owner.read(labels.get(_OWNER, "")),
            volume=listed["Name"],
            detached=until is not None,
            until=float(until) if until else None,
        )


@dataclass(frozen=True, slots=True)
class Mark:
    """A server's container that a run has started, and when, as the daemon tells it."""

    started: str
    run: str


class Leases:
    """The leases, marks and locks of one project; `tell` hears for whom somebody waits."""

    def __init__(self, client: DockerClient, project: str, owner: Owner, tell: Callable[[str], None]) -> None:
        self._client = client
        self._project = project
        self._owner = owner
        self._tell = tell
        self._labels = {_PROJECT: project, _OWNER: str(owner)}
        self._guard = f"{project}-gigogne-guard"
        self._seen: dict[Owner, float] = {}

    def take(self, run: str, needs: Sequence[str], *, detached: bool = False, until: float | None = None) -> str:
        """Write down what a run needs; the name of the lease. Several processes may each hold one of a detached run."""
        labels = {_RUN: run, _NEEDS: json.dumps(sorted(needs))}
        labels |= {_UNTIL: "" if until is None else f"{until:.3f}"} if detached else {}
        name = f"{self._project}-gigogne-run-{run}-{secrets.token_hex(4)}"
        self._client.api.create_volume(name, labels=self._labels | labels)
        return name

    def give_back(self, lease: str) -> None:
        """Who held the lease of that name needs nothing any more."""
        self._remove_volume(lease)

    def needed(self, *, besides: str = "") -> frozenset[str]:
        """The services that the living runs need."""
        lives = self._lives()
        others = [lease for lease in self.all() if lease.run != besides and lives(lease)]
        return frozenset(name for lease in others for name in lease.needs)

    def attended(self) -> frozenset[str]:
        """The detached runs that another living process sees to."""
        lives = self._lives()
        others = [lease for lease in self.all() if lease.detached and lease.owner not in (None, self._owner)]
        return frozenset(lease.run for lease in others if lives(lease))

    def drop(self, run: str) -> None:
        """The run needs nothing any more; the leases of dead runs go with its own."""
        lives = self._lives()
        for lease in self.all():
            if lease.run == run or not lives(lease):
                self._remove_volume(lease.volume)
        if self.guard() is None:
            self._remove_volume(self._guard)
        self._break_locks()

    def remove(self) -> None:
        """Remove what runs have left, also those out of sight: nothing of the project runs any more."""
        for lease in self.all():
            self._remove_volume(lease.volume)
        for container in self.marks():
            self.unmark(container)
        self._remove_volume(self._guard)
        self._break_locks()

    def mark(self, container: str, started: str, run: str) -> None:
        """Note that a run has started a server's container, at that time."""
        self.unmark(container)
        labels = {_SERVER: container, _STARTED: started, _BY: run}
        self._client.api.create_volume(self._mark(container), labels=self._labels | labels)

    def unmark(self, container: str) -> None:
        """It has ended: who starts it next may be the user."""
        self._remove_volume(self._mark(container))

    def marks(self) -> dict[str, Mark]:
        """The marks of the containers that runs have started, by their ids."""
        listed = [each["Labels"] for each in self._volumes(_SERVER)]
        return {labels[_SERVER]: Mark(labels[_STARTED], labels.get(_BY, "")) for labels in listed}

    def _mark(self, container: str) -> str:
        return f"{self._project}-gigogne-server-{container[:12]}"

    def all(self) -> list[Lease]:
        """All leases, of the living and the dead."""
        return [Lease.of(each) for each in self._volumes(_RUN)]

    def guard(self) -> Owner | None:
        """The process that guards the project's detached jobs; None where there is none that lives."""
        from docker.errors import NotFound

        try:
            labels = self._client.api.inspect_volume(self._guard)["Labels"] or {}
        except NotFound:
            return None
        owner = Owner.read(labels.get(_OWNER, ""))
        return owner if owner is not None and owner.lives(self._client) else None

    def note_guard(self, owner: Owner) -> None:
        """This process guards them from now on."""
        self._remove_volume(self._guard)
        self._client.api.create_volume(self._guard, labels={_PROJECT: self._project, _GUARD: "", _OWNER: str(owner)})

    @contextlib.contextmanager
    def alone(self, doing: str, hurry: Callable[[], bool] = lambda: False) -> Iterator[bool]:
        """While it holds, no other run of the project does the same; who is in a hurry goes on without.

        Whether the last one who did it was killed over it.
        """
        lock, name, began = None, f"{self._project}-gigogne-{doing}", time.monotonic()
        told = killed = False
        while lock is None and not hurry():
            lock = self._lock(name, doing)
            if lock is None and self._break(name):
                killed = True
            elif lock is None:
                if not told and time.monotonic() - began > _LONG:
                    told = True
                    self._tell(f"waits for another run of {self._project}; if there is none: docker rm {name}")
                time.sleep(_BREATH)
        try:
            yield killed
        finally:
            if lock is not None:
                self._remove(lock)

    def starting(self, service: str) -> AbstractContextManager[bool]:
        """While it holds, no other run starts the service, a server; whether one was killed over it: `alone`."""
        return self.alone(f"{_START}{service}")

    def killed_starts(self) -> dict[str, tuple[str, float]]:
        """The servers over whose start a run was killed: which run, and when it began, in seconds since the epoch."""
        begun = [(owner, each) for owner, each in self._dead_locks() if each["Labels"][_LOCK].startswith(_START)]
        runs = {lease.owner: lease.run for lease in self.all()} if begun else {}
        return {
            each["Labels"][_LOCK].removeprefix(_START): (runs.get(owner, ""), float(each["Created"]))
            for owner, each in begun
        }

    def _volumes(self, label: str) -> list[dict[str, Any]]:
        filters = {"label": [f"{_PROJECT}={self._project}", label]}
        return list(self._client.api.volumes(filters=filters)["Volumes"] or ())

    def _break_locks(self) -> None:
        """Remove the locks that dead runs have left: nobody may ever want them again."""
        for _, lock in self._dead_locks():
            self._remove(lock["Id"])

    def _dead_locks(self) -> list[tuple[Owner | None, dict[str, Any]]]:
        """The locks whose owners are dead, and those."""
        filters = {"label": [f"{_PROJECT}={self._project}", _LOCK]}
        locks = self._client.api.containers(all=True, filters=filters)
        owned = [(Owner.read(each["Labels"].get(_OWNER, "")), each) for each in locks]
        return [(owner, each) for owner, each in owned if owner is None or not owner.lives(self._client)]

    def _lives(self) -> Callable[[Lease], bool]:
        """Tells living leases; each owner, who may hold many, is looked for once."""
        owner_lives = functools.cache(self._owner_lives)
        now = time.time()

        def lives(lease: Lease) -> bool:
            if lease.until is not None:
                return now < lease.until
            return lease.owner is not None and owner_lives(lease.owner)

        return lives

    def _owner_lives(self, owner: Owner) -> bool:
        """Whether an owner lives, or did so a moment ago: to look into another container takes its time."""
        now = time.monotonic()
        self._seen = {other: seen for other, seen in self._seen.items() if now - seen < _MOMENT}
        if owner in self._seen:
            return True
        lives = owner.lives(self._client)
        if lives and not owner.is_near:
            self._seen = {**self._seen, owner: time.monotonic()}
        return lives

    def _break(self, name: str) -> bool:
        """Remove a lock whose owner is dead, by its id: the name may be another's by then. Whether it was there."""
        from docker.errors import NotFound

        try:
            held = self._client.api.inspect_container(name)
        except NotFound:
            return False
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
