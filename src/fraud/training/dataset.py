"""What a detector learns from, and what it is judged by: parted by time and by card, the same way every time.

What is judged has learned from the cards that are not held out, before the cut, and is judged by the held-out cards
after it. What is served has learned from the other cards after it as well, which are the present. No model ever learns
from a held-out card, so that any two of them can be compared on these. Transactions whose
truth is not known are the past of others and nothing else; and so are those that are not *ripe*: frauds are told of
within days, while a transaction counts as genuine when nobody has complained for longer than that, so that those which
are confirmed of the last days are nearly all frauds.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from fraud.drift.sample import DAYS, Featured
from fraud.features import FEATURES, Transaction, features_of
from job.errors import JobError

__all__ = ["LATER", "LEAST_HELD_OUT", "LEAST_TRAINING", "Examples", "Split", "is_held_out", "ripe_until", "split"]

# Held out is one card in so many, by its number alone.
ONE_IN = 3
LATER = timedelta(days=14)
"""For how long the held-out cards are judged by."""
LEAST_TRAINING, LEAST_HELD_OUT = 20, 5
"""The fewest frauds to learn from, and to judge by."""
# Ripe is found by parts of the history of about so many transactions, not more parts than that.
OF_A_PART, PARTS = 250, 60
MORE = "confirm more of them (docker compose up confirm), or let more time pass (TRANSACTIONS=100000 for the simulator)"


@dataclass(frozen=True)
class Examples:
    """Transactions whose truth is known, in columns.

    Attributes:
        rows: A row of `FEATURES` each.
        fraud: Whether it was one.
        amount: What was paid.
        card: Whose it is.
    """

    rows: npt.NDArray[np.float64]
    fraud: npt.NDArray[np.bool_]
    amount: npt.NDArray[np.float64]
    card: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.fraud)

    @property
    def frauds(self) -> int:
        """How many are frauds."""
        return int(self.fraud.sum())

    def __add__(self, other: Examples) -> Examples:
        """These and those."""
        mine, theirs = vars(self).values(), vars(other).values()
        return Examples(*(np.concatenate(pair) for pair in zip(mine, theirs, strict=True)))

    def of(self, which: npt.NDArray[np.intp] | npt.NDArray[np.bool_]) -> Examples:
        """Some of them."""
        return Examples(self.rows[which], self.fraud[which], self.amount[which], self.card[which])


@dataclass(frozen=True)
class Split:
    """What a model learns from, what it is judged by, and what is used for neither.

    Attributes:
        training: What the one that is judged learns from.
        later: The same cards' after the cut: the one that is served learns from them too.
        held_out: What they are judged by.
        since: The cut: what is held out begins here.
        until: Later transactions are not ripe.
        transactions: How many there are in all.
        waiting: How many of them are not confirmed yet.
        unripe: How many are confirmed, but later than `until`.
        recent: All those of the last `DAYS` with their features, confirmed or not, and before them the first of all.
    """

    training: Examples
    later: Examples
    held_out: Examples
    since: datetime
    until: datetime
    transactions: int
    waiting: int
    unripe: int
    recent: list[Featured]

    @property
    def known(self) -> Examples:
        """What the one that is served learns from."""
        return self.training + self.later

    @property
    def counts(self) -> dict[str, int]:
        """How many there are of each kind."""
        used = len(self.training) + len(self.later) + len(self.held_out)
        return {
            "transactions": self.transactions,
            "training_rows": len(self.training),
            "training_frauds": self.training.frauds,
            "later_rows": len(self.later),
            "later_frauds": self.later.frauds,
            "held_out_rows": len(self.held_out),
            "held_out_frauds": self.held_out.frauds,
            "waiting_rows": self.waiting,
            "unripe_rows": self.unripe,
            "unused_rows": self.transactions - self.waiting - self.unripe - used,
        }


@dataclass
class _Growing:
    """Examples that are being collected."""

    rows: array[float] = field(default_factory=lambda: array("d"))
    amount: array[float] = field(default_factory=lambda: array("d"))
    card: array[int] = field(default_factory=lambda: array("q"))
    fraud: list[bool] = field(default_factory=list)

    def add(self, row: Transaction, features: Sequence[float], fraud: bool) -> None:
        self.rows.extend(features)
        self.amount.append(row.amt)
        self.card.append(row.cc_num)
        self.fraud.append(fraud)

    def examples(self) -> Examples:
        rows = np.array(self.rows, np.float64).reshape(-1, len(FEATURES))
        fraud = np.array(self.fraud, np.bool_)
        return Examples(rows, fraud, np.array(self.amount, np.float64), np.array(self.card, np.int64))


def is_held_out(card: int) -> bool:
    """Whether models are judged by this card and never learn from it: a hash of it, no chance."""
    return hashlib.sha256(str(card).encode()).digest()[0] % ONE_IN == 0


def split(transactions: Sequence[Transaction], truth: Mapping[str, bool], later: timedelta = LATER) -> Split:
    """Training and held-out examples; these are of the last while, `later`, or of the later half where that is less.

    Raises:
        JobError: There are too few frauds among them to learn from and to judge by.
    """
    if not truth:
        raise JobError(f"none of {len(transactions):,} transactions is confirmed, so there is nothing to learn: {MORE}")
    until = ripe_until(transactions, truth)
    ripe = sorted(row.at for row in transactions if row.trans_num in truth and row.at <= until)
    since = max(ripe[len(ripe) // 2], until - later)
    recently = max(row.at for row in transactions) - DAYS
    training, later_on, held_out, recent = _Growing(), _Growing(), _Growing(), list[Featured]()
    for row, features in features_of(transactions):
        if not recent or row.at > recently:
            recent.append((row, features))
        said = truth.get(row.trans_num)
        if said is None or row.at > until:
            continue
        after = row.at >= since
        if not is_held_out(row.cc_num):
            (later_on if after else training).add(row, features, said)
        elif after:
            held_out.add(row, features, said)
    made = Split(
        training=training.examples(),
        later=later_on.examples(),
        held_out=held_out.examples(),
        since=since,
        until=until,
        transactions=len(transactions),
        waiting=len(transactions) - len(truth),
        unripe=len(truth) - len(ripe),
        recent=recent,
    )
    _check(made)
    return made


def ripe_until(transactions: Sequence[Transaction], truth: Mapping[str, bool]) -> datetime:
    """The time up to which transactions are confirmed whether they were frauds or not.

    Of each part of the time, with as many transactions, the share that is confirmed as genuine. The last part that has
    half of the highest share is ripe, up to its newest genuine transaction. An early word about one transaction of
    yesterday makes no day ripe.

    Raises:
        JobError: No transaction is confirmed as genuine.
    """
    said = {name for name, fraud in truth.items() if not fraud}
    if not said:
        raise JobError(
            f"all {len(truth):,} confirmed transactions are frauds, so there is none to tell them from: {MORE}"
        )
    others = [row for row in transactions if not truth.get(row.trans_num)]
    others.sort(key=lambda row: row.at)
    genuine = np.array([row.trans_num in said for row in others], np.bool_)
    parts = np.array_split(np.arange(len(others)), min(max(len(others) // OF_A_PART, 1), PARTS))
    shares = np.array([genuine[part].mean() for part in parts])
    last = parts[int(np.flatnonzero(shares >= shares.max() / 2)[-1])]
    newest = int(np.flatnonzero(genuine[: last[-1] + 1])[-1])
    return others[newest].at


def _check(made: Split) -> None:
    """Say what is missing, where there is not enough to train on."""
    training, held_out = made.training, made.held_out
    if training.frauds >= LEAST_TRAINING and held_out.frauds >= LEAST_HELD_OUT:
        return
    ripe = len(training) + len(held_out)
    raise JobError(
        f"too few confirmed frauds: {training.frauds} to learn from and {held_out.frauds} to judge by (on held-out "
        f"cards), and {LEAST_TRAINING} and {LEAST_HELD_OUT} are the least; {ripe:,} transactions until {made.until} "
        f"are used, {made.waiting:,} wait for their truth, {made.unripe:,} are confirmed but too recent: {MORE}"
    )
