"""Containers as the daemon tells of them: which there are of a project, how each is, when it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from ipaddress import ip_address
from math import ceil
from typing import TYPE_CHECKING, Any

from gigogne.core.engine import State, Status
from gigogne.engines.docker.compose import plainly
from gigogne.engines.docker.owner import Owner
from gigogne.engines.docker.patience import be_patient
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["DEADLINE", "KEEP", "OWNER", "RUN", "TRY", "Container", "Containers"]

# The labels of jobs. Servers have none of ours: another label would make the next `docker compose up` recreate them.
RUN, TRY, OWNER, KEEP = "gigogne.run", "gigogne.try", "gigogne.owner", "gigogne.keep"
# Of a job that outlives who started it, in place of its owner: when it is ended at the latest; may be empty.
DEADLINE = "gigogne.deadline"
# Between two looks at a container that its restart policy starts again, in seconds.
_PAUSE = 0.3
# So much later than the end of a container, in seconds, the news of what ended it may come.
_LATE = 0.5
# A server that its restart policy has started so often will not come right.
_RESTARTS = 7
_REMOVED = Status(State.EXITED, 128 + signal.SIGKILL.value, "its container was removed from outside", settled=True)


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a project.

    `run` is the run that started it, empty for one that has no label of ours; `kept` says that it is to stay when it
    has failed, `stillborn` that it was made and has never run; `detached` that it outlives who started it, until its
    `deadline` where it has one.
    """

    id: str
    name: str
    service: str
    run: str
    running: bool
    created: float
    address: str
    config_hash: str
    owner: Owner | None
    kept: bool
    stillborn: bool
    detached: bool
    deadline: float | None

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Container:
        """The container of one entry of the daemon's list."""
        labels = listed["Labels"]
        published = sorted({_address(port) for port in listed.get("Ports") or () if port.get("PublicPort")})
        return cls(
            id=listed["Id"],
            name=(listed["Names"] or [""])[0].removeprefix("/"),  # none while it is being removed
            service=labels.get("com.docker.compose.service", ""),
            run=labels.get(RUN, ""),
            running=listed["State"] in ("running", "restarting", "paused"),
            created=float(listed["Created"]),
            address=", ".join(published),
            config_hash=labels.get("com.docker.compose.config-hash", ""),
            owner=Owner.read(labels.get(OWNER, "")),
            kept=KEEP in labels,
            stillborn=listed["State"] == "created",
            detached=DEADLINE in labels,
            deadline=float(labels[DEADLINE]) if labels.get(DEADLINE) else None,
        )


class Containers:
    """The containers that a daemon has. From here on all requests of its client wait for a daemon that starts anew."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client
        self._silence = be_patient(client)

    def of_project(self, project: str, *, ended: bool) -> list[Container]:
        """Those of a project; without `ended` only those that run. What users run by `docker compose run` is theirs."""
        filters = {"label": [f"com.docker.compose.project={project}"]}
        listed = self._client.api.containers(all=ended, filters=filters)
        ours = [e for e in listed if RUN in e["Labels"] or e["Labels"].get("com.docker.compose.oneoff") != "True"]
        return [Container.of(each) for each in ours]

    def running(self, *, jobs: bool) -> frozenset[str]:
        """The ids of those that run, of all projects; with `jobs` only of those that runs have started."""
        return frozenset(each["Id"] for each in self._client.api.containers(filters={"label": [RUN]} if jobs else None))

    def hurry(self) -> None:
        """A daemon that does not answer is not waited for any more."""
        self._silence.hurry()

    def status(self, container: str) -> Status:
        """How a container is; one that is gone was removed by somebody else."""
        seen = self._seen(container)
        if seen is None:
            return _REMOVED
        status = _status(seen)
        if status.code == _REMOVED.code and not status.detail:
            return replace(status, detail=self._who_killed(seen))
        return status

    def life(self, container: str) -> tuple[str, int]:
        """When a container was started last, and how often its restart policy has done that; empty if it has ended."""
        seen = self._seen(container)
        if seen is None or not seen["State"]["Running"]:
            return "", 0
        return seen["State"]["StartedAt"], seen["RestartCount"]

    def environment(self, container: str) -> dict[str, str] | None:
        """The variables of a container, those of its image among them; None for one that is gone."""
        seen = self._seen(container)
        if seen is None:
            return None
        variables = seen["Config"]["Env"] or ()
        return {name: value for name, _, value in (each.partition("=") for each in variables)}

    def _seen(self, container: str) -> dict[str, Any] | None:
        """All that the daemon tells of a container; None for one that is gone."""
        from docker.errors import NotFound

        try:
            seen: dict[str, Any] = self._client.api.inspect_container(container)
        except NotFound:
            return None
        return seen

    def wait(self, container: str, timeout: float | None) -> Status:
        """The state of a container when it has ended for good, or after `timeout` seconds."""
        from docker.errors import NotFound
        from requests import RequestException

        silences = self._silence.times
        deadline = None if timeout is None else time.monotonic() + timeout
        status = self.status(container)
        while status.state is not State.EXITED:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                self._client.api.wait(container, timeout=None if left is None else ceil(left))
            except (NotFound, RequestException, EngineError):  # the time is over, or the connection broke
                status = self.status(container)  # tells which
                continue
            status = self.status(container)
            if status.state is not State.EXITED:
                time.sleep(_PAUSE)  # its restart policy starts it again
        if status.code and self._silence.times > silences:
            return replace(status, detail="ended while the Docker daemon was started anew")
        return status

    def stop(self, container: str, grace: float) -> None:
        """Send the stop signal and, after `grace` seconds, SIGKILL; nothing where it has ended."""
        from docker.errors import APIError

        try:
            if grace > 0:
                self._client.api.stop(container, timeout=ceil(grace))
            else:
                self._client.api.kill(container)
        except APIError as error:
            if error.status_code not in (304, 404, 409):  # it runs no more, or is gone
                raise

    def stop_all(self, grace: Mapping[str, float]) -> None:
        """Stop several containers side by side, each with its grace."""
        with ThreadPoolExecutor(len(grace) or 1) as pool:
            list(pool.map(self.stop, grace, grace.values()))

    def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes; nothing where it is gone."""
        from docker.errors import APIError

        try:
            self._client.api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code not in (404, 409):  # gone, or being removed
                raise

    def _who_killed(self, seen: Mapping[str, Any]) -> str:
        """What is known of a container with the code of SIGKILL, which a program may give itself, too."""
        began, ended = (datetime.fromisoformat(seen["State"][key]).timestamp() for key in ("StartedAt", "FinishedAt"))
        # Strings: the whole seconds of the SDK's hints are too coarse. The news of a signal may come after the end.
        between: dict[str, Any] = {"since": f"{began:.6f}", "until": f"{ended + _LATE:.6f}"}
        asked = {"container": seen["Id"], "event": "kill"}
        sent = self._client.api.events(**between, filters=asked, decode=True)
        if any(event["Actor"]["Attributes"].get("signal") == str(signal.SIGKILL.value) for event in sent):
            return "ended by SIGKILL, which somebody sent it (docker kill, docker stop)"
        return "its program gave this code, or got SIGKILL on the machine"


def _status(seen: Mapping[str, Any]) -> Status:
    """The status that an inspected container has."""
    state = seen["State"]
    health = (state.get("Health") or {}).get("Status", "none")
    if state["Restarting"] and seen["RestartCount"] >= _RESTARTS:
        return Status(State.UNHEALTHY, detail=f"restarted {seen['RestartCount']} times, last code {state['ExitCode']}")
    if state["Restarting"]:  # between two tries, its health is that of the last one
        return Status(State.RUNNING if health == "none" else State.STARTING)
    if state["Status"] in ("removing", "dead"):
        return _REMOVED
    if not state["Running"]:
        if state["Status"] == "created":
            return Status(State.EXITED, state["ExitCode"] or _REMOVED.code, state["Error"] or "it was never started")
        restarted = seen["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no")
        return Status(State.EXITED, state["ExitCode"], _why(seen) if state["ExitCode"] else "", settled=restarted)
    if health == "none":
        return Status(State.RUNNING)
    known = {"healthy": State.HEALTHY, "unhealthy": State.UNHEALTHY}
    probes = (state["Health"].get("Log") or [{}])[-1:]
    return Status(known.get(health, State.STARTING), detail=plainly(str(probes[0].get("Output", ""))) if probes else "")


def _why(seen: Mapping[str, Any]) -> str:
    """What more than its code tells why a container ended; empty where its code says all."""
    state, code = seen["State"], seen["State"]["ExitCode"]
    if state["OOMKilled"]:
        limit = seen["HostConfig"].get("Memory")
        return "out of memory" + (f": its limit is {limit / 2**20:.0f} MiB (mem_limit)" if limit else " on the machine")
    if state["Error"]:
        return str(state["Error"])
    number = code - 128
    told = number in set(signal.Signals) and code != _REMOVED.code  # of which more can be known
    return f"ended by {signal.Signals(number).name}" if told else ""


def _address(port: Mapping[str, Any]) -> str:
    """Where a published port is reached from its host; what listens everywhere, does so here."""
    address = ip_address(port.get("IP") or "127.0.0.1")
    host = "localhost" if address.is_unspecified or address.is_loopback else str(address)
    return f"{host}:{port['PublicPort']}"
