"""Containers as the daemon tells of them: which there are of a project, how each is, when it ends."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from typing import TYPE_CHECKING, Any, TypeVar

from gigogne.core.engine import State, Status
from gigogne.engines.docker.owner import Owner
from gigogne.errors import EngineError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["KEEP", "OWNER", "RUN", "TRY", "Container", "Containers"]

# The labels of jobs. Servers have none of ours: another label would make the next `docker compose up` recreate them.
RUN, TRY, OWNER, KEEP = "gigogne.run", "gigogne.try", "gigogne.owner", "gigogne.keep"
# A daemon that does not answer is asked again for so long, in seconds: it may start anew.
_PATIENCE, _PAUSE = 15.0, 0.3
# A server that its restart policy has started so often will not come right.
_RESTARTS = 7
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a project.

    `run` is the run that started it, empty for one that has no label of ours; `kept` says that it is to stay when it
    has failed, `stillborn` that it was made and has never run.
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

    @classmethod
    def of(cls, listed: Mapping[str, Any]) -> Container:
        """The container of one entry of the daemon's list."""
        labels = listed["Labels"]
        published = sorted({_address(port) for port in listed.get("Ports") or () if port.get("PublicPort")})
        return cls(
            id=listed["Id"],
            name=listed["Names"][0].removeprefix("/"),
            service=labels.get("com.docker.compose.service", ""),
            run=labels.get(RUN, ""),
            running=listed["State"] in ("running", "restarting", "paused"),
            created=float(listed["Created"]),
            address=", ".join(published),
            config_hash=labels.get("com.docker.compose.config-hash", ""),
            owner=Owner.read(labels.get(OWNER, "")),
            kept=KEEP in labels,
            stillborn=listed["State"] == "created",
        )


class Containers:
    """The containers that a daemon has."""

    def __init__(self, client: DockerClient) -> None:
        self._client = client

    def of_project(self, project: str, *, ended: bool) -> list[Container]:
        """Those of a project; without `ended` only those that run. What users run by `docker compose run` is theirs."""
        filters = {"label": [f"com.docker.compose.project={project}"]}
        listed = self._patiently(lambda: self._client.api.containers(all=ended, filters=filters))
        ours = [e for e in listed if RUN in e["Labels"] or e["Labels"].get("com.docker.compose.oneoff") != "True"]
        return [Container.of(each) for each in ours]

    def status(self, container: str) -> Status:
        """How a container is; one that is gone was removed by somebody else."""
        from docker.errors import NotFound

        try:
            seen = self._patiently(lambda: self._client.api.inspect_container(container))
        except NotFound:
            return Status(State.EXITED, 128 + signal.SIGKILL.value, "its container was removed from outside")
        return _status(seen)

    def wait(self, container: str, timeout: float | None) -> Status:
        """The state of a container when it has ended for good, or after `timeout` seconds."""
        from docker.errors import NotFound
        from requests import RequestException

        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.status(container)).state is not State.EXITED:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            try:
                self._client.api.wait(container, timeout=None if left is None else ceil(left))
            except NotFound:
                continue
            except RequestException:  # the time is over, or the connection broke: `status` tells which
                continue
            if self.status(container).state is not State.EXITED:
                time.sleep(_PAUSE)  # its restart policy starts it again
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

    def remove(self, container: str) -> None:
        """Remove a container with its anonymous volumes; nothing where it is gone."""
        from docker.errors import APIError

        try:
            self._client.api.remove_container(container, v=True, force=True)
        except APIError as error:
            if error.status_code not in (404, 409):  # gone, or being removed
                raise

    def _patiently(self, ask: Callable[[], _Answer]) -> _Answer:
        """What the daemon answers, asked again while it does not.

        Raises:
            EngineError: It does not come back.
        """
        from requests import RequestException

        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except RequestException as error:
                if time.monotonic() > deadline:
                    raise EngineError(
                        f"the Docker daemon at {self._client.api.base_url} does not answer any more",
                        "start it, then type the same command again: what this run left is found and cleaned up then",
                    ) from error
                time.sleep(_PAUSE)


def _status(seen: Mapping[str, Any]) -> Status:
    """The status that an inspected container has."""
    state = seen["State"]
    health = (state.get("Health") or {}).get("Status", "none")
    if state["Restarting"] and seen["RestartCount"] >= _RESTARTS:
        return Status(State.UNHEALTHY, detail=f"restarted {seen['RestartCount']} times, last code {state['ExitCode']}")
    if not state["Running"]:
        if state["Status"] == "created":
            return Status(State.EXITED, state["ExitCode"] or 128 + signal.SIGKILL.value, state["Error"])
        restarted = seen["HostConfig"]["RestartPolicy"]["Name"] not in ("", "no")
        return Status(State.EXITED, state["ExitCode"], _why(seen) if state["ExitCode"] else "", settled=restarted)
    if health == "none":
        return Status(State.RUNNING)
    known = {"healthy": State.HEALTHY, "unhealthy": State.UNHEALTHY}
    probes = (state["Health"].get("Log") or [{}])[-1:]
    return Status(known.get(health, State.STARTING), detail=str(probes[0].get("Output", "")).strip() if probes else "")


def _why(seen: Mapping[str, Any]) -> str:
    """What more than its code tells why a container ended; empty where its code says all."""
    state, code = seen["State"], seen["State"]["ExitCode"]
    if state["OOMKilled"]:
        limit = seen["HostConfig"].get("Memory")
        return "out of memory" + (f": its limit is {limit / 2**20:.0f} MiB (mem_limit)" if limit else " on the machine")
    if state["Error"]:
        return str(state["Error"])
    number = code - 128
    return f"ended by {signal.Signals(number).name}" if number in set(signal.Signals) else ""


def _address(port: Mapping[str, Any]) -> str:
    """Where a published port is reached from its host; what listens everywhere, does so here."""
    address = ip_address(port.get("IP") or "127.0.0.1")
    host = "localhost" if address.is_unspecified or address.is_loopback else str(address)
    return f"{host}:{port['PublicPort']}"
