"""The logger against what people write instead, and against the floor: a COPY of ready rows into the same table.

    python benchmarks/ingest.py --rows 50000 --rounds 7

All of them take the same transactions into the same table with the same indexes and the same confirmations, in a real
PostgreSQL whose commits are durable; it is the stack's own, kept up by gigogne, or that of LOGGER_SQL_URI. Each is a
whole process: it starts, connects, reads the batches and ends. The table is emptied, and a checkpoint taken, before
each. The first of them takes fewer rows, and its seconds are given for as many as the others have.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from benchmarks.paired import Seconds, child, installed, machine, measure  # noqa: E402
from tests.stack.conftest import servers  # noqa: E402

from fraud.generator import Generator  # noqa: E402
from fraud.rows import pieces  # noqa: E402
from fraud.tables import CONFIRMATION_FILES, LEDGER, create_tables  # noqa: E402
from fraud.transactions import ROW, TABLE  # noqa: E402

BATCH = 1_000
SEED = 42
# What people write: the line's JSON as it is, one INSERT for each row, and sooner or later a commit.
WAYS = """
import json, os, sys
from itertools import islice
from pathlib import Path
import psycopg

folder, table, rows_a_commit, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
files = sorted(Path(folder).glob("*.jsonl"))
records = islice((json.loads(line) for file in files for line in file.open()), limit)
names = None
with psycopg.connect(os.environ["LOGGER_SQL_URI"]) as connection, connection.cursor() as cursor:
    while batch := list(islice(records, rows_a_commit)):
        names = names or list(batch[0])
        columns, values = ", ".join('"%s"' % name for name in names), ", ".join("%%(%s)s" % name for name in names)
        statement = f"INSERT INTO {table} ({columns}) VALUES ({values}) ON CONFLICT (trans_num) DO NOTHING"
        if rows_a_commit == 1:
            cursor.execute(statement, batch[0])
        else:
            cursor.executemany(statement, batch)
        connection.commit()
"""
SEVERAL = """
import json, os, sys
from pathlib import Path
import psycopg

folder, table = sys.argv[1], sys.argv[2]
with psycopg.connect(os.environ["LOGGER_SQL_URI"]) as connection, connection.cursor() as cursor:
    for file in sorted(Path(folder).glob("*.jsonl")):
        batch = [json.loads(line) for line in file.open()]
        names = list(batch[0])
        columns, row = ", ".join('"%s"' % name for name in names), "(" + ", ".join(["%s"] * len(names)) + ")"
        values = ", ".join([row] * len(batch))
        statement = f"INSERT INTO {table} ({columns}) VALUES {values} ON CONFLICT (trans_num) DO NOTHING"
        cursor.execute(statement, [record[name] for record in batch for name in names])
        connection.commit()
"""
FLOOR = """
import os, sys
import psycopg

with psycopg.connect(os.environ["LOGGER_SQL_URI"]) as connection, connection.cursor() as cursor:
    with cursor.copy(sys.argv[2]) as copy, open(sys.argv[1], "rb") as rows:
        while piece := rows.read(1 << 18):
            copy.write(piece)
"""
LOGGER, ROW_BY_ROW, BY_THE_THOUSAND, MULTI_ROW, COPY = (
    "logger_sql",
    "one INSERT and commit a row",
    "executemany, a commit per 1,000 rows",
    "INSERT of several rows, a commit per 1,000 rows",
    "COPY of ready rows, one commit",
)


def main() -> None:
    """Make the batches, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    options.add_argument("--rows", type=int, default=50_000)
    options.add_argument("--slow-rows", type=int, default=2_000, help="that are committed one by one")
    options.add_argument("--rounds", type=int, default=7)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name, postgres() as url:
        folder = Path(name)
        make(folder, given.rows)
        with psycopg.connect(url, autocommit=True) as connection:
            create_tables(connection)
            durable = {each: shown(connection, each) for each in ("fsync", "synchronous_commit", "server_version")}
        ways = contenders(folder, url, given.rows, given.slow_rows)
        print(f"{machine()}; {durable}; {given.rows:,} rows in batches of {BATCH:,}\n", flush=True)
        result = measure(ways, given.rounds)
        print(result.table(LOGGER))
        print("\n| | rows a second | of the logger's, paired |\n|---|---|---|")
        for way in ways:
            rate = given.rows / result.spread(way).median
            print(f"| {way} | {rate:,.0f} | {result.ratio(LOGGER, way).text()} |")


def contenders(folder: Path, url: str, rows: int, slow_rows: int) -> dict[str, Callable[[], Seconds]]:
    """Every way, each on an empty table."""
    environment = {
        **installed(folder),
        "PYTHONPATH": str(ROOT / "src"),
        "LOGGER_SQL_URI": url,
        "LANDING_DIR": str(folder),
    }
    python = sys.executable
    names = ", ".join(f'"{name}"' for name in ROW)
    commands = {
        LOGGER: ([python, "-m", "fraud.logger_sql"], rows),
        ROW_BY_ROW: ([python, "-c", WAYS, str(folder), TABLE, "1", str(slow_rows)], slow_rows),
        BY_THE_THOUSAND: ([python, "-c", WAYS, str(folder), TABLE, str(BATCH), str(rows)], rows),
        MULTI_ROW: ([python, "-c", SEVERAL, str(folder), TABLE], rows),
        COPY: ([python, "-c", FLOOR, str(folder / "ready.copy"), f"COPY {TABLE} ({names}) FROM STDIN"], rows),
    }

    def way(command: list[str], taken: int) -> Callable[[], Seconds]:
        def run() -> Seconds:
            empty(url)
            begin = time.perf_counter()
            child(command, environment)
            seconds = time.perf_counter() - begin
            check(url, taken)
            return Seconds(seconds * rows / taken)

        return run

    return {name: way(*each) for name, each in commands.items()}


def make(folder: Path, rows: int) -> None:
    """The batches, and the same transactions as ready rows."""
    generator = Generator(SEED)
    with (folder / "ready.copy").open("wb") as ready:
        for first in range(0, rows, BATCH):
            records = [generator.transaction(number) for number in range(first, min(first + BATCH, rows))]
            lines = [json.dumps(record).encode() + b"\n" for record in records]
            (folder / f"{first:08d}.jsonl").write_bytes(b"".join(lines))
            ready.writelines(piece for _, piece in pieces(lines, reject))


def reject(number: int, line: bytes, reason: str) -> None:
    """What cannot be."""
    raise AssertionError(reason)


def empty(url: str) -> None:
    """An empty table, and nothing left to write for what was there before."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"TRUNCATE {TABLE}, {LEDGER}, {CONFIRMATION_FILES}".encode())
        connection.execute("CHECKPOINT")


def check(url: str, rows: int) -> None:
    """Whether all of them are there."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {TABLE}".encode()).fetchone()
    if found != (rows,):
        sys.exit(f"{found} rows, and not {rows}")


def shown(connection: psycopg.Connection, setting: str) -> str:
    """A setting of the server."""
    return str((connection.execute(f"SHOW {setting}".encode()).fetchone() or ("",))[0])


@contextmanager
def postgres() -> Iterator[str]:
    """The address of a database that may be emptied."""
    if url := os.environ.get("LOGGER_SQL_URI"):
        yield url
        return
    with servers() as up:
        yield up.postgres_url


if __name__ == "__main__":
    main()
