"""One service of a plan at work: started, listened to, seen to its end, started again, stopped."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gigogne.core.commands import only_idles
from gigogne.core.engine import Engine, Handle, Run, State, Status
from gigogne.core.events import Event, Exited, Healthy, Notice, Output, Restarting, Skipped, Started, Stopped, Stopping
from gigogne.core.model import Kind
from gigogne.core.outcome import Outcome, Verdict
from gigogne.core.plan import Action, Step
from gigogne.errors import GigogneError
from gigogne.orchestrators.restart import RestartPolicy

__all__ = ["Surroundings", "Task"]

_POLL = 0.05
# A job that is still at it after this many seconds may be a server in truth.
_LONG = 120.0
# `psycopg.errors.UndefinedTable: relation …`, `error: no such bucket`: what comes after it only points into it.
_NAMES_ITSELF = re.compile(r"[\w.]+: \S")
TIMED_OUT = 124  # as timeout(1)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the tasks of one run share.

    A task calls `changed` from its own thread when it has started or is healthy, and `ended` when it has ended by
    itself. `hurry` is set when services have no time left to stop in; `patient` says that a restart policy is followed
    for ever.
    """

    engine: Engine
    run: Run
    emit: Callable[[Event], None]
    changed: Callable[[Task], None]
    ended: Callable[[Task], None]
    hurry: threading.Event
    job_timeout: float | None
    patient: bool


@dataclass(frozen=True, slots=True)
class _End:
    """How one try ended; `final` when no restart policy can help."""

    code: int
    detail: str = ""
    final: bool = False


class Task:
    """One launch of a plan on its way. Its attributes are for reading.

    Attributes:
        step: What the plan says.
        outcome: What became of it so far.
        handle: The service of the present try.
        launched: It is, or was, being started.
        started: A try has started.
        healthy: Its health check has passed.
        ready: Its health check has passed, or it has started and has none.
        done: Nothing more will come of it.
        adopted: Another run started it.
    """

    def __init__(self, step: Step, surroundings: Surroundings, *, awaited: bool) -> None:
        """`awaited` says that others wait for its health or its success."""
        kind = Kind.SERVER if step.action is Action.START else Kind.JOB
        self.step = step
        self.outcome = Outcome(step.service, kind)
        self.handle: Handle | None = None
        self.launched = self.started = self.healthy = self.ready = self.done = self.adopted = False
        self._around = surroundings
        self._service = surroundings.run.project.services[step.service]
        self._awaited = awaited
        self._began = 0.0
        # Held while the service is being started, so that who stops it finds either nothing or all of it.
        self._starting = threading.Lock()
        self._ending = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"task-{step.service}", daemon=True)
        self._reader: threading.Thread | None = None

    @property
    def name(self) -> str:
        """The service's name."""
        return self.step.service

    def launch(self) -> None:
        """Start the service, and see to it from a thread of its own."""
        self.launched, self._began = True, time.monotonic()
        self._thread.start()

    def adopt(self, handle: Handle) -> None:
        """See to a server that another run has started."""
        self.handle, self.adopted, self.outcome.verdict = handle, True, Verdict.SERVED
        self.launch()

    def skip(self, reason: str) -> None:
        """Give it up before its start."""
        self.done, self.outcome.reason = True, reason
        self._around.emit(Skipped(self.name, reason))

    def stop(self, *, interrupted: bool) -> None:
        """Stop the service, within its grace period, and wait for all that it said; nothing where it has ended."""
        with self._ending:
            ended = self.done or self.outcome.code is not None
            if not ended:
                self._stopping.set()
                served = self.outcome.kind is Kind.SERVER and not interrupted
                self.outcome.verdict = Verdict.SERVED if served else Verdict.STOPPED
        if ended:
            self._thread.join()
            return
        # Who only idles has nothing to bring to an end, and is deaf to its stop signal.
        hurry = self._around.hurry.is_set() or only_idles(self._service)
        grace = 0.0 if hurry else self._service.stop_grace_period
        self._around.emit(Stopping(self.name, grace))
        with self._starting:
            handle = self.handle
        if handle is not None:
            self._stop(handle, grace)
        self._thread.join()
        self.outcome.seconds = time.monotonic() - self._began
        self.done = True
        self._around.emit(Stopped(self.name))

    def release(self) -> None:
        """Leave the service to the runs that need it: what restarts it from now on is theirs."""
        with self._ending:
            self._stopping.set()
            self.outcome.verdict, self.outcome.seconds = Verdict.SERVED, time.monotonic() - self._began
        with self._starting:  # what is being started is there then, or nothing is
            pass

    def _stop(self, handle: Handle, grace: float) -> None:
        stopper = threading.Thread(target=self._ask_to_end, args=(handle, grace), daemon=True)
        stopper.start()
        while stopper.is_alive():
            stopper.join(0.1)
            if grace and self._around.hurry.is_set():
                grace = 0.0
                self._ask_to_end(handle, grace)

    def _ask_to_end(self, handle: Handle, grace: float) -> None:
        try:
            self._around.engine.stop(handle, grace=grace)
        except GigogneError as error:  # a daemon that is gone
            self._around.emit(Notice(self.name, f"not stopped: {error.message}"))

    def _live(self) -> None:
        """Try, and try again as the restart policy says; whatever the engine meets, who waits must hear of the end."""
        policy = RestartPolicy(self._service.restart, self.outcome.kind, self._around.patient)
        while True:
            tried = time.monotonic()
            try:
                end = self._try()
            except Exception as error:  # a thread that dies of it would leave the run waiting for ever
                text = str(error) or type(error).__name__
                end = _End(error.exit_code if isinstance(error, GigogneError) else 4, text, final=True)
            self._discard()
            if self._stopping.is_set():
                return
            pause = None if end.final else policy.pause(end.code, time.monotonic() - tried)
            if pause is None:
                break
            self._around.emit(Restarting(self.name, end.code, pause, policy.restarts))
            with self._starting:
                self.handle, self.started, self.healthy, self.ready = None, False, False, False
            if self._stopping.wait(pause):
                return
        if policy.restarts and end.code and not end.detail:
            end = _End(end.code, f"failed after {policy.restarts} restart{'s' if policy.restarts > 1 else ''}")
        self._end(end)

    def _try(self) -> _End:
        """Start the service unless it runs, and see it to its end."""
        with self._starting:
            if self._stopping.is_set():
                return _End(0)
            if self.handle is None:
                try:
                    self.handle = self._around.engine.start(self._service, self._around.run)
                except GigogneError as error:
                    text = f"{error.message}{f' — {error.hint}' if error.hint else ''}"
                    if not self._stopping.is_set():  # else it was ended by us
                        self._around.emit(Notice(self.name, text))
                    return _End(error.exit_code, error.message, final=True)
                # Another run may have started the same server meanwhile, which is then used by both.
                self.adopted = self.handle.run != self._around.run.id
            handle, self.started = self.handle, True
        data = handle.data
        self._around.emit(
            Started(
                self.name,
                str(self.outcome.kind),
                adopted=self.adopted,
                detail=str(data.get("title", "")),
                address=str(data.get("address", "")),
            )
        )
        self._around.changed(self)
        self._reader = threading.Thread(target=self._read, args=(handle,), name=f"read-{self.name}", daemon=True)
        self._reader.start()
        return self._see_to_the_end(handle)

    def _read(self, handle: Handle) -> None:
        since = time.time() if self.adopted else 0.0  # what it said to another run is not said again
        for line in self._around.engine.logs(handle, follow=True, since=since):
            text = line.text.strip()
            if text and line.stream == "stdout":
                self.outcome.last_line = text
            elif text and (_NAMES_ITSELF.match(line.text) or not _NAMES_ITSELF.match(self.outcome.last_error)):
                self.outcome.last_error = text
            self._around.emit(Output(self.name, line.stream, line.text))

    def _see_to_the_end(self, handle: Handle) -> _End:
        """Wait for the health of a server, then for the end of the service."""
        if self.outcome.kind is Kind.SERVER:
            status = self._watch_health(handle)
            if status.state is State.UNHEALTHY:
                self._stop_in_vain(handle)
                return _End(1, f"unhealthy: {status.detail}" if status.detail else "unhealthy", final=True)
            status = self._around.engine.wait(handle, timeout=None)
        else:
            status = self._wait_for_job(handle)
            if status.state is not State.EXITED:
                self._stop_in_vain(handle)
                return _End(TIMED_OUT, f"ended after {self._around.job_timeout:g} s (--job-timeout)", final=True)
        self._join_reader()
        return _End(status.code or 0, status.detail, final=status.settled)

    def _watch_health(self, handle: Handle) -> Status:
        while (status := self._around.engine.status(handle)).state is State.STARTING:
            time.sleep(_POLL)
        if status.state is State.HEALTHY:
            self.healthy = True
            self._around.emit(Healthy(self.name, time.monotonic() - self._began))
        if status.state in (State.HEALTHY, State.RUNNING):
            self.ready = True
            self._around.changed(self)
        return status

    def _wait_for_job(self, handle: Handle) -> Status:
        """Wait for the end of a job as long as it may take, and name one that takes suspiciously long."""
        limit, engine = self._around.job_timeout, self._around.engine
        if limit is not None and limit <= _LONG:
            return engine.wait(handle, timeout=limit)
        status = engine.wait(handle, timeout=_LONG)
        if status.state is not State.EXITED:
            text = (
                f"still running after {_LONG:.0f} s; "
                "if it is a server, label it gigogne.kind: server; --job-timeout ends it"
            )
            self._around.emit(Notice(self.name, text))
            status = engine.wait(handle, timeout=limit and limit - _LONG)
        return status

    def _stop_in_vain(self, handle: Handle) -> None:
        """Stop what would not come right by itself, unless it is another run's."""
        if not self.adopted:
            self._around.engine.stop(handle, grace=self._service.stop_grace_period)
            self._join_reader()

    def _discard(self) -> None:
        """Give back what the ended try holds; a failure of that is no failure of the service."""
        if self.handle is not None and not self.adopted:
            self._join_reader()
            with contextlib.suppress(GigogneError):
                self._around.engine.discard(self.handle)

    def _join_reader(self) -> None:
        """All that a service wrote comes before the news of its end."""
        if self._reader is not None:
            self._reader.join()

    def _end(self, end: _End) -> None:
        """Note the end of a service that ended by itself."""
        outcome = self.outcome
        with self._ending:
            if self._stopping.is_set():
                return
            outcome.seconds, outcome.code, outcome.reason = time.monotonic() - self._began, end.code, end.detail
            # A server that others need healthy and that ended before is a failure, whatever its code.
            early = outcome.kind is Kind.SERVER and not self.healthy and self._awaited
            outcome.verdict = Verdict.FAILED if end.code or end.detail or early else Verdict.SUCCEEDED
        if self.started:
            self._around.emit(Exited(self.name, end.code, outcome.seconds, str(outcome.kind), end.detail))
        # Last, so that whoever sees the end of the service has seen the news of it.
        self.done = True
        self._around.ended(self)
