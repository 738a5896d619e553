"""The Docker engine: Docker Compose starts the services, the daemon tells what becomes of them."""

from __future__ import annotations

import contextlib
import functools
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from gigogne.core.engine import LIFETIME, Detached, Handle, Line, Run, Status
from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Mount, MountType, Problem, Project, Service
from gigogne.core.nesting import Nesting, Place, PlaceKind, nest
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.engines.docker.connection import telling
from gigogne.engines.docker.containers import DEADLINE, KEEP, OWNER, RUN, TRY, Container, Containers
from gigogne.engines.docker.guard import end_guard, start_guard
from gigogne.engines.docker.images import prepare_image
from gigogne.engines.docker.launch import launch_job, refusal
from gigogne.engines.docker.leases import Leases
from gigogne.engines.docker.logs import read_logs
from gigogne.engines.docker.others import OtherRuns
from gigogne.engines.docker.owner import Owner
from gigogne.engines.docker.results import read_result
from gigogne.engines.docker.support import problems_of
from gigogne.engines.docker.volumes import StagedVolumes, remove_copies
from gigogne.errors import EngineError, GigogneError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["DockerEngine"]

_Words = ParamSpec("_Words")
_Answer = TypeVar("_Answer")


def _told(
    method: Callable[Concatenate[DockerEngine, _Words], _Answer],
) -> Callable[Concatenate[DockerEngine, _Words], _Answer]:
    """The method; what the SDK raises in it comes out as an EngineError that says what to do."""

    @functools.wraps(method)
    def told(self: DockerEngine, /, *words: _Words.args, **named: _Words.kwargs) -> _Answer:
        with telling(self._client):
            return method(self, *words, **named)

    return told


@dataclass(frozen=True, slots=True)
class _Deployment:
    """A project as the daemon sees it."""

    project: Project
    kinds: dict[str, Kind]
    nesting: Nesting
    compose: Compose
    leases: Leases
    staged: StagedVolumes


class DockerEngine:
    """Runs services as containers.

    Args:
        client: The daemon.
        place: Where this process is, seen from the daemon.
        compose: The Compose binary.
        notify: Is told, by service, what is being prepared.
        build: Build images that are there already, too.
        keep: Keep the containers of jobs that failed.
    """

    name = "docker"

    def __init__(
        self,
        client: DockerClient,
        place: Place,
        compose: Path,
        notify: Callable[[str, str], None],
        *,
        build: bool = False,
        keep: bool = False,
    ) -> None:
        self.position = place
        self._client = client
        self._containers = Containers(client)
        self._binary = compose
        self._notify = notify
        self._build = build
        self._keep = keep
        self._owner = Owner.this_process(place.container)
        self._salt = secrets.token_hex(4)
        self._deployments: dict[str, _Deployment] = {}
        self._tries: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def __str__(self) -> str:
        """The engine, and where its daemon is when it is not simply here."""
        outside = self.position.kind is PlaceKind.OUTSIDE
        return f"{self.name} (the daemon outside this container)" if outside else self.name

    @_told
    def check(self, project: Project, services: Sequence[str], *, publish: bool = True) -> list[Problem]:
        """What the daemon would not find, and what is done in another way."""
        made = self._deployment(project)
        wanted = [problem for problem in made.nesting.problems if problem.service in ("", *services)]
        running = self._containers.of_project(project.name, ended=False)
        special = problems_of(
            project, services, made.kinds, running, self._client, made.compose, made.leases, self.position
        )
        return [*wanted, *special]

    @_told
    def prepare(self, service: Service, run: Run) -> None:
        """Build or pull the image.

        Raises:
            EngineError: The image is not to be had; with what the builder or the registry said.
        """
        made = self._deployment(run.project)

        def tell(text: str) -> None:
            self._notify(service.name, text)

        prepare_image(self._client, made.compose, service, run.project, tell, build=self._build)

    def cancel(self) -> None:
        """End what is being built or pulled, and wait for no daemon. A start takes less than a second, and may end."""
        self._containers.hurry()
        for made in list(self._deployments.values()):
            made.compose.cancel()

    @contextlib.contextmanager
    def turn(self, run: Run, hurry: Callable[[], bool], *, last: bool = False) -> Iterator[frozenset[str]]:
        """A turn, by a lock that the daemon keeps; in the last one what is left of the run's jobs goes."""
        made = self._deployment(run.project)
        leases = made.leases
        # Who needs no server shares none: nothing is to be settled with others.
        shares = any(made.kinds.get(name) is not Kind.JOB for name in run.services) or not run.services
        lock = leases.alone("turn", hurry) if shares else contextlib.nullcontext()
        others = self._others(made)
        with telling(self._client), lock:
            if not last:
                others.sweep()
                until = (run.detached.deadline or time.time() + LIFETIME) if run.detached else None
                leases.take(run.id, run.services, detached=run.detached is not None, until=until)
            yield leases.needed(besides=run.id) | others.strangers()
            if last:
                others.sweep()
                leases.drop(run.id)
                made.staged.remove()

    @contextlib.contextmanager
    def attend(self, run: Run) -> Iterator[None]:
        """Hold a lease of the run, which ends with this process at the latest."""
        leases = self._deployment(run.project).leases
        with telling(self._client):
            lease = leases.take(run.id, run.services, detached=True)
        try:
            yield
        finally:
            with contextlib.suppress(GigogneError), telling(self._client):  # a daemon that is gone
                leases.give_back(lease)

    def guard(self, project: Project, command: Sequence[str]) -> None:
        """Start the project's guard, as a process or as a container. Where that fails it is said, and work goes on."""
        leases = self._deployment(project).leases
        try:
            with telling(self._client):
                start_guard(self._client, self.position, leases, project.name, command, self._binary)
        except (GigogneError, OSError) as error:
            self._notify(
                "", f"nobody guards what outlives this process: {error}; gigogne reap --project {project.name}"
            )

    @_told
    def start(self, service: Service, run: Run) -> Handle:
        """Start the service's container, with what the daemon cannot see brought to it.

        Raises:
            ServiceError: The command is not to be found (127) or cannot be run (126).
            EngineError: Docker refuses; its own words.
        """
        made = self._deployment(run.project)
        made.staged.bring(service.name)
        if made.kinds[service.name] is Kind.JOB:
            return self._start_job(service, run, made)
        with made.leases.starting(service.name) as killed:
            running = self._containers.of_project(run.project.name, ended=False)
            found = [container for container in running if container.service == service.name and not container.run]
            if not found:
                return self._start_server(service, run, made)
            if killed:  # who was has started it, and could not say so
                self._mark(found, run, made)
            return self._handle_of(found[0], run.project, run.id if killed else "")

    def _start_job(self, service: Service, run: Run, made: _Deployment) -> Handle:
        with self._lock:
            number = self._tries[run.id, service.name] + (run.detached.attempt if run.detached else 1)
            self._tries[run.id, service.name] += 1
        name = f"{run.project.name}-{service.name}-run-{run.id}-{number}"
        labels = {RUN: run.id, TRY: str(number), **({KEEP: "failed"} if self._keep else {})}
        labels |= _outliving(run.detached) if run.detached else {OWNER: str(self._owner)}
        container = launch_job(made.compose, self._containers, service, name, labels, detached=run.detached is not None)
        data = {"id": container, "name": name, "project": run.project.name, "job": True, "address": ""}
        data |= {"orphan": False, "began": time.time(), "left": f"docker logs {name}"}
        if run.detached:
            data |= {"detached": True, "deadline": run.detached.deadline, "attended": True}
        return Handle(service.name, self.name, run.id, data)

    def _start_server(self, service: Service, run: Run, made: _Deployment) -> Handle:
        done = made.compose.call("up", "-d", "--no-deps", "--no-build", service.name)
        every = self._containers.of_project(run.project.name, ended=True)
        mine = [container for container in every if container.service == service.name and not container.run]
        if done.returncode or not mine:
            stillborn = next((container.name for container in mine if container.stillborn), "")
            raise refusal(self._containers, service, stillborn, done.stderr)
        self._mark(mine, run, made)
        return self._handle_of(mine[0], run.project, run.id)

    def _mark(self, servers: Sequence[Container], run: Run, made: _Deployment) -> None:
        for container in servers:
            started, _ = self._containers.life(container.id)
            made.leases.mark(container.id, started, run.id)

    @_told
    def status(self, handle: Handle) -> Status:
        """What the daemon says of the container; EXITED has its exit code."""
        return self._containers.status(handle.data["id"])

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait for the end of the container, its restarts included."""
        return self._containers.wait(handle.data["id"], timeout)

    @_told
    def ended(self, handles: Sequence[Handle]) -> list[Handle]:
        """Those whose containers do not run, or are gone."""
        running = self._containers.running(jobs=all(handle.data["job"] for handle in handles)) if handles else ()
        return [handle for handle in handles if handle.data["id"] not in running]

    def logs(
        self, handle: Handle, *, follow: bool, since: float = 0.0, tail: int | None = None, after: str = ""
    ) -> Iterator[Line]:
        """What the daemon keeps of the container's output."""
        return read_logs(self._client, handle.data["id"], follow=follow, since=since, tail=tail, after=after)

    @_told
    def environment(self, handle: Handle) -> Mapping[str, str] | None:
        """The variables of the container, those of its image among them."""
        return self._containers.environment(handle.data["id"])

    @_told
    def result(self, handle: Handle) -> bytes | None:
        """The file that the container has left, wherever the service's own `GIGOGNE_RESULT` says.

        Raises:
            EngineError: It is too large for a result.
        """
        return read_result(self._client, handle.data["id"])

    @_told
    def stop(self, handle: Handle, *, grace: float) -> None:
        """Its stop signal, then after `grace` seconds SIGKILL. A server's containers stay, as Compose leaves them."""
        stopped = [handle.data["id"]]
        if not handle.data["job"]:  # which may have several: scale, deploy.replicas
            running = self._containers.of_project(handle.data["project"], ended=False)
            stopped += [c.id for c in running if c.service == handle.service and not c.run and c.id not in stopped]
        self._containers.stop_all(dict.fromkeys(stopped, grace))

    @_told
    def discard(self, handle: Handle) -> None:
        """Remove the container of a job, unless it failed and is to be kept; a server's stays."""
        if not handle.data["job"]:
            return
        if self._keep and self.status(handle).code:
            return
        self._containers.remove(handle.data["id"])
        if handle.data.get("detached") and self.position.kind is PlaceKind.OUTSIDE:
            # Who has brought them may be gone, and did not wait for the end of the job.
            remove_copies(self._client, handle.data["project"], self._owner)

    @_told
    def find(self, project: Project, *, ended: bool = False) -> list[Handle]:
        """The project's containers, whoever started them."""
        made = self._deployment(project)
        found = self._containers.of_project(project.name, ended=ended)
        attended = made.leases.attended() if any(each.detached for each in found) else frozenset[str]()
        servers = [each for each in found if each.running and not each.run]
        runs = self._others(made).starters(servers)
        return [self._handle_of(each, project, runs.get(each.id, ""), attended=attended) for each in found]

    @_told
    def end_runs(self, project: Project) -> list[str]:
        """Ask the supervisors of the project's runs to end; those of them who cannot be asked lose their jobs."""
        grace = {name: service.stop_grace_period for name, service in project.services.items()}
        return self._others(self._deployment(project)).end_all(grace)

    @_told
    def remove(self, project: Project, *, volumes: bool) -> None:
        """`docker compose down`, with what runs have left; with `volumes` the named volumes too.

        Raises:
            EngineError: Docker refuses; its own words.
        """
        made = self._deployment(project)
        for container in self._containers.of_project(project.name, ended=True):
            if container.run:
                self._containers.remove(container.id)
        # Not what other files of the same `name:` have started: Compose leaves it, too.
        done = made.compose.call("down", *(["--volumes"] if volumes else []))
        end_guard(self._client, made.leases, project.name)
        made.leases.remove()
        made.staged.remove()
        if done.returncode:
            raise EngineError(f"docker compose down: {last_words(done.stderr)}", "gigogne doctor looks at Docker")

    def place(self, mount: Mount, project: Project) -> Path | None:
        """Where a bind mount lies. A volume is in the daemon's keeping."""
        return Path(mount.source) if mount.type is MountType.BIND else None

    def where(self, service: Service, project: Project) -> str:
        """Where a server is published; empty where only other containers reach it."""
        found = self._containers.of_project(project.name, ended=False)
        addresses = [container.address for container in found if container.service == service.name]
        published = [f"{p.host_ip or 'localhost'}:{p.published}" for p in service.ports if p.published]
        return next(filter(None, addresses), "") or ", ".join(published)

    def _deployment(self, project: Project) -> _Deployment:
        """The project as the daemon sees it; made once, because each service asks for it."""
        with self._lock:
            known = self._deployments.get(project.name)
            if known is not None and known.project is project:
                return known
            nesting = nest(project, self.position, salt=self._salt)
            made = _Deployment(
                project,
                kinds(project),
                nesting,
                Compose(self._binary, project, nesting.model),
                Leases(self._client, project.name, self._owner, lambda text: self._notify("", text)),
                StagedVolumes(self._client, project.name, nesting, self._owner),
            )
            self._deployments[project.name] = made
            return made

    def _others(self, made: _Deployment) -> OtherRuns:
        return OtherRuns(self._client, self._containers, made.leases, made.project.name, self._owner)

    def _handle_of(
        self, container: Container, project: Project, run: str = "", *, attended: Collection[str] = ()
    ) -> Handle:
        data = {
            "id": container.id,
            "name": container.name,
            "project": project.name,
            "job": bool(container.run),
            "address": container.address,
            "orphan": container.owner is not None and not container.owner.lives(self._client),
            "began": container.created,
            "left": f"docker logs {container.name}",
        }
        if container.detached:
            data |= {"detached": True, "deadline": container.deadline, "attended": container.run in attended}
        return Handle(container.service, self.name, container.run or run, data)


def _outliving(detached: Detached) -> dict[str, str]:
    """The labels of a job that outlives who starts it."""
    return {**detached.labels, DEADLINE: "" if detached.deadline is None else f"{detached.deadline:.3f}"}
