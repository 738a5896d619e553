"""Some transactions of each card, of which it is known that they belong together; and `reference.csv`, which is such.

A card's transactions are alike, and those of one fraud come together: a test that took each of them for a witness of
its own would raise false alarms. So a sample is of cards: of each, a few transactions of a week, drawn by hashes, and
the week's highest score. Whoever trains a detector puts such a sample of the last week that it knows into its package,
and the drift job draws another one from the last week that there is.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from fraud.features import FEATURES, Transaction

__all__ = [
    "CARDS",
    "DAYS",
    "REFERENCE",
    "Featured",
    "Row",
    "draw",
    "from_csv",
    "highest_scores",
    "make_reference",
    "scored_rows",
    "span",
    "to_csv",
]

REFERENCE = "reference.csv"
"""The name of the reference sample in the detector's package."""
DAYS = timedelta(days=7)
"""What a sample is drawn from: a whole week, in which each day of the week comes once."""
CARDS, OF_A_CARD = 1_000, 5
"""The most cards of a sample, and the most transactions of a card."""

HEADER = ("card", "known", "score", "highest", *FEATURES)
Featured = tuple[Transaction, tuple[float, ...]]
"""A transaction and its `FEATURES`."""


@dataclass(frozen=True, slots=True)
class Row:
    """A transaction in a sample. It does not say which.

    Attributes:
        card: Its card's number in the sample, from 0.
        known: For how many seconds there were data when the sample was drawn: so far back do features look at most.
        score: What the detector says of it; NaN where the detector has learned from it, or might have.
        highest: The highest score of the card's transactions of the sample's `DAYS`; NaN as above.
        features: Its `FEATURES`.
    """

    card: int
    known: float
    score: float
    highest: float
    features: tuple[float, ...]


def make_reference(rows: Iterable[Featured], scores: Mapping[str, float]) -> list[Row]:
    """The reference sample that belongs to a detector.

    Args:
        rows: All transactions that were known when it was made, confirmed or not: what
            `fraud.features.features_of` gives.
        scores: By `trans_num`, what the detector says of transactions of the last `DAYS` before the newest one: all
            those of a card, or none. Only of cards of which it has not learned from anything in those days.
    """
    known = list(rows)
    if not known:
        return []
    begin, newest = (pick(row.at for row, _ in known) for pick in (min, max))
    return draw([each for each in known if each[0].at > newest - DAYS], scores, begin)


def draw(recent: Iterable[Featured], scores: Mapping[str, float], begin: datetime) -> list[Row]:
    """A sample of the transactions of `DAYS`, in the order of hashes.

    Args:
        recent: All of them.
        scores: As in `make_reference`.
        begin: The oldest transaction that their features have seen, of whatever card.
    """
    cards: dict[int, list[Featured]] = {}
    newest = begin
    for each in recent:
        cards.setdefault(each[0].cc_num, []).append(each)
        newest = max(newest, each[0].at)
    span, made = (newest - begin).total_seconds(), list[Row]()
    for number, card in enumerate(sorted(cards, key=lambda card: _digest(str(card)))[:CARDS]):
        known = [scores[row.trans_num] for row, _ in cards[card] if row.trans_num in scores]
        drawn = sorted(cards[card], key=lambda each: _digest(each[0].trans_num))[:OF_A_CARD]
        for row, features in drawn:
            score, highest = scores.get(row.trans_num, math.nan), max(known, default=math.nan)
            made.append(Row(number, span, score, highest, features))
    return made


def span(rows: Sequence[Row]) -> timedelta:
    """For how long there were data when a sample was drawn: of a past that is longer or shorter, features differ."""
    return timedelta(seconds=rows[0].known)


def scored_rows(rows: Iterable[Row]) -> list[Row]:
    """Those of the cards that the detector has not learned from."""
    return [row for row in rows if not math.isnan(row.score)]


def highest_scores(rows: Iterable[Row]) -> list[float]:
    """The highest score of each card."""
    return list({row.card: row.highest for row in rows}.values())


def to_csv(rows: Iterable[Row]) -> bytes:
    """The sample as `reference.csv`; each number is read back as it was."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    for row in rows:
        numbers = (row.known, row.score, row.highest, *row.features)
        writer.writerow([row.card, *(repr(float(each)) for each in numbers)])
    return file.getvalue().encode()


def from_csv(body: bytes) -> list[Row]:
    """The sample that `to_csv` has written.

    Raises:
        ValueError: It is something else, or a sample for other features.
    """
    header, *lines = csv.reader(io.StringIO(body.decode()))
    if tuple(header) != HEADER:
        raise ValueError("its columns are not those of a sample")
    rows = []
    for line in lines:
        known, score, highest, *features = map(float, line[1:])
        if len(features) != len(FEATURES):
            raise ValueError("a row has too few numbers")
        rows.append(Row(int(line[0]), known, score, highest, tuple(features)))
    return rows


def _digest(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()
