"""Our own runner: carries out a plan on one engine, independent jobs side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait

from gigogne.core.engine import Engine, Handle, Run
from gigogne.core.events import Event, Notice, RunEnded, RunStarted, Waiting
from gigogne.core.graph import kinds
from gigogne.core.model import Condition, Dependency, Kind
from gigogne.core.outcome import Result, Verdict
from gigogne.core.plan import Action, Plan
from gigogne.errors import GigogneError
from gigogne.orchestrators.task import Surroundings, Task

__all__ = ["NativeOrchestrator"]

# The main thread never waits longer in one piece: the system may hand a signal to another thread, and then Python's
# handler runs only when the main thread runs again. Windows wants it too.
_BREATH = 0.2


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
        self._wake: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._interrupt = 0
        self._hurry = threading.Event()
        self._code = 0

    def interrupt(self, code: int) -> None:
        """End the run with this exit code; a second call ends it at once. Safe in a signal handler."""
        if self._interrupt:
            self._hurry.set()
        self._interrupt = self._interrupt or code
        self._wake.put(None)

    def execute(self, plan: Plan) -> Result:
        """Carry out the plan; everything it started is stopped when this returns, but what another run needs."""
        began = time.monotonic()
        stays = not any(step.action is Action.STOP for step in plan.steps)
        self._tasks = self._tasks_of(plan, patient=stays)
        self._emit(RunStarted("", self._run.id, plan.project, str(self._engine), plan.services))
        try:
            if self._prepare():
                self._adopt()
                self._schedule(stays)
        finally:
            self._stop_all()
        code = self._interrupt or self._code
        result = Result(
            self._run.id, code, tuple(task.outcome for task in self._tasks.values()), time.monotonic() - began
        )
        self._emit(RunEnded("", code, result.seconds))
        return result

    def _tasks_of(self, plan: Plan, *, patient: bool) -> dict[str, Task]:
        around = Surroundings(
            engine=self._engine,
            run=self._run,
            emit=self._emit,
            changed=lambda: self._wake.put(None),
            ended=self._ended,
            hurry=self._hurry,
            job_timeout=self._job_timeout,
            patient=patient,
        )
        needs = [need for step in plan.launches for need in step.needs]
        awaited = {need.service for need in needs if need.condition is not Condition.STARTED}
        return {step.service: Task(step, around, awaited=step.service in awaited) for step in plan.launches}

    def _ended(self, task: Task) -> None:
        if task.outcome.verdict is Verdict.FAILED:
            self._code = self._code or task.outcome.code or 1
        self._wake.put(None)

    def _prepare(self) -> bool:
        """Prepare all services before the first one starts; a failure here has started nothing.

        False when the run was interrupted meanwhile: a Ctrl-C reaches what prepares too, and makes it fail.

        Raises:
            GigogneError: What the first failing one met.
        """
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="prepare") as pool:
            futures = [pool.submit(self._prepare_one, name) for name in self._tasks]
            waiting: set[Future[None]] = set(futures)
            while waiting:
                waiting = wait(waiting, timeout=_BREATH).not_done
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
        with self._engine.turn(self._run):
            found = self._engine.find(self._run.project)
            for handle in found:
                task = self._tasks.get(handle.service)
                if task is not None and task.outcome.kind is Kind.SERVER:
                    task.adopt(handle)
        kind = kinds(self._run.project) if found else {}
        for handle in found:
            if handle.data.get("orphan") and kind.get(handle.service) is Kind.JOB:
                self._end_orphan(handle)

    def _end_orphan(self, handle: Handle) -> None:
        self._emit(Notice(handle.service, f"ended: run {handle.run} left it behind when it was killed"))
        self._engine.stop(handle, grace=self._run.project.services[handle.service].stop_grace_period)

    def _schedule(self, stays: bool) -> None:
        """Launch what can be launched, until nothing is left to wait for."""
        for task in self._tasks.values():
            waits = [need.service for need in task.step.needs]
            if waits:
                self._emit(Waiting(task.name, ", ".join(waits)))
        while not self._interrupt:
            open_tasks = [task for task in self._tasks.values() if not task.done]
            self._skip_hopeless(open_tasks)
            if self._code and not self._keep_going:
                return
            for task in self._ready(open_tasks):
                task.launch()
            pending = any(t.outcome.kind is Kind.JOB or not t.launched for t in open_tasks if not t.done)
            serving = stays and any(t.launched and not t.done for t in open_tasks)
            if not pending and not serving:
                return
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=_BREATH)
            with contextlib.suppress(queue.Empty):
                while True:  # one look answers all calls so far
                    self._wake.get_nowait()

    def _ready(self, tasks: list[Task]) -> Iterator[Task]:
        """The tasks whose conditions hold, as far as there is room for jobs."""
        running = sum(t.launched and not t.done and t.outcome.kind is Kind.JOB for t in tasks)
        for task in tasks:
            if task.launched or task.done:
                continue
            job = task.outcome.kind is Kind.JOB
            if (job and running >= self._jobs) or not all(map(self._holds, task.step.needs)):
                continue
            running += job
            yield task

    def _holds(self, need: Dependency) -> bool:
        task = self._tasks[need.service]
        if need.condition is Condition.STARTED:
            met = task.started
        elif need.condition is Condition.HEALTHY:
            met = task.healthy and not task.done
        else:
            met = task.outcome.verdict is Verdict.SUCCEEDED
        return met or (task.done and not need.required)

    def _skip_hopeless(self, tasks: list[Task]) -> None:
        """Give up the tasks that wait for what can no longer be, and those that wait for them.

        Tasks come in an order in which each follows what it waits for, so one look is enough.
        """
        for task in tasks:
            if task.launched or task.done:
                continue
            lost = next((n for n in task.step.needs if self._tasks[n.service].done and not self._holds(n)), None)
            if lost is not None:
                task.skip(f"{lost.service} {self._tasks[lost.service].outcome.verdict}")

    def _stop_all(self) -> None:
        """Stop what this run needed and no other one does, each service after those that depend on it."""
        for task in self._tasks.values():
            if not task.launched and not task.done:
                task.skip("interrupted" if self._interrupt else "the run ended before")
        with self._engine.turn(self._run, last=True) as needed:
            at_work = [task for task in self._tasks.values() if task.launched and not task.done]
            kept = [t for t in at_work if t.outcome.kind is Kind.SERVER and t.name in needed]
            for task in kept:
                self._emit(Notice(task.name, "stays up: another run needs it"))
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
                thread.join(_BREATH)
