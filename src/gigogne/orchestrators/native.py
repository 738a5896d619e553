"""Our own runner: carries out a plan on one engine, independent jobs side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from gigogne.core.engine import Engine, Handle, Run
from gigogne.core.events import Event, Notice, RunEnded, RunStarted, Waiting
from gigogne.core.graph import kinds
from gigogne.core.model import Condition, Kind
from gigogne.core.outcome import Result, Verdict
from gigogne.core.plan import Plan
from gigogne.errors import GigogneError
from gigogne.orchestrators.backlog import Backlog
from gigogne.orchestrators.reaper import GRACE, is_overdue
from gigogne.orchestrators.task import Surroundings, Task

__all__ = ["TERMINATED", "NativeOrchestrator"]

# The main thread never waits longer in one piece: the system may hand a signal to another thread, and then Python's
# handler runs only when the main thread runs again. Windows wants it too.
_BREATH = 0.2
# The exit codes of what Ctrl-C and SIGTERM end.
_CTRL_C, TERMINATED = 130, 143


class NativeOrchestrator:
    """Carries out one plan.

    Args:
        engine: Where the services run.
        run: The run that they belong to.
        emit: Is told each event, from several threads.
        jobs: How many jobs run side by side at most.
        keep_going: After a failure, go on with what does not depend on it.
        job_timeout: Seconds after which a job is ended and has failed with 124; None for ever.
    """

    def __init__(
        self,
        engine: Engine,
        run: Run,
        emit: Callable[[Event], None],
        *,
        jobs: int = 4,
        keep_going: bool = False,
        job_timeout: float | None = None,
    ) -> None:
        self._engine = engine
        self._run = run
        self._emit = emit
        self._jobs = jobs
        self._keep_going = keep_going
        self._job_timeout = job_timeout
        self._tasks: dict[str, Task] = {}
        self._wake: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._interrupt = 0
        self._hurry = threading.Event()
        self._code = 0
        self._joined = False  # other runs know of this one

    def interrupt(self, code: int) -> None:
        """End the run with this exit code; a second call ends it at once. Safe in a signal handler."""
        if self._interrupt:
            self._hurry.set()
        self._interrupt = self._interrupt or code
        self._wake.put(None)

    def execute(self, plan: Plan) -> Result:
        """Carry out the plan; everything it started is stopped when this returns, but what another run needs."""
        began = time.monotonic()
        self._tasks = self._tasks_of(plan, patient=plan.stays)
        self._emit(RunStarted("", self._run.id, plan.project, str(self._engine), plan.services))
        try:
            if self._prepare():
                self._adopt()
                self._schedule(lambda task: plan.stays or task.outcome.kind is Kind.JOB)
        finally:
            self._stop_all()
        code = self._interrupt or self._code
        result = Result(
            self._run.id, code, tuple(task.outcome for task in self._tasks.values()), time.monotonic() - began
        )
        self._emit(RunEnded("", code, result.seconds))
        return result

    def bring_up(self, plan: Plan) -> tuple[Task, ...]:
        """Start the servers of a plan, and let go of them when all are ready: the run goes on without this process.

        The tasks, in the order of the plan. Where one is not ready, its outcome says why, and all are done: what was
        started is stopped again. What else the run needs it goes on needing.
        """
        self._tasks = self._tasks_of(plan, patient=False, awaited=plan.services)
        tasks, up = tuple(self._tasks.values()), False
        try:
            if self._prepare():
                self._adopt()
                self._schedule(lambda task: not task.ready)
            up = not self._interrupt and all(task.ready and not task.done for task in tasks)
        finally:
            if not up:
                self._stop_all(last=set(plan.services).issuperset(self._run.services))
        for task in tasks if up else ():
            task.release()
        return tasks

    def _tasks_of(self, plan: Plan, *, patient: bool, awaited: Iterable[str] = ()) -> dict[str, Task]:
        around = Surroundings(
            engine=self._engine,
            run=self._run,
            emit=self._emit,
            changed=self._wake.put,
            ended=self._ended,
            hurry=self._hurry,
            job_timeout=self._job_timeout,
            patient=patient,
        )
        needs = [need for step in plan.launches for need in step.needs]
        awaited = {need.service for need in needs if need.condition is not Condition.STARTED} | set(awaited)
        return {step.service: Task(step, around, awaited=step.service in awaited) for step in plan.launches}

    def _ended(self, task: Task) -> None:
        if task.outcome.verdict is Verdict.FAILED:
            self._code = self._code or task.outcome.code or 1
        self._wake.put(task)

    def _prepare(self) -> bool:
        """Prepare all services before the first one starts; a failure here has started nothing.

        False when the run was interrupted meanwhile, which makes what prepares fail.

        Raises:
            GigogneError: What the first failing one met.
        """
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="prepare") as pool:
            futures = [pool.submit(self._prepare_one, name) for name in self._tasks]
            waiting: set[Future[None]] = set(futures)
            while waiting:
                waiting = wait(waiting, timeout=_BREATH).not_done
                if self._interrupt:
                    self._engine.cancel()
            try:
                for future in futures:
                    future.result()
            except GigogneError:
                if not self._interrupt:
                    raise
        return not self._interrupt

    def _prepare_one(self, service: str) -> None:
        if not self._interrupt:
            self._engine.prepare(self._run.project.services[service], self._run)

    def _adopt(self) -> None:
        """Take over what runs already: servers are used as they are, jobs whose supervisor died are ended."""
        with self._engine.turn(self._run, lambda: bool(self._interrupt)):
            self._joined = True
            found = self._engine.find(self._run.project)
            for handle in found:
                task = self._tasks.get(handle.service)
                # A server may have several containers: the first stands for all.
                if task is not None and task.outcome.kind is Kind.SERVER and not task.launched:
                    task.adopt(handle)
        kind = kinds(self._run.project) if found else {}
        for handle in found:
            if handle.data.get("orphan") and kind.get(handle.service) is Kind.JOB:
                self._end_left(handle, f"run {handle.run} left it behind when it was killed")
            elif is_overdue(handle, time.time()):
                self._end_left(handle, "its deadline has passed, and nobody attends to it")

    def _end_left(self, handle: Handle, why: str) -> None:
        self._emit(Notice(handle.service, f"ended: {why}"))
        service = self._run.project.services.get(handle.service)
        self._engine.stop(handle, grace=service.stop_grace_period if service else GRACE)
        self._engine.discard(handle)

    def _schedule(self, busy: Callable[[Task], bool]) -> None:
        """Launch what can be launched, until nothing is left to wait for: no task at work is `busy`."""
        for task in self._tasks.values():
            waits = [need.service for need in task.step.needs]
            if waits:
                self._emit(Waiting(task.name, ", ".join(waits)))
        backlog = Backlog(self._tasks)
        at_work = {task for task in self._tasks.values() if task.launched}
        while not self._interrupt and (self._keep_going or not self._code):
            for task in self._launchable(backlog, at_work):
                task.launch()
                at_work.add(task)
            if not (backlog or any(map(busy, at_work))):
                return
            backlog.news(self._changes())
            at_work = {task for task in at_work if not task.done}

    def _launchable(self, backlog: Backlog, at_work: set[Task]) -> Iterator[Task]:
        """Of the tasks that can be launched, those that there is room for: only jobs take room."""
        room = self._jobs - sum(task.outcome.kind is Kind.JOB for task in at_work)
        for _ in range(len(backlog.able)):
            task = backlog.able.popleft()
            if task.outcome.kind is Kind.JOB and room <= 0:
                backlog.able.append(task)
                continue
            room -= task.outcome.kind is Kind.JOB
            yield task

    def _changes(self) -> list[Task]:
        """The tasks for which something has changed, as soon as there are any; none after a breath, or a signal."""
        changed: list[Task | None] = []
        with contextlib.suppress(queue.Empty):
            changed.append(self._wake.get(timeout=_BREATH))
            while True:
                changed.append(self._wake.get_nowait())
        return [task for task in changed if task is not None]

    def _stop_all(self, *, last: bool = True) -> None:
        """Stop what this run needed and no other one does, each service after those that depend on it.

        It is the `last` that others hear of the run, unless that goes on with what it has started before.
        """
        for task in self._tasks.values():
            if not task.launched and not task.done:
                task.skip("interrupted" if self._interrupt else "the run ended before")
        at_work = [task for task in self._tasks.values() if task.launched and not task.done]
        if self._interrupt and at_work and not self._hurry.is_set():
            again = "; Ctrl-C again ends it at once" if self._interrupt == _CTRL_C else ""
            self._emit(Notice("", f"stopping what runs{again}"))
        self._stop([task for task in at_work if task.outcome.kind is Kind.JOB])
        if not self._joined:
            return
        with self._engine.turn(self._run, self._hurry.is_set, last=last) as needed:
            kept = [t for t in at_work if t.outcome.kind is Kind.SERVER and t.name in needed]
            for task in kept:
                task.release()
                ours = task.handle is not None and task.handle.run
                why = "another run needs it" if ours else "it ran before this run"
                self._emit(Notice(task.name, f"stays up: {why}"))
            while running := [task for task in at_work if not task.done and task not in kept]:
                names = {need.service for task in running for need in task.step.needs}
                self._stop([task for task in running if task.name not in names] or running)

    def _stop(self, tasks: list[Task]) -> None:
        threads = [
            threading.Thread(target=task.stop, kwargs={"interrupted": bool(self._interrupt)}, daemon=True)
            for task in tasks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                if self._interrupt:
                    self._engine.cancel()  # a start may be long: a database that runs its first scripts
                thread.join(_BREATH)
