"""The queue of requests to ml-worker, as it stands in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from job.errors import JobError
from job.postgres import first_line, parts_of

__all__ = ["STATUSES", "Queue", "conninfo", "read_queue"]

STATUSES = ("todo", "doing", "succeeded", "failed", "cancelled", "aborting", "aborted")
# Seconds; the server ends what takes longer.
PATIENCE = 5
TABLE = "SELECT to_regclass('ml_queue.procrastinate_jobs') IS NOT NULL"
COUNT = "SELECT status::text, count(*) FROM ml_queue.procrastinate_jobs WHERE queue_name = 'ml' GROUP BY status"
# Since it was asked for: a request that a dead worker has left waits for as long as it has not been done.
OLDEST = """
SELECT coalesce(extract(epoch FROM now() - min(event.at)), 0)::float
FROM ml_queue.procrastinate_jobs AS job
JOIN ml_queue.procrastinate_events AS event ON event.job_id = job.id AND event.type = 'deferred'
WHERE job.queue_name = 'ml' AND job.status = 'todo'
"""
# A worker gives a sign of life every WORKER_STALLED_AFTER / 3 seconds: 10, where nobody says otherwise.
WORKERS = "SELECT count(*) FROM ml_queue.procrastinate_workers WHERE last_heartbeat > now() - interval '60 seconds'"


@dataclass(frozen=True)
class Queue:
    """The queue at one moment.

    Attributes:
        requests: How many there are in each status.
        oldest: For how many seconds the oldest waits that nobody has taken.
        workers: How many workers are alive.
    """

    requests: Mapping[str, int]
    oldest: float
    workers: int


def conninfo(database_uri: str) -> str:
    """The address of the database, with limits on every wait.

    Raises:
        SettingError: It is no address of PostgreSQL.
    """
    parts = parts_of(database_uri, "ML_DATABASE_URI")
    options = f"{parts.pop('options', '')} -c statement_timeout={PATIENCE}s".strip()
    bounds: dict[str, Any] = {
        "connect_timeout": PATIENCE,
        "tcp_user_timeout": PATIENCE * 1000,
        "application_name": "monitor",
    }
    return make_conninfo("", **{**bounds, **parts, "options": options})


def read_queue(address: str) -> Queue:
    """The queue now; an empty one where nobody has asked for anything yet.

    Raises:
        JobError: PostgreSQL does not answer, or refuses.
    """
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            if connection.execute(TABLE).fetchone() != (True,):
                return Queue(dict.fromkeys(STATUSES, 0), 0.0, 0)
            found: dict[str, int] = dict(connection.execute(COUNT).fetchall())
            (oldest,) = connection.execute(OLDEST).fetchone() or (0.0,)
            (workers,) = connection.execute(WORKERS).fetchone() or (0,)
    except psycopg.Error as error:
        raise JobError(f"PostgreSQL: {first_line(error)}; is it running, and is ML_DATABASE_URI right?") from None
    return Queue({status: int(found.get(status, 0)) for status in STATUSES}, float(oldest), int(workers))
