"""The queue of requests, in PostgreSQL: procrastinate keeps it, and what a request has said stands beside it."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from procrastinate import App, SyncPsycopgConnector
from procrastinate.connector import BaseConnector
from procrastinate.exceptions import ConnectorException
from procrastinate.schema import SchemaManager
from psycopg.conninfo import make_conninfo

from job.errors import JobError
from job.postgres import first_line, parts_of
from job.settings import whole_number

__all__ = [
    "ENDED",
    "KINDS",
    "QUEUE",
    "Kind",
    "Queue",
    "Request",
    "conninfo",
    "explain",
    "make_app",
    "open_queue",
    "stalled_after",
]

QUEUE = "ml"
ENDED = frozenset({"succeeded", "failed", "cancelled", "aborted"})
# Its tables have a schema of their own: the database belongs to others too.
SCHEMA = "ml_queue"
LOCK = "SELECT pg_advisory_xact_lock(hashtext('ml_queue'))"
LINES = """
CREATE TABLE IF NOT EXISTS request_lines (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job_id bigint NOT NULL REFERENCES procrastinate_jobs ON DELETE CASCADE,
    said_at timestamptz NOT NULL DEFAULT now(),
    line text NOT NULL
);
CREATE INDEX IF NOT EXISTS request_lines_job_id ON request_lines (job_id, id);
CREATE TABLE IF NOT EXISTS worker_hosts (
    host text PRIMARY KEY,
    seen_at timestamptz NOT NULL DEFAULT now()
)
"""
RECENT = """
SELECT id, task_name, status::text, attempts,
       (SELECT line FROM request_lines WHERE job_id = job.id ORDER BY id DESC LIMIT 1)
FROM procrastinate_jobs AS job WHERE queue_name = %s ORDER BY id DESC LIMIT %s
"""
ALIVE = "SELECT EXISTS (SELECT FROM procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => %s))"
ALIVE_HERE = "SELECT EXISTS (SELECT FROM worker_hosts WHERE host = %s AND seen_at > now() - make_interval(secs => %s))"


@dataclass(frozen=True)
class Kind:
    """What can be asked for: the program that does it, and the variable of each argument."""

    module: str
    variables: Mapping[str, str]


KINDS: Mapping[str, Kind] = {
    "train": Kind("ml.train", {"data": "TRAINING_DATA", "force": "TRAIN_FORCE"}),
    "score": Kind("ml.scoring", {"data": "SCORING_DATA", "output": "SCORING_TARGET"}),
}


@dataclass(frozen=True)
class Request:
    """One request as the queue has it; `said` is its last line."""

    id: int
    kind: str
    status: str
    tries: int
    said: str


def stalled_after() -> int:
    """Seconds without a sign of life after which a worker counts as dead, and its request is given back."""
    return whole_number("WORKER_STALLED_AFTER", 30, least=1)


def conninfo(database_uri: str) -> str:
    """The address of the database with the queue's schema in it.

    Raises:
        SettingError: It is no address of PostgreSQL.
    """
    parts = parts_of(database_uri, "ML_DATABASE_URI")
    options = f"{parts.pop('options', '')} -c search_path={SCHEMA}".strip()
    return make_conninfo("", **{"connect_timeout": 10, **parts, "options": options})


def explain(error: BaseException) -> JobError:
    """An error of the database as one line that says what to do."""
    said = first_line(error.__cause__ or error)
    return JobError(f"the queue in PostgreSQL: {said}; is it running, and is ML_DATABASE_URI right?")


def make_app(connector: BaseConnector) -> App:
    """Procrastinate's idea of the queue, on a connector."""
    return App(connector=connector)


class Queue:
    """The queue as those see it who ask for something."""

    def __init__(self, address: str, connection: psycopg.Connection) -> None:
        self._address, self._connection = address, connection

    def add(self, kind: str, arguments: Mapping[str, str]) -> int:
        """Ask for something; the number of the request."""
        app = make_app(SyncPsycopgConnector(conninfo=self._address, min_size=1, max_size=1))
        with app.open():
            return app.configure_task(kind, queue=QUEUE, allow_unknown=True).defer(**arguments)

    def recent(self, limit: int) -> list[Request]:
        """The newest requests, the newest last."""
        rows = self._connection.execute(RECENT, (QUEUE, limit)).fetchall()
        return [
            Request(number, kind, status, tries, said or "") for number, kind, status, tries, said in reversed(rows)
        ]

    def status(self, request: int) -> str:
        """Where a request is: `todo`, `doing`, or one of `ENDED`."""
        query = "SELECT status::text FROM procrastinate_jobs WHERE id = %s"
        row = self._connection.execute(query, (request,)).fetchone()
        if row is None:
            raise JobError(f"there is no request {request}: somebody has removed it")
        return str(row[0])

    def lines(self, request: int, after: int) -> list[tuple[int, str]]:
        """What it has said since the line numbered `after`."""
        query = "SELECT id, line FROM request_lines WHERE job_id = %s AND id > %s ORDER BY id"
        return self._connection.execute(query, (request, after)).fetchall()

    def served(self) -> bool:
        """Whether a worker is alive, wherever it is."""
        return self._connection.execute(ALIVE, (stalled_after(),)).fetchone() == (True,)

    def served_here(self) -> bool:
        """Whether the worker of this host, this container that is, is alive."""
        return self._connection.execute(ALIVE_HERE, (socket.gethostname(), stalled_after())).fetchone() == (True,)


@contextmanager
def open_queue(database_uri: str, *, prepare: bool = True) -> Iterator[Queue]:
    """The queue, whose tables are made where they are missing; not so by who only looks.

    Raises:
        JobError: PostgreSQL does not answer, or refuses.
    """
    address = conninfo(database_uri)
    try:
        with psycopg.connect(address, autocommit=True) as connection:
            if prepare:
                _prepare(connection)
            yield Queue(address, connection)
    except (psycopg.Error, ConnectorException) as error:
        raise explain(error) from None


def _prepare(connection: psycopg.Connection) -> None:
    """Make the tables; of several that try at once, one does it."""
    with connection.transaction():
        connection.execute(LOCK)
        connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
        found = connection.execute("SELECT to_regclass('procrastinate_jobs')").fetchone()
        if found == (None,):
            connection.execute(SchemaManager.get_schema())
        connection.execute(LINES)
