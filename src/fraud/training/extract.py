"""What `extractor_sql` left on S3: found by its state, checked against the digests in it, read into transactions.

The three objects are replaced one after the other. Whoever comes in between sees digests that do not agree, and looks
again a moment later.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fraud.features import Transaction
from job.errors import JobError
from job.storage import MissingObjectError, Storage

__all__ = ["HISTORY", "Extract", "State", "fetch"]

HISTORY = (
    "trans_num",
    "cc_num",
    "at",
    "merchant",
    "category",
    "amt",
    "lat",
    "long",
    "merch_lat",
    "merch_long",
    "city_pop",
)
"""The columns of `history.csv`."""

TRUTH = {"True": True, "False": False}
AGAIN = "run extractor_sql again (docker compose up extractor_sql)"
LOOKS, PAUSE = 5, 1.0
# A merchant's name is a field of a database, of whatever length.
csv.field_size_limit(2**27)


@dataclass(frozen=True)
class State:
    """What the extractor says of its objects.

    Attributes:
        address: Where it says so.
        raw: All that it says.
        digests: The SHA-256 of each object, by its address: the confirmed transactions, then the history.
        newest: The time of the newest transaction, in ISO's spelling; empty where there is none.
    """

    address: str
    raw: Mapping[str, Any]
    digests: Mapping[str, str]
    newest: str


@dataclass(frozen=True)
class Extract:
    """The objects of one extract, whole.

    Attributes:
        state: What the extractor says of them.
        confirmed: The CSV of the confirmed transactions.
        history: The CSV of all transactions.
    """

    state: State
    confirmed: bytes
    history: bytes

    @property
    def sha256(self) -> str:
        """What is learned from: the confirmed transactions. Others that were logged since are no news."""
        validated, _ = self.state.digests.values()
        return validated

    def read(self) -> tuple[list[Transaction], dict[str, bool]]:
        """All transactions; and of the confirmed ones whether they were frauds, by `trans_num`.

        Raises:
            JobError: The objects hold something else.
        """
        validated, history = self.state.digests
        try:
            truth = {name: TRUTH[said] for name, said in _lines(validated, self.confirmed, ("trans_num", "is_fraud"))}
            transactions = [_transaction(line) for line in _lines(history, self.history, HISTORY)]
        except KeyError as error:
            raise JobError(f"{validated}: is_fraud is {error}, neither True nor False; {AGAIN}") from None
        except (ValueError, csv.Error) as error:
            raise JobError(f"{self.state.address} has objects that hold no transactions: {error}; {AGAIN}") from None
        missing = len(truth.keys() - {each.trans_num for each in transactions})
        if missing:
            raise JobError(f"{missing:,} transactions of {validated} are not in {history}: {AGAIN}")
        return transactions, truth


def fetch(storage: Storage, address: str) -> Extract:
    """The extract whose state is at this address, with the digests that the state has.

    Raises:
        JobError: It is not there, or what is there is no whole extract.
    """
    for look in range(LOOKS):
        if look:
            time.sleep(PAUSE)
        state = _state(storage, address)
        try:
            bodies = [storage.get(name) for name in state.digests]
        except MissingObjectError as missing:
            raise JobError(f"{missing}, which {address} names: {AGAIN}") from None
        wrong = [
            name
            for (name, digest), body in zip(state.digests.items(), bodies, strict=True)
            if hashlib.sha256(body).hexdigest() != digest
        ]
        if not wrong:
            return Extract(state, *bodies)
    raise JobError(f"{', '.join(wrong)} is not what {address} describes (SHA-256): {AGAIN}")


def _state(storage: Storage, address: str) -> State:
    try:
        raw = json.loads(storage.get(address))
        folder = address.rpartition("/")[0]
        parts = [raw[name] for name in ("validated", "history")]
        digests = {f"{folder}/{part['object']}": str(part["sha256"]) for part in parts}
        return State(address, raw, digests, str(raw["newest_transaction"] or ""))
    except MissingObjectError as missing:
        hint = "run extractor_sql first, which writes it (docker compose up extractor_sql)"
        raise JobError(f"{missing}: {hint}") from None
    except (ValueError, KeyError, TypeError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else "is not JSON with the keys of one"
        raise JobError(f"{address} is no state of an extract: it {what}; {AGAIN}") from None


def _transaction(line: list[str]) -> Transaction:
    name, card, at, merchant, category, *numbers, inhabitants = line
    amount, lat, long, merch_lat, merch_long = map(float, numbers)
    moment = datetime.fromisoformat(at)
    return Transaction(
        name, int(card), moment, merchant, category, amount, lat, long, merch_lat, merch_long, int(inhabitants)
    )


def _lines(address: str, body: bytes, names: tuple[str, ...]) -> Iterator[list[str]]:
    """The columns of these names, of each line."""
    reader = csv.reader(io.TextIOWrapper(io.BytesIO(body), "utf-8", newline=""))
    header = next(reader, [])
    missing = [name for name in names if name not in header]
    if missing:
        raise JobError(f"{address} has no column {', '.join(missing)}: {AGAIN}")
    places = [header.index(name) for name in names]
    for line in reader:
        if len(line) != len(header):
            raise JobError(f"{address} line {reader.line_num}: {len(line)} columns and not {len(header)}; {AGAIN}")
        yield [line[place] for place in places]
