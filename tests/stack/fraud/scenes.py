"""Transactions of the simulator with what is known of them, as the trainer reads them from S3."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from fraud.generator import Event, Generator
from fraud.training.extract import HISTORY
from fraud.transactions import COLUMNS

from .transactions import transaction

__all__ = ["known", "objects", "simulated"]


def simulated(count: int, seed: int = 42) -> list[Event]:
    """So many events of the simulator, 2,500 a day."""
    return list(Generator(seed).events(0, count))


def known(events: Sequence[Event], at: datetime | None = None) -> dict[str, bool]:
    """The truth about those that are confirmed at a moment, at that of the last event if none is named."""
    until = at or max(event.at for event in events)
    return {event.truth.trans_num: event.is_fraud for event in events if event.truth.confirmed_at <= until}


def objects(events: Sequence[Event], truth: dict[str, bool]) -> dict[str, bytes]:
    """The three objects that `extractor_sql` writes of them."""
    validated, history = io.StringIO(), io.StringIO()
    confirmed = csv.writer(validated, lineterminator="\n")
    confirmed.writerow(["", *COLUMNS, "is_fraud"])
    every = csv.writer(history, lineterminator="\n")
    every.writerow(HISTORY)
    for number, event in enumerate(events, 1):
        row = transaction(event)
        every.writerow([getattr(row, name) for name in HISTORY])
        if row.trans_num in truth:
            confirmed.writerow([number, *(event.transaction[name] for name in COLUMNS), truth[row.trans_num]])
    bodies = {"validated.csv": validated.getvalue().encode(), "history.csv": history.getvalue().encode()}
    state: dict[str, Any] = {
        part: {
            "object": f"{part}.csv",
            "rows": bodies[f"{part}.csv"].count(b"\n") - 1,
            "bytes": len(bodies[f"{part}.csv"]),
            "sha256": hashlib.sha256(bodies[f"{part}.csv"]).hexdigest(),
        }
        for part in ("validated", "history")
    }
    newest = max((event.at.isoformat() for event in events), default=None)
    state |= {"newest_transaction": newest, "newest_confirmation": newest, "until": None}
    state |= {"extracted_at": "2026-11-22T17:00:00Z", "rows_added": len(truth)}
    return {**bodies, "validated.json": json.dumps(state).encode()}
