"""Our own runner: carries out a plan on one engine, independent jobs side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from gigogne.core.engine import Engine, Handle, Run, State, Status
from gigogne.core.events import (
    Event,
    Exited,
    Healthy,
    Notice,
    Output,
    RunEnded,
    RunStarted,
    Skipped,
    Started,
    Stopped,
    Stopping,
    Waiting,
)
from gigogne.core.graph import kinds
from gigogne.core.model import Condition, Dependency, Kind, Service
from gigogne.core.outcome import Outcome, Result, Verdict
from gigogne.core.plan import Action, Plan, Step
from gigogne.errors import GigogneError

__all__ = ["NativeOrchestrator"]

_POLL = 0.05
# The main thread never waits longer in one piece: the system may hand a signal to another thread, and then Python's
# handler runs only when the main thread runs again. Windows wants it too.
_BREATH = 0.2
# A job that is still at it after this many seconds may be a server in truth.
_LONG = 120.0
TIMED_OUT = 124  # as timeout(1)


@dataclass(slots=True)
class _Task:
    """One launch on its way: waiting (no handle), started, ended."""

    step: Step
    outcome: Outcome
    handle: Handle | None = None
    launched: bool = False
    healthy: bool = False
    done: bool = False
    adopted: bool = False
    stopping: bool = False
    began: float = 0.0
    threads: list[threading.Thread] = field(default_factory=list)


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
        self._lock = threading.Lock()
        self._jobs = jobs
        self._keep_going = keep_going
        self._job_timeout = job_timeout
        self._tasks: dict[str, _Task] = {}
        self._wake: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._interrupt = 0
        self._hurry = threading.Event()
        self._code = 0
        self._failing = False

    def interrupt(self, code: int) -> None:
        """End the run with this exit code; a second call ends it at once. Safe in a signal handler."""
        if self._interrupt:
            self._hurry.set()
        self._interrupt = self._interrupt or code
        self._wake.put(None)

    def execute(self, plan: Plan) -> Result:
        """Carry out the plan; everything it started is stopped when this returns, but what ran before."""
        began = time.monotonic()
        self._tasks = {s.service: _Task(s, Outcome(s.service, _kind(s))) for s in plan.launches}
        self._emit(RunStarted("", self._run.id, plan.project, str(self._engine), plan.services))
        stays = not any(step.action is Action.STOP for step in plan.steps)
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

    def _prepare(self) -> bool:
        """Prepare all services before the first one starts; a failure here has started nothing.

        False when the run was interrupted meanwhile: a Ctrl-C reaches what prepares too, and makes it fail.

        Raises:
            GigogneError: What the first failing one met.
        """
        with ThreadPoolExecutor(self._jobs, thread_name_prefix="prepare") as pool:
            futures = [pool.submit(self._prepare_one, task.step.service) for task in self._tasks.values()]
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
            self._engine.prepare(self._service(service), self._run)

    def _adopt(self) -> None:
        """Take over what runs already: servers are used as they are, jobs whose supervisor died are ended."""
        kind = kinds(self._run.project)
        for handle in self._engine.find(self._run.project):
            task = self._tasks.get(handle.service)
            orphan = bool(handle.data.get("orphan"))
            if task is not None and task.outcome.kind is Kind.SERVER:
                task.handle, task.launched, task.began = handle, True, time.monotonic()
                task.adopted, task.outcome.verdict = not orphan, Verdict.SERVED
                self._follow(task)
            elif orphan and kind.get(handle.service) is Kind.JOB:
                self._emit(Notice(handle.service, f"ended: run {handle.run} left it behind when it was killed"))
                self._engine.stop(handle, grace=self._service(handle.service).stop_grace_period)

    def _schedule(self, stays: bool) -> None:
        """Launch what can be launched, until nothing is left to wait for."""
        for task in self._tasks.values():
            waits = [str(need.service) for need in task.step.needs]
            if waits:
                self._emit(Waiting(task.step.service, ", ".join(waits)))
        while not self._interrupt:
            self._skip_hopeless()
            if self._failing and not self._keep_going:
                return
            for task in list(self._ready()):
                self._launch(task)
            pending = [t for t in self._tasks.values() if not t.done and (t.outcome.kind is Kind.JOB or not t.launched)]
            serving = stays and any(t.launched and not t.done for t in self._tasks.values())
            if not pending and not serving:
                return
            with contextlib.suppress(queue.Empty):
                self._wake.get(timeout=_BREATH)

    def _ready(self) -> Iterator[_Task]:
        """The tasks whose conditions hold, as far as there is room for jobs."""
        running = sum(t.launched and not t.done and t.outcome.kind is Kind.JOB for t in self._tasks.values())
        for task in self._tasks.values():
            if task.launched or task.done or not all(map(self._holds, task.step.needs)):
                continue
            if task.outcome.kind is Kind.JOB:
                if running >= self._jobs:
                    continue
                running += 1
            yield task

    def _holds(self, need: Dependency) -> bool:
        task = self._tasks[need.service]
        if need.condition is Condition.STARTED:
            met = task.handle is not None
        elif need.condition is Condition.HEALTHY:
            met = task.healthy and not task.done
        else:
            met = task.outcome.verdict is Verdict.SUCCEEDED
        return met or (task.done and not need.required)

    def _skip_hopeless(self) -> None:
        """Give up the tasks that wait for what can no longer be, and those that wait for them."""
        changed = True
        while changed:
            changed = False
            for task in self._tasks.values():
                if task.launched or task.done:
                    continue
                lost = next((n for n in task.step.needs if self._tasks[n.service].done and not self._holds(n)), None)
                if lost is not None:
                    self._skip(task, f"{lost.service} {self._tasks[lost.service].outcome.verdict}")
                    changed = True

    def _skip(self, task: _Task, reason: str) -> None:
        task.done, task.outcome.reason = True, reason
        self._emit(Skipped(task.step.service, reason))

    def _launch(self, task: _Task) -> None:
        task.launched, task.began = True, time.monotonic()
        try:
            task.handle = self._engine.start(self._service(task.step.service), self._run)
        except GigogneError as error:
            code = error.exit_code
            self._emit(Notice(task.step.service, f"{error.message}{f' — {error.hint}' if error.hint else ''}"))
            self._end(task, code, error.message)
            return
        self._follow(task)

    def _follow(self, task: _Task) -> None:
        """Watch a started service from threads of its own: one reads what it says, one waits for its end."""
        assert task.handle is not None
        data, ours = task.handle.data, task.handle.run == self._run.id
        detail, address = str(data.get("title", "")), str(data.get("address", ""))
        kind = str(task.outcome.kind)
        self._emit(Started(task.step.service, kind, adopted=not ours, detail=detail, address=address))
        for target in (self._read, self._watch):
            thread = threading.Thread(
                target=target, args=(task,), name=f"{target.__name__}-{task.step.service}", daemon=True
            )
            task.threads.append(thread)
            thread.start()

    def _read(self, task: _Task) -> None:
        assert task.handle is not None
        for line in self._engine.logs(task.handle, follow=True):
            if task.adopted:
                continue
            text = line.text.strip()
            if text and line.stream == "stdout":
                task.outcome.last_line = text
            elif text:
                task.outcome.last_error = text
            self._emit(Output(task.step.service, line.stream, line.text))

    def _watch(self, task: _Task) -> None:
        """See the service to its end, whatever the engine meets: who waits for it must hear of it."""
        try:
            self._see_to_the_end(task)
        except (GigogneError, OSError) as error:
            self._end(task, error.exit_code if isinstance(error, GigogneError) else 4, str(error))

    def _see_to_the_end(self, task: _Task) -> None:
        """Wait for the health of a server, then for the end of the service."""
        assert task.handle is not None
        if task.outcome.kind is Kind.SERVER:
            status = self._watch_health(task)
            if status.state is State.UNHEALTHY:
                if not task.adopted:
                    self._engine.stop(task.handle, grace=self._service(task.step.service).stop_grace_period)
                    self._join_reader(task)
                self._end(task, 1, status.detail or "unhealthy: its health check failed too often")
                return
        limit = self._job_timeout if task.outcome.kind is Kind.JOB else None
        long = _LONG if task.outcome.kind is Kind.JOB else None
        status = self._engine.wait(task.handle, timeout=min(filter(None, (limit, long)), default=None))
        if status.state is not State.EXITED and long and (limit is None or limit > long):
            text = (
                f"still running after {long:.0f} s; "
                "if it is a server, label it gigogne.kind: server; --job-timeout ends it"
            )
            self._emit(Notice(task.step.service, text))
            status = self._engine.wait(task.handle, timeout=limit and limit - long)
        if status.state is not State.EXITED:
            self._engine.stop(task.handle, grace=self._service(task.step.service).stop_grace_period)
            self._join_reader(task)
            self._end(task, TIMED_OUT, f"ended after {limit:g} s (--job-timeout)")
            return
        self._join_reader(task)
        self._end(task, status.code or 0, status.detail)

    def _watch_health(self, task: _Task) -> Status:
        assert task.handle is not None
        while (status := self._engine.status(task.handle)).state is State.STARTING:
            time.sleep(_POLL)
        if status.state is State.HEALTHY:
            task.healthy = True
            self._emit(Healthy(task.step.service, time.monotonic() - task.began))
            self._wake.put(None)
        return status

    def _join_reader(self, task: _Task) -> None:
        """All that a service wrote comes before the news of its end."""
        task.threads[0].join()

    def _end(self, task: _Task, code: int, detail: str = "") -> None:
        """Note the end of a service that ended by itself, and what it means for the run."""
        outcome = task.outcome
        with self._lock:
            if task.stopping:
                return
            outcome.seconds, outcome.code, outcome.reason = time.monotonic() - task.began, code, detail
            # A server that others need healthy and that ended before is a failure, whatever its code.
            early = outcome.kind is Kind.SERVER and not task.healthy and self._awaited(task)
            outcome.verdict = Verdict.FAILED if code or detail or early else Verdict.SUCCEEDED
            if outcome.verdict is Verdict.FAILED:
                self._code = self._code or code or 1
                self._failing = True
        if task.handle is not None:
            self._emit(Exited(task.step.service, code, outcome.seconds, str(outcome.kind), detail))
        # Last, so that whoever sees the end of the service has seen the news of it.
        task.done = True
        self._wake.put(None)

    def _awaited(self, task: _Task) -> bool:
        """Whether another service waits for this one's health or completion."""
        return any(
            need.service == task.step.service and need.condition is not Condition.STARTED
            for other in self._tasks.values()
            for need in other.step.needs
        )

    def _stop_all(self) -> None:
        """Stop what this run started, each service after those that depend on it."""
        for task in self._tasks.values():
            if not task.launched and not task.done:
                self._skip(task, "interrupted" if self._interrupt else "the run ended before")
        shared = self._in_use_elsewhere()
        while running := self._running(shared):
            names = {need.service for task in running for need in task.step.needs}
            last = [task for task in running if task.step.service not in names] or running
            threads = [threading.Thread(target=self._stop, args=(task,)) for task in last]
            for thread in threads:
                thread.start()
            for thread in threads:
                while thread.is_alive():
                    thread.join(_BREATH)

    def _running(self, shared: bool) -> list[_Task]:
        started = [t for t in self._tasks.values() if t.handle is not None and not t.done and not t.adopted]
        return [t for t in started if not (shared and t.outcome.kind is Kind.SERVER)]

    def _in_use_elsewhere(self) -> bool:
        """Whether jobs of another run of this project are at work: they keep the servers."""
        others = [h for h in self._engine.find(self._run.project) if h.run != self._run.id and not h.data.get("orphan")]
        busy = [
            h.service for h in others if h.service not in self._tasks or self._tasks[h.service].outcome.kind is Kind.JOB
        ]
        if busy:
            self._emit(Notice("", f"the servers stay up: another run needs them ({', '.join(busy)})"))
        return bool(busy)

    def _stop(self, task: _Task) -> None:
        assert task.handle is not None
        service = self._service(task.step.service)
        grace = 0.0 if self._hurry.is_set() else service.stop_grace_period
        server = task.outcome.kind is Kind.SERVER
        with self._lock:
            if task.done or task.outcome.code is not None:
                return
            task.stopping = True
            task.outcome.verdict = Verdict.SERVED if server and not self._interrupt else Verdict.STOPPED
        self._emit(Stopping(task.step.service, grace))
        stopper = threading.Thread(target=self._engine.stop, args=(task.handle,), kwargs={"grace": grace}, daemon=True)
        stopper.start()
        while stopper.is_alive():
            stopper.join(0.1)
            if grace and self._hurry.is_set():
                grace = 0.0
                self._engine.stop(task.handle, grace=0.0)
        self._join_reader(task)
        task.outcome.seconds = time.monotonic() - task.began
        task.done = True
        self._emit(Stopped(task.step.service))

    def _service(self, name: str) -> Service:
        return self._run.project.services[name]


def _kind(step: Step) -> Kind:
    return Kind.SERVER if step.action is Action.START else Kind.JOB
