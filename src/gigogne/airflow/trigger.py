"""Waits for a job in the triggerer, while its task holds no worker, and brings its lines into the task's log."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from gigogne.airflow.bookmark import Bookmark
from gigogne.airflow.job import Job
from gigogne.airflow.logs import TaskLog
from gigogne.airflow.watch import Attendance, Watch
from gigogne.core.engine import Engine
from gigogne.errors import GigogneError

__all__ = ["ServiceTrigger"]

# Airflow waits for half a minute (`[triggerer] on_kill_timeout`), and the next try for as long; after a deadline, the
# scheduler waits for a minute.
_GRACE = 20.0
# A log that is longer than what can be brought in so many seconds after the job's end is left to the task.
_REST, _BREATH = 5.0, 0.05


class ServiceTrigger(BaseTrigger):
    """Fires when a job has ended, at its deadline, or where it is out of sight here.

    Args:
        job: The job, as plain JSON types.
    """

    def __init__(self, job: Mapping[str, Any]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.job = Job.of(job)
        self._attendance: Attendance | None = None

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """What Airflow stores of it."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"job": self.job.as_dict()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield the one event, from which the task goes on."""
        reached, timed_out = False, False
        try:
            watch = Watch.here(self.job.handle.engine)
            engine = await watch.engine()
            self._attendance = Attendance(engine, self.job, TaskLog())
            reached = await watch.call(self._attendance.begin)
            if reached:
                timed_out = not await self._wait(watch)
                if timed_out:
                    await watch.call_slow(engine.stop, self.job.handle, grace=min(self.job.grace, _GRACE))
                await self._rest()
        except GigogneError as error:
            reached = False
            TaskLog().say(f"the triggerer does not see to {self.job.handle.service}: {error.message}", logging.WARNING)
        position = await self._release()
        job = replace(self.job, position=position or self.job.position)
        payload = {"job": job.as_dict(), "reached": reached, "timed_out": timed_out}
        yield TriggerEvent(payload)  # type: ignore[no-untyped-call]

    async def _wait(self, watch: Watch) -> bool:
        """Wait for the end of the job; False where its deadline came first."""
        left = None if self.job.deadline is None else max(self.job.deadline - time.time(), 0)
        try:
            await asyncio.wait_for(watch.ended(self.job), left)
        except TimeoutError:
            return False
        return True

    async def _rest(self) -> None:
        """Give the last lines the time to come."""
        until = time.monotonic() + _REST
        while self._attendance is not None and self._attendance.follows() and time.monotonic() < until:
            await asyncio.sleep(_BREATH)

    async def _release(self) -> str:
        attendance, self._attendance = self._attendance, None
        if attendance is None:
            return ""
        return await Watch.here(self.job.handle.engine).call(attendance.end)

    async def on_kill(self) -> None:
        """Somebody marked or cleared the task: the job ends, and leaves nothing.

        Airflow cancels this once a second; so the thread that does it goes on alone, and keeps the lease to its end:
        until then the next try waits.
        """
        watch = Watch.here(self.job.handle.engine)
        engine = await watch.engine()
        attendance, self._attendance = self._attendance, None
        await asyncio.shield(watch.call_slow(_end, engine, self.job, attendance))

    async def cleanup(self) -> None:
        """Give back the lease: another triggerer may see to the job, which goes on."""
        await self._release()


def _end(engine: Engine, job: Job, attendance: Attendance | None) -> None:
    try:
        engine.stop(job.handle, grace=min(job.grace, _GRACE))
        engine.discard(job.handle)
    except GigogneError as error:
        TaskLog().say(f"{job.handle.service} is left to the reaper: {error.message}", logging.WARNING)
        return  # a try that finds it must not go on with it: the bookmark says so
    finally:
        if attendance is not None:
            attendance.end()
    Bookmark(job).remove()  # at last: each line that comes would write it anew
