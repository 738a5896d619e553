"""The task of one service at work: what `ServiceOperator` does on a worker, before and after its deferral."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NoReturn

from gigogne.airflow.context import job_run, variables
from gigogne.airflow.execution import (
    ORDERLY,
    Execution,
    Interruption,
    check,
    guard,
    job_service,
    open_engine,
    open_project,
    read_project,
    selection,
)
from gigogne.airflow.job import Job
from gigogne.airflow.logs import TaskLog
from gigogne.airflow.masking import mask_secrets
from gigogne.airflow.outcome import fail, skip, time_out, told
from gigogne.core.engine import Engine, Status
from gigogne.core.environment import with_variables
from gigogne.core.model import Project
from gigogne.errors import EngineError, GigogneError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from gigogne.airflow.operators import ServiceOperator

__all__ = ["ServiceTask"]

# The scheduler ends a deferred task that no triggerer gives back so many seconds after its deadline.
_AFTER_DEADLINE = 60.0


class ServiceTask:
    """One try of the task, or what is left of it after a deferral."""

    def __init__(self, operator: ServiceOperator, context: Context) -> None:
        self._operator, self._context, self._log = operator, context, TaskLog()
        self._service = operator.service
        self._targets = (operator.service, *operator.servers)

    def execute(self) -> Any:
        """Run the job to its end, or leave it to the triggerer.

        Raises:
            TaskDeferred: It takes longer than `defer_after`.
            AirflowException: It failed.
        """
        operator = self._operator
        with told():
            engine, project = self._open()
            check(engine, project, [self._service], self._log)
            timeout = operator.execution_timeout.total_seconds() if operator.execution_timeout else None
            run = job_run(self._context, project, self._targets, timeout)
            execution = Execution(engine, run, project.services[self._service], self._log)
            with Interruption(operator, execution.interrupt) as interruption, execution.ended_on_error():
                execution.find(ending=interruption.asked)
                with engine.attend(run):
                    self._start(execution, engine, interruption)
                    status = execution.wait(_seconds(operator.defer_after))
                    leaves = status is None and not execution.late and not interruption.asked
                    result = None if leaves else self._finish(execution, status, interrupted=interruption.asked)
        if leaves:
            self._leave(execution.leave())
        return result

    def resume(self, event: Mapping[str, Any]) -> Any:
        """See to a job that a trigger has left.

        Raises:
            AirflowException: It failed, or its time is over.
        """
        from gigogne.airflow.bookmark import Bookmark

        job = Job.of(event["job"])
        with told():
            engine = open_engine(job.handle.engine, self._log)
            execution = Execution.of(engine, job, self._log)
            try:
                with Interruption(self._operator, execution.interrupt) as interruption, execution.ended_on_error():
                    Bookmark(job).remove()
                    self._mask(execution, engine)
                    status = self._wait(execution, engine, timed_out=event["timed_out"])
                    result = self._finish(execution, status, late=event["timed_out"], interrupted=interruption.asked)
            except EngineError:
                if execution.late:  # the reaper has ended it then, and left nothing
                    self._time_out()
                raise
        return result

    def _mask(self, execution: Execution, engine: Engine) -> None:
        """Have the job's secrets hidden: those that it was started with or, where they are gone, those of the files."""
        environment = engine.environment(execution.handle)
        if environment is not None:
            mask_secrets(environment, execution.run.services)
            return
        try:
            operator = self._operator
            given = variables(operator, operator.environment, self._context)
            self._masked(read_project(selection(operator, self._targets)), given)
        except Exception as error:  # the job has run: whatever became of its files since then is not its failure
            execution.discreet = True
            why = error.message if isinstance(error, GigogneError) else type(error).__name__
            self._log.say(
                "the rest of the log, and the last line as the result, are left out: the project cannot be read any "
                f"more, and so its secrets are not known ({why})",
                logging.WARNING,
            )

    def _wait(self, execution: Execution, engine: Engine, *, timed_out: bool) -> Status | None:
        """Bring the rest of the log, and wait for a job that still runs: the triggerer has not seen it."""
        execution.follow()
        status = execution.wait(0.0)
        if status is None and not timed_out:
            self._log.say(f"the triggerer does not reach {engine}: the task waits on its worker")
            with engine.attend(execution.run):
                status = execution.wait()
        return status

    def _open(self) -> tuple[Engine, Project]:
        """The engine and the project, with the variables of Airflow and of the operator; secrets are masked."""
        operator = self._operator
        given = variables(operator, operator.environment, self._context)
        engine, project = open_project(operator, selection(operator, self._targets), self._log)
        job_service(project, self._service)
        return engine, self._masked(project, given)

    def _masked(self, project: Project, given: Mapping[str, str]) -> Project:
        project = with_variables(project, [self._service], given)
        mask_secrets(project.services[self._service].environment, project.services)
        return project

    def _start(self, execution: Execution, engine: Engine, interruption: Interruption) -> None:
        if execution.job is None and not interruption.asked:
            engine.prepare(execution.service, execution.run)
            guard(engine, execution.run.project)
        if execution.job is not None or not interruption.asked:
            execution.start()
        if execution.job is None:
            fail(f"{self._service} was not started: Airflow ended its task before")
        # Again, which costs next to nothing: a guard that found nothing to do may have ended in between, and what an
        # earlier try has left may have none.
        guard(engine, execution.run.project)
        execution.follow()

    def _leave(self, job: Job) -> NoReturn:
        from airflow.sdk.exceptions import TaskDeferred

        from gigogne.airflow.bookmark import Bookmark
        from gigogne.airflow.trigger import ServiceTrigger

        bookmark = Bookmark(job)
        with contextlib.suppress(OSError):  # a disk that is full or not ours
            bookmark.write(job.position)
        bookmark.close()
        left = None if job.deadline is None else max(job.deadline - time.time(), 0.0) + _AFTER_DEADLINE
        timeout = None if left is None else timedelta(seconds=left)
        raise TaskDeferred(trigger=ServiceTrigger(job=job.as_dict()), method_name="resume", timeout=timeout)

    def _finish(
        self, execution: Execution, status: Status | None, *, late: bool = False, interrupted: bool = False
    ) -> Any:
        """What came of the job, in Airflow's words; nothing of the job is left behind."""
        late = late or (execution.late and (status is None or bool(status.code)))
        if status is None:
            execution.stop()
            status = execution.wait(ORDERLY)
        if status is not None and status.code == 0 and not (late or interrupted):
            result = execution.result() if self._operator.do_xcom_push else None
            execution.discard()
            return result
        last_error = execution.last_words()[1]
        execution.discard()
        if late:
            self._time_out()
        if interrupted:
            fail(f"{self._service} was ended, as Airflow asked for")
        return self._failed(status, last_error)

    def _time_out(self) -> NoReturn:
        time_out(f"{self._service} was ended: its execution_timeout, {self._operator.execution_timeout}, is over")

    def _failed(self, status: Status | None, last_error: str) -> NoReturn:
        code, detail = (status.code, status.detail) if status is not None else (None, "it does not end")
        skipped = self._operator.skip_on_exit_code
        if code is not None and (code == skipped if isinstance(skipped, int) else code in (skipped or ())):
            skip(f"{self._service} ended with exit code {code}, which is in skip_on_exit_code")
        text = f"{self._service} failed with exit code {code}" + (f": {detail}" if detail else "")
        text += f"\n  its last error line: {last_error}" if last_error else ""
        fail(
            f"{text}\n  fix: its log is above; gigogne explain {self._service} tells where its variables and its "
            "mounts come from"
        )


def _seconds(duration: float | timedelta | None) -> float | None:
    return duration.total_seconds() if isinstance(duration, timedelta) else duration
