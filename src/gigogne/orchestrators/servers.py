"""The servers of a run that lives in several processes: one brings them up, another one stops them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from gigogne.core.commands import only_idles
from gigogne.core.engine import Engine, Handle, Run
from gigogne.core.events import Event, Notice, Output, Stopped, Stopping
from gigogne.core.graph import reachable, start_order, unknown_service
from gigogne.core.model import Project
from gigogne.core.plan import Action, Plan, Step
from gigogne.errors import GigogneError, ServiceError
from gigogne.orchestrators.native import NativeOrchestrator
from gigogne.orchestrators.task import Task

__all__ = ["start_servers", "stop_servers"]

# So many of the last lines of a server that was not ready are told.
_LAST_WORDS = 20
# How often it is asked whether the start is to be given up, in seconds; and the exit code of what SIGTERM ends.
_BREATH, _TERMINATED = 0.2, 143
# After so many seconds what is being given up has to hurry: Airflow's SIGKILL comes after five.
_ORDERLY = 3.0


def start_servers(
    engine: Engine,
    run: Run,
    servers: Sequence[str],
    emit: Callable[[Event], None],
    *,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Handle]:
    """Bring up these servers, each after those of them that it depends on, and leave them to the run.

    What runs already is used as it is. They are ready when this returns: healthy, or started where they have no health
    check. Else what was started is stopped again. What else they depend on is the business of who orders the stages.

    Args:
        engine: Where they run.
        run: The detached run that needs them, until `stop_servers` or its deadline.
        servers: The services to bring up.
        emit: Is told each event; of what a server says, the last lines of one that is not ready.
        interrupted: Says whether the start is to be given up.

    Raises:
        ServiceError: A server ended or is unhealthy, or the start was given up.
        GigogneError: One could not be prepared, or the engine fails.
    """

    def tell(event: Event) -> None:
        if not isinstance(event, Output):
            emit(event)

    began, orchestrator = time.time(), NativeOrchestrator(engine, run, tell)
    with _watched(interrupted, lambda: orchestrator.interrupt(_TERMINATED)):
        tasks = orchestrator.bring_up(_plan(run.project, servers))
    handles = [task.handle for task in tasks if task.handle is not None and not task.done]
    failed = next((task for task in tasks if task.outcome.code is not None), None)
    if failed is not None:
        raise _failure(engine, failed, began, emit)
    if len(handles) < len(tasks):
        names = ", ".join(task.name for task in tasks)
        raise ServiceError(f"the start of {names} was given up", "", service=tasks[0].name, exit_code=_TERMINATED)
    return handles


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


@contextlib.contextmanager
def _watched(condition: Callable[[], bool], act: Callable[[], None]) -> Iterator[None]:
    """While it holds, `act` is called when the condition has come to hold, and once more if that was of no avail."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_BREATH):
            if condition():
                act()
                if not over.wait(_ORDERLY):
                    act()
                return

    watching = threading.Thread(target=watch, name="watch", daemon=True)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()


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
