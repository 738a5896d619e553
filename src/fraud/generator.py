"""Card transactions out of a seed: transaction `i` of a seed is always the same, on every machine.

A day of transactions is made together, from streams of its own (`fraud.scenario`). So any range can be made without
what comes before it, and the distributions do not wander with time.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import count
from typing import Any

from fraud.dates import LAST_YEAR
from fraud.scenario.days import DAY, FIRST_DAY, PER_DAY, World
from fraud.scenario.drift import Drift
from fraud.scenario.merchants import CATEGORY_NAMES
from fraud.scenario.purchases import Purchase
from fraud.scenario.rules import predicted
from job.errors import SettingError

__all__ = ["TOTAL", "UNCHALLENGED_AFTER", "Event", "Generator", "Truth", "check_range"]

FIRST_MOMENT = datetime.combine(FIRST_DAY, time())
FIRST_UNIX = int(FIRST_MOMENT.replace(tzinfo=UTC).timestamp())
TOTAL = (date(LAST_YEAR + 1, 1, 1) - FIRST_DAY).days * PER_DAY
"""How many transactions there are, to the end of the last year that a date may have."""
UNCHALLENGED_AFTER = timedelta(days=7)
"""After which time a transaction that nobody has complained of counts as genuine."""
# Within a week the holder sees it on the telephone; later on the statement, and has it charged back.
HOLDER_SEES = timedelta(days=7)
# The latest truth of a day: an episode's last purchase is a day and its discovery 29 days later.
DAYS_UNTIL_TRUTH = 31


@dataclass(frozen=True, slots=True)
class Truth:
    """What a transaction turns out to be: whether it is a fraud, who says so, and when."""

    trans_num: str
    is_fraud: bool
    confirmed_by: str
    confirmed_at: datetime

    def __str__(self) -> str:
        """A line of a file of confirmations."""
        return f"{self.trans_num},{self.is_fraud:d},{self.confirmed_by},{self.confirmed_at}"


@dataclass(frozen=True, slots=True)
class Event:
    """What happens: a transaction (its 21 columns), when, the thieves' pattern if it is one, and its truth."""

    transaction: dict[str, Any]
    at: datetime
    pattern: str | None
    truth: Truth

    @property
    def is_fraud(self) -> bool:
        """The truth, which nobody knows yet when it happens."""
        return self.truth.is_fraud


class Generator:
    """The transactions of one seed, in a world that drifts where it is told to."""

    def __init__(self, seed: int, drift: Drift | None = None) -> None:
        drift = drift or Drift()
        self._seed = seed
        self.name = f"seed-{seed}{drift.name and '-' + drift.name}"
        """The same for the same transactions."""
        self.world = World(seed, drift)
        self._purchases = lru_cache(2)(self.world.purchases)
        self._events = lru_cache(4)(self._events_of)
        # A day's truths are asked for a week long, its frauds for a month.
        self._truths = lru_cache(UNCHALLENGED_AFTER.days + 2)(self._truths_of)
        self._frauds = lru_cache(DAYS_UNTIL_TRUTH + 2)(self._frauds_of)
        self._due = lru_cache(4)(self._due_on)

    def event(self, number: int) -> Event:
        """Transaction `number` (from 0) and its truth."""
        day, place = divmod(number, PER_DAY)
        return self._events(day)[place]

    def events(self, start: int, stop: int | None = None) -> Iterator[Event]:
        """The events of a range; without `stop` there is no end to them."""
        return map(self.event, count(start) if stop is None else range(start, stop))

    def transaction(self, number: int) -> dict[str, Any]:
        """Transaction `number` with its prediction by the rules of thumb, as the object that a batch holds."""
        event = self.event(number)
        return {**event.transaction, "is_fraud": predicted(event.transaction, event.at)}

    def confirmations(self, after: datetime, until: datetime) -> list[Truth]:
        """The truths that come out after one moment and until another one, in the order in which they do."""
        days = range(max((after - FIRST_MOMENT).days, 0), (until - FIRST_MOMENT).days + 1)
        return [truth for day in days for truth in _between(self._due(day), after, until)]

    def _events_of(self, day: int) -> list[Event]:
        made = zip(self._purchases(day), self._truths(day), strict=True)
        return [self._event(purchase, truth) for purchase, truth in made]

    def _truths_of(self, day: int) -> list[Truth]:
        numbered = enumerate(self._purchases(day), start=day * PER_DAY)
        return [_truth(self._name(number), purchase) for number, purchase in numbered]

    def _frauds_of(self, day: int) -> list[Truth]:
        return [truth for truth in self._truths(day) if truth.is_fraud]

    def _due_on(self, day: int) -> list[Truth]:
        """The truths that come out on a day: frauds of a month, genuine ones of one day a week before."""
        midnight = FIRST_MOMENT + timedelta(days=day)
        found = [truth for past in range(max(day - DAYS_UNTIL_TRUTH, 0), day + 1) for truth in self._frauds(past)]
        if (quiet := day - UNCHALLENGED_AFTER.days) >= 0:
            found += [truth for truth in self._truths(quiet) if not truth.is_fraud]
        found.sort(key=lambda truth: (truth.confirmed_at, truth.trans_num))
        return _between(found, midnight - timedelta(microseconds=1), midnight + timedelta(seconds=DAY - 1))

    def _event(self, purchase: Purchase, truth: Truth) -> Event:
        card, at = purchase.card, _moment(purchase.second)
        transaction = {
            "trans_date_trans_time": at.isoformat(" "),
            "cc_num": card.cc_num,
            "merchant": self.world.merchants.names[purchase.category][purchase.merchant],
            "category": CATEGORY_NAMES[purchase.category],
            "amt": purchase.amount,
            **card.holder,
            "trans_num": truth.trans_num,
            "unix_time": FIRST_UNIX + purchase.second,
            "merch_lat": purchase.place[0],
            "merch_long": purchase.place[1],
        }
        return Event(transaction, at, purchase.fraud.pattern if purchase.fraud else None, truth)

    def _name(self, number: int) -> str:
        return hashlib.blake2b(f"{self._seed}:{number}".encode(), digest_size=16).hexdigest()


def check_range(start: int, count: int) -> None:
    """Refuse a range of transactions that goes on for too long.

    Raises:
        SettingError: It does.
    """
    if start + count > TOTAL:
        raise SettingError(f"START + TRANSACTIONS is {start + count:,}: {TOTAL:,} is the most, the end of {LAST_YEAR}")


def _moment(second: int) -> datetime:
    return FIRST_MOMENT + timedelta(seconds=second)


def _truth(trans_num: str, purchase: Purchase) -> Truth:
    at, fraud = _moment(purchase.second), purchase.fraud
    if fraud is None:
        return Truth(trans_num, False, "unchallenged", at + UNCHALLENGED_AFTER)
    found = _moment(fraud.found)
    return Truth(trans_num, True, "holder" if found - at <= HOLDER_SEES else "chargeback", found)


def _between(truths: list[Truth], after: datetime, until: datetime) -> list[Truth]:
    """Those of a sorted list that come out after one moment and until another one."""
    first, last = (bisect_right(truths, moment, key=lambda truth: truth.confirmed_at) for moment in (after, until))
    return truths[first:last]
