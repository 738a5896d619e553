"""The Docker engine: Docker Compose starts the services, the daemon tells what becomes of them."""

from __future__ import annotations

import contextlib
import functools
import secrets
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from gigogne.core.engine import Handle, Line, Run, State, Status
from gigogne.core.graph import kinds
from gigogne.core.model import Kind, Mount, MountType, Problem, Project, Service
from gigogne.core.nesting import Nesting, Place, PlaceKind, nest
from gigogne.engines.docker.compose import Compose, last_words
from gigogne.engines.docker.connection import telling
from gigogne.engines.docker.containers import KEEP, OWNER, RUN, TRY, Container, Containers
from gigogne.engines.docker.images import prepare_image
from gigogne.engines.docker.leases import Leases
from gigogne.engines.docker.logs import read_logs
from gigogne.engines.docker.owner import Owner
from gigogne.engines.docker.support import problems_of
from gigogne.engines.docker.volumes import StagedVolumes
from gigogne.errors import EngineError, GigogneError, ServiceError

if TYPE_CHECKING:
    from docker import DockerClient

__all__ = ["DockerEngine"]

# What a run needs to end beside the grace periods of its services, in seconds.
_PATIENCE, _BREATH = 20.0, 0.1
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
        shares = any(made.kinds[name] is Kind.SERVER for name in run.services)
        lock = leases.alone("turn", hurry) if shares else contextlib.nullcontext()
        with telling(self._client), lock:
            if last:
                yield leases.needed(besides=run.id) | self._strangers(made)
                self._sweep(made)
                leases.drop(run.id)
                made.staged.remove()
            else:
                self._sweep(made)
                yield leases.take(run.id, run.services)

    def _strangers(self, made: _Deployment) -> frozenset[str]:
        """The servers that run and that no run has started: they are the user's."""
        marks = made.leases.marks()
        running = [c for c in self._containers.of_project(made.project.name, ended=False) if not c.run]
        return frozenset(c.service for c in running if not self._ours(c, marks))

    def _ours(self, container: Container, marks: Mapping[str, str]) -> bool:
        """Whether a run has started a container for the life that it leads now."""
        if container.id not in marks:
            return False
        started, restarts = self._containers.life(container.id)
        # Its restart policy may have started it since; who else has, takes it over.
        return bool(restarts) or started == marks[container.id]

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
        with made.leases.alone(f"start-{service.name}"):
            running = self._containers.of_project(run.project.name, ended=False)
            found = [container for container in running if container.service == service.name and not container.run]
            if found:
                return self._handle_of(found[0], run.project)
            return self._start_server(service, run, made)

    def _start_job(self, service: Service, run: Run, made: _Deployment) -> Handle:
        with self._lock:
            self._tries[run.id, service.name] += 1
            number = self._tries[run.id, service.name]
        name = f"{run.project.name}-{service.name}-run-{run.id}-{number}"
        labels = {RUN: run.id, TRY: str(number), OWNER: str(self._owner), **({KEEP: "failed"} if self._keep else {})}
        words = [word for key, value in labels.items() for word in ("--label", f"{key}={value}")]
        words += ["--service-ports"] if service.ports else []
        words += ["--no-tty=false"] if service.raw.get("tty") else ["--no-tty"]
        done = made.compose.call(
            "run", "-d", "--no-deps", "-i=false", "--use-aliases", "--name", name, *words, service.name
        )
        if done.returncode:
            raise self._refusal(service, name, done.stderr)
        data = {"id": done.stdout.split()[-1], "name": name, "project": run.project.name, "job": True}
        data |= {"address": "", "orphan": False, "began": time.time(), "left": f"docker logs {name}"}
        return Handle(service.name, self.name, run.id, data)

    def _start_server(self, service: Service, run: Run, made: _Deployment) -> Handle:
        done = made.compose.call("up", "-d", "--no-deps", "--no-build", service.name)
        every = self._containers.of_project(run.project.name, ended=True)
        mine = [container for container in every if container.service == service.name and not container.run]
        if done.returncode or not mine:
            stillborn = next((container.name for container in mine if container.stillborn), "")
            raise self._refusal(service, stillborn, done.stderr)
        for container in mine:
            started, _ = self._containers.life(container.id)
            made.leases.mark(container.id, started)
        return self._handle_of(mine[0], run.project, run.id)

    def _refusal(self, service: Service, container: str, said: str) -> GigogneError:
        """Why Docker did not start a container; the one that it has made in vain is removed."""
        status = self._containers.status(container) if container else Status(State.EXITED)
        if container:
            self._containers.remove(container)
        if status.code in (126, 127):
            return ServiceError(
                f"{service.name}: {last_words(status.detail or said)}",
                "look at command: and entrypoint: of the service, and at what the image has",
                service=service.name,
                exit_code=status.code,
            )
        taken = "address already in use" in said or "port is already allocated" in said
        hint = "publish another port, or end what has this one" if taken else "gigogne doctor looks at Docker"
        return EngineError(f"{service.name}: Docker did not start it: {last_words(said)}", hint)

    @_told
    def status(self, handle: Handle) -> Status:
        """What the daemon says of the container; EXITED has its exit code."""
        return self._containers.status(handle.data["id"])

    def wait(self, handle: Handle, *, timeout: float | None) -> Status:
        """Wait for the end of the container, its restarts included."""
        return self._containers.wait(handle.data["id"], timeout)

    def logs(self, handle: Handle, *, follow: bool, since: float = 0.0, tail: int | None = None) -> Iterator[Line]:
        """What the daemon keeps of the container's output."""
        return read_logs(self._client, handle.data["id"], follow=follow, since=since, tail=tail)

    @_told
    def stop(self, handle: Handle, *, grace: float) -> None:
        """Its stop signal, then after `grace` seconds SIGKILL. A server's containers stay, as Compose leaves them."""
        stopped = [handle.data["id"]]
        if not handle.data["job"]:  # which may have several: scale, deploy.replicas
            running = self._containers.of_project(handle.data["project"], ended=False)
            stopped += [c.id for c in running if c.service == handle.service and not c.run and c.id not in stopped]
        with ThreadPoolExecutor(len(stopped)) as pool:
            list(pool.map(lambda container: self._containers.stop(container, grace), stopped))

    @_told
    def discard(self, handle: Handle) -> None:
        """Remove the container of a job, unless it failed and is to be kept; a server's stays."""
        if not handle.data["job"]:
            return
        if not (self._keep and self.status(handle).code):
            self._containers.remove(handle.data["id"])

    @_told
    def find(self, project: Project, *, ended: bool = False) -> list[Handle]:
        """The project's containers, whoever started them."""
        found = self._containers.of_project(project.name, ended=ended)
        return [self._handle_of(container, project) for container in found if container.running or ended]

    @_told
    def end_runs(self, project: Project) -> list[str]:
        """Ask the supervisors of the project's runs to end; of one out of reach, end the jobs."""
        leases = self._deployment(project).leases

        def living() -> dict[str, Owner]:
            others = {lease.run: lease.owner for lease in leases.all() if lease.owner and lease.owner != self._owner}
            return {run: owner for run, owner in others.items() if owner.lives(self._client)}

        found = living()
        far = {run for run, owner in found.items() if not owner.signal(signal.SIGTERM)}
        patience = _PATIENCE + max((service.stop_grace_period for service in project.services.values()), default=0)
        deadline = time.monotonic() + patience
        while living().keys() & found.keys() and time.monotonic() < deadline:
            for container in self._containers.of_project(project.name, ended=False):
                if container.run in far:
                    self._containers.stop(container.id, 10.0)
            time.sleep(_BREATH)
        return list(found)

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

    def _sweep(self, made: _Deployment) -> None:
        """Remove the ended containers of jobs that nobody waits for, and the marks of servers that have ended."""
        every = self._containers.of_project(made.project.name, ended=True)
        for container in every:
            if not container.run or container.running or container.owner is None:
                continue
            if container.owner != self._owner and container.owner.lives(self._client):
                continue
            if not (container.kept and self._containers.status(container.id).code):
                self._containers.remove(container.id)
        running = {container.id for container in every if container.running}
        for ended in made.leases.marks().keys() - running:
            made.leases.unmark(ended)

    def _handle_of(self, container: Container, project: Project, run: str = "") -> Handle:
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
        return Handle(container.service, self.name, container.run or run, data)
