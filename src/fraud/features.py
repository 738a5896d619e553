"""What a model sees of a transaction: numbers of itself and of its card's last thirty days. The standard library alone.

One code path for training and for serving: `features` puts the past into a `Card` and asks it, `features_of` walks the
transactions in order of time and asks the same cards before it adds to them. Sums are kept as whole numbers (cents,
metres, thousandths of a logarithm), so that what is added and taken away again leaves no trace: both ways are equal to
the bit. There is no identity among the features, no date, no name, no gender and no age.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

__all__ = ["CATEGORIES", "FEATURES", "WINDOW", "Card", "Transaction", "features", "features_of"]

WINDOW = timedelta(days=30)
"""How far back a card's past counts."""

CATEGORIES = (
    "grocery_net",
    "misc_net",
    "shopping_net",
    "entertainment",
    "food_dining",
    "gas_transport",
    "grocery_pos",
    "health_fitness",
    "home",
    "kids_pets",
    "misc_pos",
    "personal_care",
    "shopping_pos",
    "travel",
)
"""The categories that a model tells apart, by their place here; purchases on the net come first."""

FEATURES = (
    "amount",
    "category",
    "hour",
    "city_size",
    "home_km",
    "shop_km",
    "shop_km_an_hour",
    "home_km_an_hour",
    "last_seconds",
    "online_seconds",
    "count_1h",
    "count_24h",
    "count_7d",
    "count_30d",
    "online_1h",
    "new_merchants_1h",
    "amount_1h",
    "amount_24h",
    "amount_7d",
    "online_amount_1h",
    "pace_24h",
    "amount_to_mean",
    "amount_to_last",
    "amount_deviation",
    "amount_deviation_in_category",
    "home_deviation",
    "hour_share",
    "category_share",
    "category_count",
    "merchant_count",
)
"""The names of the features, in order."""

HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)
NOTHING = math.nan
EARTH_KM = 6371.0088
CODES = {name: float(code) for code, name in enumerate(CATEGORIES)}
ONLINE = "_net"
# A shop so near is one that the holder goes to from home.
NEAR_HOME_METRES = 150_000
# Nobody is asked to have moved in less time than this: clocks differ, and a division by zero says nothing.
LEAST_SECONDS = 60.0
# A card that always pays the same is not infinitely surprised by a cent: spreads are this much at least.
LEAST_SPREAD_LOG, LEAST_SPREAD_METRES = 250, 1000


@dataclass(frozen=True, slots=True)
class Transaction:
    """What the features are made of. `cc_num` and `trans_num` only tell whose past it is, and what came before what."""

    trans_num: str
    cc_num: int
    at: datetime
    merchant: str
    category: str
    amt: float
    lat: float
    long: float
    merch_lat: float
    merch_long: float
    city_pop: int


def features(now: Transaction, past: Sequence[Transaction]) -> tuple[float, ...]:
    """The `FEATURES` of a transaction, given its card's past; NaN where there is nothing to say.

    Args:
        now: The transaction.
        past: The same card's transactions of the last `WINDOW` before it, strictly before by (at, trans_num), oldest
            first. What else there is among them is left out, and their order is put right: databases sort texts by
            rules of their own.
    """
    card, since, until = Card(), now.at - WINDOW, _place(now)
    for each in sorted(past, key=_place):
        if each.at > since and _place(each) < until:
            card.add(each)
    return card.features(now)


def features_of(rows: Iterable[Transaction]) -> Iterator[tuple[Transaction, tuple[float, ...]]]:
    """Each transaction with its features, in order of time, whatever the order they come in."""
    cards: defaultdict[int, Card] = defaultdict(Card)
    for each in sorted(rows, key=_place):
        card = cards[each.cc_num]
        yield each, card.features(each)
        card.add(each)


def _place(row: Transaction) -> tuple[datetime, str]:
    """What comes before what, within the same second too."""
    return row.at, row.trans_num


class _Window:
    """How many transactions there were in the last while, and what they came to, in cents."""

    __slots__ = ("cents", "length", "seen")

    def __init__(self, length: timedelta) -> None:
        self.length, self.cents = length, 0
        self.seen: deque[_Past] = deque()

    def add(self, past: _Past) -> None:
        self.seen.append(past)
        self.cents += past.cents

    def advance(self, now: datetime) -> None:
        since, seen = now - self.length, self.seen
        while seen and seen[0].row.at <= since:
            self.cents -= seen.popleft().cents


class _Habit:
    """Mean and spread of whole numbers that come and go."""

    __slots__ = ("count", "squares", "sum")

    def __init__(self) -> None:
        self.count = self.sum = self.squares = 0

    def add(self, value: int) -> None:
        self.count += 1
        self.sum += value
        self.squares += value * value

    def remove(self, value: int) -> None:
        self.count -= 1
        self.sum -= value
        self.squares -= value * value

    def deviation(self, value: int, least: int) -> float:
        """How many spreads a value is from the mean; a spread is `least` at the least."""
        count = self.count
        if not count:
            return NOTHING
        spread = math.sqrt((count * self.squares - self.sum * self.sum) / (count * count))
        return (value - self.sum / count) / max(spread, least)


class _Past(NamedTuple):
    """A transaction of the past as a card remembers it."""

    row: Transaction
    cents: int
    log: int
    metres: int
    online: bool


class Card:
    """A card's last `WINDOW`, which transactions are added to in order of time."""

    def __init__(self) -> None:
        self._seen: deque[_Past] = deque()
        self._windows = _Window(HOUR), _Window(DAY), _Window(WEEK)
        self._online_hour = _Window(HOUR)
        self._cents = 0
        self._hours = [0] * 24
        self._merchants: Counter[str] = Counter()
        self._amounts, self._distances = _Habit(), _Habit()
        self._of_category: defaultdict[str, _Habit] = defaultdict(_Habit)
        # The last purchase online, in a shop, and in a shop near home.
        self._online: Transaction | None = None
        self._shop: Transaction | None = None
        self._near: Transaction | None = None

    def add(self, row: Transaction) -> None:
        """Remember a transaction, which is the latest one so far."""
        past = _past(row)
        self._seen.append(past)
        self._cents += past.cents
        for window in self._windows:
            window.add(past)
        self._hours[row.at.hour] += 1
        self._merchants[row.merchant] += 1
        self._amounts.add(past.log)
        self._of_category[row.category].add(past.log)
        self._distances.add(past.metres)
        if past.online:
            self._online = row
            self._online_hour.add(past)
        else:
            self._shop = row
            if past.metres < NEAR_HOME_METRES:
                self._near = row

    def features(self, now: Transaction) -> tuple[float, ...]:
        """The `FEATURES` of a transaction that comes after all that were added; forgets what is too old by then."""
        self._advance(now.at)
        this, count = _past(now), len(self._seen)
        in_category = self._of_category.get(now.category) or _Habit()
        around = sum(self._hours[(now.at.hour + step) % 24] for step in (-1, 0, 1))
        return (
            now.amt,
            CODES.get(now.category, NOTHING),
            now.at.hour + now.at.minute / 60 + now.at.second / 3600,
            float(len(str(now.city_pop))),
            this.metres / 1000,
            *self._ways(this),
            _seconds(now, self._seen[-1].row if count else None),
            _seconds(now, self._online),
            *self._velocity(),
            *self._amount(now, this.cents),
            self._amounts.deviation(this.log, LEAST_SPREAD_LOG),
            in_category.deviation(this.log, LEAST_SPREAD_LOG),
            self._distances.deviation(this.metres, LEAST_SPREAD_METRES),
            around / count if count else NOTHING,
            in_category.count / count if count else NOTHING,
            float(in_category.count),
            float(self._merchants.get(now.merchant, 0)),
        )

    def _advance(self, now: datetime) -> None:
        for window in (*self._windows, self._online_hour):
            window.advance(now)
        since, seen = now - WINDOW, self._seen
        while seen and seen[0].row.at <= since:
            self._forget(seen.popleft())
        self._online, self._shop, self._near = (
            None if last is None or last.at <= since else last for last in (self._online, self._shop, self._near)
        )

    def _forget(self, past: _Past) -> None:
        row = past.row
        self._cents -= past.cents
        self._hours[row.at.hour] -= 1
        self._merchants[row.merchant] -= 1
        if not self._merchants[row.merchant]:
            del self._merchants[row.merchant]
        self._amounts.remove(past.log)
        self._of_category[row.category].remove(past.log)
        self._distances.remove(past.metres)

    def _ways(self, this: _Past) -> tuple[float, float, float]:
        """Kilometres and speed from the last shop, and speed from home, since the last purchase near it.

        What is bought online is bought nowhere.
        """
        if this.online:
            return NOTHING, NOTHING, NOTHING
        now, shop, near = this.row, self._shop, self._near
        km = NOTHING if shop is None else _kilometres(now.merch_lat, now.merch_long, shop.merch_lat, shop.merch_long)
        return km, _speed(km, _seconds(now, shop)), _speed(this.metres / 1000, _seconds(now, near))

    def _velocity(self) -> tuple[float, ...]:
        """How many there were of late, and how many of them online or at merchants that are new to the card."""
        hour, day, week = (window.seen for window in self._windows)
        new = sum(self._merchants[past.row.merchant] == 1 for past in hour)
        return (*map(float, (len(hour), len(day), len(week), len(self._seen), len(self._online_hour.seen), new)),)

    def _amount(self, now: Transaction, cents: int) -> tuple[float, ...]:
        """What was paid of late; how many times as busy the last day is as others are; the amount beside others."""
        hour, day, week = self._windows
        paid = hour.cents / 100, day.cents / 100, week.cents / 100, self._online_hour.cents / 100
        count = len(self._seen)
        if not count:
            return *paid, NOTHING, NOTHING, NOTHING
        days = max((now.at - self._seen[0].row.at) / DAY, 1.0)
        mean, last = self._cents / count, self._seen[-1].cents
        # What is free counts as a cent.
        return *paid, len(day.seen) * days / count, cents / max(mean, 1.0), cents / max(last, 1)


def _past(row: Transaction) -> _Past:
    cents = round(row.amt * 100)
    # Thousandths of the natural logarithm; what is free counts as a cent.
    log = round(1000 * math.log(max(cents, 1) / 100))
    metres = round(1000 * _kilometres(row.lat, row.long, row.merch_lat, row.merch_long))
    return _Past(row, cents, log, metres, row.category.endswith(ONLINE))


def _seconds(now: Transaction, last: Transaction | None) -> float:
    return NOTHING if last is None else (now.at - last.at).total_seconds()


def _speed(km: float, seconds: float) -> float:
    """Kilometres an hour; NaN, where either is not known, stays."""
    return km * 3600 / max(seconds, LEAST_SECONDS) if seconds == seconds else NOTHING


def _kilometres(lat: float, long: float, other_lat: float, other_long: float) -> float:
    """The great-circle distance, by the haversine formula: 181° is -179°, and rounding never leaves the sphere."""
    one, other = math.radians(lat), math.radians(other_lat)
    up, across = math.sin((one - other) / 2), math.sin(math.radians(long - other_long) / 2)
    return 2 * EARTH_KM * math.asin(math.sqrt(min(up * up + math.cos(one) * math.cos(other) * across * across, 1.0)))
