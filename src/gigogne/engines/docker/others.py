"""The other runs of a project: what dead ones have left, what is the user's, and how those that live are ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from gigogne.engines.docker.containers import Container, Containers
from gigogne.engines.docker.leases import Leases, Mark
from gigogne.engines.docker.owner import Owner

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["OtherRuns"]

# What a run needs to end beside the grace periods of its services, in seconds.
_PATIENCE, _BREATH = 20.0, 0.1
# What the job of a service is given to end in that the project does not have any more, in seconds.
_GRACE = 10.0
# So long, in seconds, Compose may take to start a server; who starts it later is the user.
_START = 30.0


class OtherRuns:
    """The runs of a project, seen by one owner among them."""

    def __init__(
        self, client: DockerClient, containers: Containers, leases: Leases, project: str, owner: Owner
    ) -> None:
        self._client = client
        self._containers = containers
        self._leases = leases
        self._project = project
        self._owner = owner

    def strangers(self) -> frozenset[str]:
        """The servers that run and that no run has started: they are the user's."""
        servers = [c for c in self._containers.of_project(self._project, ended=False) if not c.run]
        started = self.starters(servers)
        return frozenset(server.service for server in servers if server.id not in started)

    def starters(self, servers: Sequence[Container]) -> dict[str, str]:
        """The runs that have started these servers for the lives that they lead now, by the ids of the containers."""
        marks = self._leases.marks() if servers else {}
        marked = {server.id: marks[server.id] for server in servers if server.id in marks}
        return {container: mark.run for container, mark in marked.items() if self._holds(container, mark)}

    def _holds(self, container: str, mark: Mark) -> bool:
        started, restarts = self._containers.life(container)
        # Its restart policy may have started it since; who else has, takes it over.
        return bool(restarts) or started == mark.started

    def sweep(self) -> None:
        """Remove the ended containers of jobs that nobody waits for, and the marks of servers that have ended.

        A detached job has no owner: who sees to it comes and goes, and removes it.
        """
        for container in self._containers.of_project(self._project, ended=True):
            if not container.run or container.running or container.owner is None:
                continue
            if container.owner != self._owner and container.owner.lives(self._client):
                continue
            if not (container.kept and self._containers.status(container.id).code):
                self._containers.remove(container.id)
        for marked in self._leases.marks():
            # Not by the list: what has been stopped a moment ago still runs there.
            if not self._containers.life(marked)[0]:
                self._leases.unmark(marked)
        self._mark_killed_starts()

    def _mark_killed_starts(self) -> None:
        """Mark the servers that a run has started and that was killed before it could do so: they are no user's."""
        killed = self._leases.killed_starts()
        servers = [c for c in self._containers.of_project(self._project, ended=False) if not c.run] if killed else []
        marked = self.starters(servers)
        for server in servers:
            run, began = killed.get(server.service, ("", 0.0))
            started, _ = self._containers.life(server.id)
            if started and server.id not in marked:
                seconds = datetime.fromisoformat(started).timestamp() - began
                if 0 <= seconds < _START:
                    self._leases.mark(server.id, started, run)

    def end_all(self, grace: Mapping[str, float]) -> list[str]:
        """End them; their ids. `grace` is how long their services are given to end in, in seconds.

        Who sees to a detached run may see to others, too, and is not asked to end.
        """
        found = self._supervised()
        far = {run for run, owner in found.items() if not owner.signal(signal.SIGTERM)}
        detached = {each.run for each in self._containers.of_project(self._project, ended=False) if each.detached}
        deadline = time.monotonic() + _PATIENCE + max(grace.values(), default=_GRACE)
        self._stop_jobs(detached, grace)
        while self._supervised().keys() & found.keys() and time.monotonic() < deadline:
            self._stop_jobs(far, grace)
            time.sleep(_BREATH)
        return [*found, *sorted(detached)]

    def _supervised(self) -> dict[str, Owner]:
        """The living supervisors, by run."""
        leases = [lease for lease in self._leases.all() if not lease.detached]
        others = {lease.run: lease.owner for lease in leases if lease.owner and lease.owner != self._owner}
        return {run: owner for run, owner in others.items() if owner.lives(self._client)}

    def _stop_jobs(self, runs: Collection[str], grace: Mapping[str, float]) -> None:
        if runs:
            found = self._containers.of_project(self._project, ended=False)
            self._containers.stop_all({e.id: grace.get(e.service, _GRACE) for e in found if e.run in runs})
