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
from typing import NamedTuple

import psycopg
from psycopg import sql

from fraud.confirmation import confirm
from fraud.confirmations import hold_truth, release_truth
from fraud.copying import copy_out
from fraud.database import Address, session
from fraud.dates import FIRST_YEAR, LAST_YEAR, DateError, within_reach
from fraud.extracts import HEADER, HISTORY_HEADER, history, newest, validated
from fraud.job import Progress, SettingError, flag, run, size, text
from fraud.snapshot import Extracted, Snapshot
from fraud.targets import Store, Target, beside, name_of
from fraud.transactions import TABLE

__all__ = ["main"]

TARGET = "s3://fraud-detection-2-bucket/data/validated.csv"
HISTORY = "history.csv"
# Held by the extractor that runs: two that replace three objects at once would leave a mixture.
LOCK = 7_120_521_003
# Says that the table is missing before anything is sent.
TOUCH = sql.SQL("SELECT FROM {} LIMIT 0").format(sql.Identifier(TABLE))
NOTHING = "nothing is confirmed yet: give confirm a file (CONFIRMATIONS_CSV=…), or have some drawn (DEMO_MODE=1)"


class Places(NamedTuple):
    """Where the three objects go, in the order in which they are replaced."""

    validated: str
    history: str
    state: str


def main() -> None:
    """Confirm if asked to, extract, and say how much."""
    address = Address.read()
    demo, debug = flag("DEMO_MODE"), flag("DEBUG_MODE")
    seed, until = text("DEMO_SEED"), _moment("EXTRACTOR_UNTIL")
    places = _places(text("EXTRACTOR_TARGET", TARGET), until)
    store = Store()
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
            targets = [store.target(where) for where in places]
            for target in targets:
                # Whatever happens from here on, nothing half done stays; after `commit` this does nothing.
                at_the_end.callback(target.abort)
                target.open()
            before = Snapshot.read(store.read(places.state))
            snapshot = _extract(connection, places, targets, until, before)
        # The confirmations are kept first: the objects never hold one that the database does not.
        if demo:
            release_truth(connection)
        said = _replace(store, places, targets, snapshot, before)
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
    places: Places,
    targets: list[Target],
    until: datetime | None,
    before: Snapshot | None,
) -> Snapshot:
    """Send everything; nothing is visible yet."""
    confirmed, everything, state = targets
    rows = _stream(connection, confirmed, places.validated, HEADER, validated(until))
    all_rows = _stream(connection, everything, places.history, HISTORY_HEADER, history(until))
    transaction, confirmation = newest(connection, until)
    snapshot = Snapshot(
        validated=rows,
        history=all_rows,
        newest_transaction=transaction,
        newest_confirmation=confirmation,
        until=until,
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
    progress = Progress()
    copy = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv)").format(query)
    for count, piece in copy_out(connection, copy.as_bytes(connection)):
        target.write(piece)
        digest.update(piece)
        rows, length = rows + count, length + len(piece)
        progress.show(f"{name_of(where)}: {size(length)} extracted …")
    return Extracted(name_of(where), rows, length, digest.hexdigest())


def _replace(store: Store, places: Places, targets: list[Target], snapshot: Snapshot, before: Snapshot | None) -> str:
    """Replace the objects, unless they are the same and there; say what they hold."""
    since = ""
    if before:
        there = {where: store.length(where) for where in places[:2]}
        wanted = {places.validated: snapshot.validated.bytes, places.history: snapshot.history.bytes}
        same = before.same_data(snapshot) and there == wanted
        added = "nothing new" if same else f"{snapshot.rows_added:+,}"
        since = f" ({added} since {before.extracted_at:%Y-%m-%d %H:%M})"
    if not before or not same:
        for target in targets:
            target.commit()
    return f"{snapshot.validated.rows:,} observations{since} → {places.validated} ({size(snapshot.validated.bytes)})"


def _places(where: str, until: datetime | None) -> Places:
    """The places of an extract, or of that of a moment in a folder beside it."""
    name = name_of(where)
    folder = [f"until-{until:%Y%m%dT%H%M%S}"] if until else []
    state = name.removesuffix(".csv") + ".json"
    if len({name, HISTORY, state}) < 3:
        raise SettingError(f"EXTRACTOR_TARGET={where!r}: {HISTORY} and {state} go beside it, so give it another name")
    return Places(*(beside(where, *folder, each) for each in (name, HISTORY, state)))


def _moment(variable: str) -> datetime | None:
    """The variable as a moment of the data, whose clock has no zone; one with a zone is told in UTC."""
    value = text(variable)
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise SettingError(f"{variable}={value!r} is not a date and time: write 2025-01-31T12:00:00") from None
    try:
        return within_reach(moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment)
    except (DateError, OverflowError):
        limit = f"write one from {FIRST_YEAR}-01-01 to {LAST_YEAR}-12-31"
        raise SettingError(f"{variable}={value!r} is out of range: {limit}") from None


if __name__ == "__main__":
    run(main)
