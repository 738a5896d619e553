"""The extractor: out of PostgreSQL, one snapshot of it as three objects on S3.

``validated.csv`` has the confirmed transactions; ``history.csv`` has all of them, which features are made of;
``validated.json`` says what both hold, and is replaced last. The rows stream from ``COPY`` into multipart uploads, so
memory does not grow with their number. Confirmation (for demonstrations) and extract are one transaction. The objects
are replaced when everything has arrived, and left as they were if anything fails, or if they would be the same again.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import ExitStack
from datetime import UTC, datetime

import psycopg
from psycopg import sql

from fraud.confirmation import confirm
from fraud.confirmations import hold_truth, release_truth
from fraud.copying import copy_out
from fraud.database import Address, session
from fraud.extracts import HEADER, HISTORY_HEADER, history, in_the_future, newest, validated
from fraud.objects import Objects
from fraud.snapshot import Extracted, Snapshot
from fraud.targets import Store, Target, name_of
from fraud.transactions import TABLE
from job.program import run
from job.progress import Heartbeat, size
from job.settings import flag, text

__all__ = ["main"]

# Held by the extractor that runs: two that replace three objects at once would leave a mixture.
LOCK = 7_120_521_003
# Says that the table is missing before anything is sent.
TOUCH = sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(TABLE))
NOTHING = "nothing is confirmed yet: give confirm a file (CONFIRMATIONS_CSV=…), or have some drawn (DEMO_MODE=1)"


def main() -> None:
    """Confirm if asked to, extract, and say how much."""
    address = Address.read()
    demo, debug = flag("DEMO_MODE"), flag("DEBUG_MODE")
    seed, objects, store = text("DEMO_SEED"), Objects.read(), Store()
    with ExitStack() as at_the_end:
        connection = at_the_end.enter_context(session(address, "extractor_sql"))
        _take_turn(connection)
        if demo:
            hold_truth(connection)
        # One snapshot for all that follows: what is counted, confirmed and extracted is the same database.
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with connection.transaction():
            if demo:
                confirmed = confirm(connection, one_only=debug, seed=seed)
                print(f"demonstration: {confirmed:,} more rows confirmed", file=sys.stderr)
            else:
                connection.execute(TOUCH)
            targets = [store.target(where) for where in objects.addresses]
            for target in targets:
                # Whatever happens from here on, nothing half done stays; after `commit` this does nothing.
                at_the_end.callback(target.abort)
                target.open()
            if later := in_the_future(connection):
                print(
                    f"{later:,} transactions lie in the future, and are left out: whose clock is wrong?",
                    file=sys.stderr,
                )
            before = Snapshot.read(store.read(objects.state))
            snapshot = _extract(connection, objects, targets, before)
        # The confirmations are kept first: the objects never hold one that the database does not.
        if demo:
            release_truth(connection)
        said = _replace(store, objects, targets, snapshot, before)
    print(said)
    if not snapshot.validated.rows:
        print(NOTHING, file=sys.stderr)


def _take_turn(connection: psycopg.Connection) -> None:
    """Be the one extractor that runs, until the connection ends."""
    if connection.execute("SELECT pg_try_advisory_lock(%s)", (LOCK,)).fetchone() != (True,):
        print("waiting for another extractor of this database, which is at work", file=sys.stderr, flush=True)
        connection.execute("SELECT pg_advisory_lock(%s)", (LOCK,))


def _extract(
    connection: psycopg.Connection,
    objects: Objects,
    targets: list[Target],
    before: Snapshot | None,
) -> Snapshot:
    """Send everything; nothing is visible yet."""
    confirmed, everything, state = targets
    rows = _stream(connection, confirmed, objects.validated, HEADER, validated(objects.until))
    all_rows = _stream(connection, everything, objects.history, HISTORY_HEADER, history(objects.until))
    transaction, confirmation = newest(connection, objects.until)
    snapshot = Snapshot(
        validated=rows,
        history=all_rows,
        newest_transaction=transaction,
        newest_confirmation=confirmation,
        until=objects.until,
        extracted_at=datetime.now(UTC).replace(microsecond=0),
        rows_added=rows.rows - (before.validated.rows if before else 0),
    )
    state.write(snapshot.to_json())
    for target in targets:
        target.finish()
    return snapshot


def _stream(
    connection: psycopg.Connection, target: Target, where: str, header: bytes, query: sql.Composed
) -> Extracted:
    """Stream the header and the rows into a target; return how many they were."""
    target.write(header)
    digest = hashlib.sha256(header)
    rows, length = 0, len(header)
    progress = Heartbeat()
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    for count, piece in copy_out(connection, copy.as_bytes(connection)):
        target.write(piece)
        digest.update(piece)
        rows, length = rows + count, length + len(piece)
        progress.show(f"{name_of(where)}: {size(length)} extracted …")
    return Extracted(name_of(where), rows, length, digest.hexdigest())


def _replace(store: Store, objects: Objects, targets: list[Target], snapshot: Snapshot, before: Snapshot | None) -> str:
    """Replace the objects, unless they are the same and there; say what they hold."""
    since = ""
    if before:
        there = {where: store.length(where) for where in objects.addresses[:2]}
        wanted = {objects.validated: snapshot.validated.bytes, objects.history: snapshot.history.bytes}
        same = before.same_data(snapshot) and there == wanted
        added = "nothing new" if same else f"{snapshot.rows_added:+,}"
        since = f" ({added} since {before.extracted_at:%Y-%m-%d %H:%M})"
    if not before or not same:
        for target in targets:
            target.commit()
    return f"{snapshot.validated.rows:,} observations{since} → {objects.validated} ({size(snapshot.validated.bytes)})"


if __name__ == "__main__":
    run(main)
