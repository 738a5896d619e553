"""`python -m ml.worker`: takes requests from the queue, one at a time, until SIGTERM.

A request is done by a program of its own (`ml.train`, `ml.scoring`): its memory goes back when it has ended, its crash
is not the worker's, and it can be stopped at any moment. What it prints is kept as the request's progress.

A worker that is told to stop gives its request back to the queue. One that dies without a word is missed after
`WORKER_STALLED_AFTER` seconds, and another worker, or the same one started anew, takes the request up again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import subprocess
import sys
import time
from contextlib import suppress
from typing import Any

import psycopg
from procrastinate import App, JobContext, PsycopgConnector, RetryDecision
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Job, Status
from procrastinate.retry import BaseRetryStrategy

from job.program import run
from ml.queue import KINDS, QUEUE, Kind, conninfo, explain, make_app, open_queue, stalled_after
from ml.settings import Settings

__all__ = ["main"]

# How often a request is begun whose workers die, or whose program is killed: it may be what kills them.
TRIES = 5
POLL_SECONDS = 2.0
# Seconds that a request has to end after SIGTERM, at most, and its program after its own: less than Compose waits.
LONGEST_GRACE = 5.0
# Seconds to wait for a connection to the database.
CONNECT_SECONDS = 10.0
SAY = "INSERT INTO request_lines (job_id, line) VALUES (%(job)s, %(line)s)"
RESCUE_LOCK = "SELECT pg_advisory_xact_lock(hashtext('ml_queue.rescue'))"
SIGN = """
WITH gone AS (DELETE FROM worker_hosts WHERE seen_at < now() - interval '1 day' AND host <> %(host)s)
INSERT INTO worker_hosts (host) VALUES (%(host)s) ON CONFLICT (host) DO UPDATE SET seen_at = now()
"""
LONGEST_LINE = 2000
# The exit code of our programs when SIGTERM ends them.
STOPPED = 143

log = logging.getLogger("ml.worker")


class RequestFailedError(Exception):
    """The program of the request has said why."""


class ProgramKilledError(Exception):
    """The program of the request was killed: for want of memory, say."""


class GiveBack(BaseRetryStrategy):
    """Back to the queue with a request that the worker's end interrupted, or whose program was killed."""

    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        """At once, or never: one that has failed fails again until somebody does what its message says."""
        if isinstance(exception, asyncio.CancelledError):
            return RetryDecision()
        if isinstance(exception, ProgramKilledError) and job.attempts + 1 < TRIES:
            return RetryDecision()
        return None


class OneLine(logging.Formatter):
    """A log without tracebacks: what users can cause has a message, and the rest says its kind."""

    def formatException(self, ei: Any) -> str:  # noqa: N802 - logging's name
        """The last line of the traceback."""
        return super().formatException(ei).splitlines()[-1]


def main() -> None:
    """Work until SIGTERM."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(message)s", "%H:%M:%S"))
    # That a request failed is told here, in the words of its program.
    handler.addFilter(lambda record: getattr(record, "action", "") != "job_error")
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    log.setLevel(logging.INFO)
    settings = Settings.read()
    with open_queue(settings.database_uri):
        pass
    # psycopg has no use for Windows' default loop.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        try:
            runner.run(serve(settings.database_uri))
        except ConnectorException as error:
            raise explain(error) from None


async def serve(database_uri: str) -> None:
    """Take requests up, and those of dead workers too."""
    patience = stalled_after()
    # After SIGTERM there are no signs of life: the worker must be gone before it is missed.
    grace = min(patience / 6, LONGEST_GRACE)
    connector = PsycopgConnector(conninfo=conninfo(database_uri), min_size=2, max_size=4, timeout=CONNECT_SECONDS)
    app = make_app(connector)
    for name, kind in KINDS.items():
        _add_task(app, name, kind, grace)
    async with app.open_async():
        log.info("waiting for requests")
        try:
            # Neither goes on without the other: a worker that rescues nothing would look well for ever.
            async with asyncio.TaskGroup() as group:
                rescuer = group.create_task(_rescue(app, patience))
                await app.run_worker_async(
                    queues=[QUEUE],
                    concurrency=1,
                    fetch_job_polling_interval=POLL_SECONDS,
                    shutdown_graceful_timeout=grace,
                    update_heartbeat_interval=patience / 3,
                    stalled_worker_timeout=patience,
                )
                rescuer.cancel()
        except ExceptionGroup as failed:
            error = failed.exceptions[0]
            raise error from error.__cause__
    log.info("stopped")


def _add_task(app: App, name: str, kind: Kind, grace: float) -> None:
    @app.task(name=name, queue=QUEUE, pass_context=True, retry=GiveBack())
    async def task(context: JobContext, /, **arguments: str) -> None:
        if unknown := arguments.keys() - kind.variables.keys():
            said = f"error: {name} has no {', '.join(sorted(unknown))}: it takes {', '.join(kind.variables)}"
            await _say(app, context.job, said)
            raise RequestFailedError(said)
        variables = {kind.variables[key]: value for key, value in arguments.items()}
        await _work(context, kind.module, variables, grace)


async def _work(context: JobContext, module: str, variables: dict[str, str], grace: float) -> None:
    """Run the request's program to its end; its lines go to the log and to the queue."""
    number, name = context.job.id, context.job.task_name
    begin, said = time.monotonic(), ""
    log.info("request %s: %s, try %s", number, name, context.job.attempts + 1)
    process = subprocess.Popen(
        [sys.executable, "-m", "ml.child", module],
        env={**os.environ, **variables, "PYTHONUNBUFFERED": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    assert process.stdout is not None
    try:
        while line := await asyncio.to_thread(process.stdout.readline):
            said = line.rstrip()[:LONGEST_LINE]
            await _say(context.app, context.job, said)
        code = await asyncio.to_thread(process.wait)
    except asyncio.CancelledError:
        await _stop(process, grace)
        log.info("request %s: back to the queue", number)
        raise
    if code:
        log.info("request %s: failed after %.1f s", number, time.monotonic() - begin)
    if code < 0 or code == STOPPED:
        raise ProgramKilledError(f"request {number}: its program was killed or stopped (exit code {code})")
    if code:
        raise RequestFailedError(f"request {number}: {said or f'exit code {code}'}")
    log.info("request %s: done after %.1f s", number, time.monotonic() - begin)


async def _say(app: App, job: Job, line: str) -> None:
    """A line of a request, to the log and to those who follow it."""
    log.info("request %s: %s", job.id, line)
    # A request goes on while the database is away; its own work may need none.
    with suppress(ConnectorException):
        await app.connector.execute_query_async(SAY, job=job.id, line=line)


async def _stop(process: subprocess.Popen[str], grace: float) -> None:
    """SIGTERM, by which the program puts away what it has half done; then kill."""
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, grace)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)


async def _rescue(app: App, patience: int) -> None:
    """Give a sign of life, and back what dead workers had, again and again; what has killed several of them fails."""
    while True:
        try:
            await app.connector.execute_query_async(SIGN, host=socket.gethostname())
            await _rescue_once(app, patience)
        except (ConnectorException, psycopg.Error) as error:  # the pool's own errors are psycopg's
            log.warning("looking for dead workers: %s", explain(error))
        await asyncio.sleep(patience / 3)


async def _rescue_once(app: App, patience: int) -> None:
    assert isinstance(app.connector, PsycopgConnector)
    # One rescuer at a time: a second one would give back what somebody has taken up since it looked.
    async with app.connector.pool.connection() as connection:
        await connection.execute(RESCUE_LOCK)
        for job in await app.job_manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=patience):
            if job.attempts + 1 < TRIES:
                await _say(app, job, f"its worker is gone: back to the queue after try {job.attempts + 1}")
                await app.job_manager.retry_job(job)
            else:
                await _say(app, job, f"given up: its worker has died {TRIES} times")
                await app.job_manager.finish_job(job, Status.FAILED, delete_job=False)


if __name__ == "__main__":
    run(main)
