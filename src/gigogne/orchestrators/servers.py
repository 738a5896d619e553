"""The servers of a run that lives in several processes: one brings them up, another one stops them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from gigogne.core.commands import only_idles
from gigogne.core.engine import Engine, Handle, Run
from gigogne.core.events import Event, Notice, Output, Stopped, Stopping
from gigogne.core.graph import reachable, start_order, unknown_service
from gigogne.core.model import Project
from gigogne.core.plan import Action, Plan, Step
from gigogne.errors import GigogneError, ServiceError
from gigogne.orchestrators.native import TERMINATED, NativeOrchestrator
from gigogne.orchestrators.task import Task

__all__ = ["ServersStart", "stop_servers"]

# So many of the last lines of a server that was not ready are told.
_LAST_WORDS = 20


class ServersStart:
    """Servers on their way up, each after those of them that it depends on; then they are left to their run.

    What runs already is used as it is. What else they depend on is the business of who orders the stages.

    Args:
        engine: Where they run.
        run: The detached run that needs them, until `stop_servers` or its deadline.
        servers: The services to bring up.
        emit: Is told each event; of what a server says, the last lines of one that is not ready.
    """

    def __init__(self, engine: Engine, run: Run, servers: Sequence[str], emit: Callable[[Event], None]) -> None:
        self._engine, self._run, self._servers, self._emit = engine, run, servers, emit
        self._orchestrator = NativeOrchestrator(engine, run, self._tell)

    def interrupt(self) -> None:
        """Give it up; a second call leaves what was started no time to end in. Not for a signal handler."""
        self._orchestrator.interrupt(TERMINATED)
        self._engine.cancel()

    def execute(self) -> list[Handle]:
        """Bring them up: they are healthy, or started where they have no health check.

        Else what was started is stopped again.

        Raises:
            ServiceError: A server ended or is unhealthy, or the start was given up.
            GigogneError: One could not be prepared, or the engine fails.
        """
        began = time.time()
        tasks = self._orchestrator.bring_up(_plan(self._run.project, self._servers))
        handles = [task.handle for task in tasks if task.handle is not None and not task.done]
        failed = next((task for task in tasks if task.outcome.code is not None), None)
        if failed is not None:
            raise _failure(self._engine, failed, began, self._emit)
        if len(handles) < len(tasks):
            names = ", ".join(task.name for task in tasks)
            raise ServiceError(f"the start of {names} was given up", "", service=tasks[0].name, exit_code=TERMINATED)
        return handles

    def _tell(self, event: Event) -> None:
        if not isinstance(event, Output):
            self._emit(event)


def stop_servers(engine: Engine, run: Run, servers: Sequence[str], emit: Callable[[Event], None]) -> None:
    """Stop those of these servers that nobody needs any more, each after those that depend on it; again does no harm.

    What another run needs stays up, and what no run has started. Any process may do this for the run.

    Args:
        engine: Where they run.
        run: The detached run that needs them no more.
        servers: The services to stop.
        emit: Is told each event.

    Raises:
        EngineError: The engine fails; the run keeps what is left, until the next try or its deadline.
    """
    with engine.turn(run, lambda: False, last=True) as needed:
        found = {handle.service: handle for handle in engine.find(run.project) if _is_server(handle, servers)}
        for name in sorted(needed.intersection(found)):
            emit(Notice(name, "stays up: another run needs it, or none has started it"))
        running = {name: handle for name, handle in found.items() if name not in needed}
        while running:
            below = {need for name in running for need in reachable(run.project, [name]) if need != name}
            turn = [handle for name, handle in running.items() if name not in below] or list(running.values())
            with ThreadPoolExecutor(len(turn), thread_name_prefix="stop") as pool:
                list(pool.map(lambda handle: _stop(engine, run.project, handle, emit), turn))
            running = {name: handle for name, handle in running.items() if handle not in turn}


def _plan(project: Project, servers: Sequence[str]) -> Plan:
    """The start of these servers, and of nothing else that they depend on."""
    for name in servers:
        if name not in project.services:
            raise unknown_service(name, project.services)
    order = start_order({name: service for name, service in project.services.items() if name in servers})
    needs = {name: tuple(d for d in project.services[name].depends_on if d.service in servers) for name in order}
    return Plan(
        project.name,
        tuple(servers),
        tuple(Step(Action.START, name, "a job needs it", needs[name]) for name in order),
    )


def _failure(engine: Engine, task: Task, began: float, emit: Callable[[Event], None]) -> ServiceError:
    """Why a server was not ready; its last words are told before. Earlier tries have said theirs before `began`."""
    if task.handle is not None:
        with contextlib.suppress(GigogneError):  # what is gone says nothing
            since = 0.0 if task.adopted else began
            for line in engine.logs(task.handle, follow=False, since=since, tail=_LAST_WORDS):
                emit(Output(task.name, line.stream, line.text))
    code = task.outcome.code or 1
    why = task.outcome.reason or f"it ended with exit code {task.outcome.code} before it was ready"
    hint = f"look at what it said, and at its healthcheck: and command: (gigogne logs {task.name})"
    return ServiceError(f"{task.name} is not up: {why}", hint, service=task.name, exit_code=code)


def _is_server(handle: Handle, servers: Sequence[str]) -> bool:
    return handle.service in servers and not handle.data.get("job", False)


def _stop(engine: Engine, project: Project, handle: Handle, emit: Callable[[Event], None]) -> None:
    service = project.services[handle.service]
    grace = 0.0 if only_idles(service) else service.stop_grace_period
    emit(Stopping(handle.service, grace))
    engine.stop(handle, grace=grace)
    emit(Stopped(handle.service))
