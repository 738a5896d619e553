"""Card transactions out of a seed: transaction ``i`` of a seed is always the same, on every machine.

Each transaction is drawn from a random stream of its own, named by the seed and its number. So any range can
be made without what comes before it, and the distributions do not wander with time. Only ``Random.random`` is
used: it is the one method whose sequence Python promises to keep.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from random import Random
from typing import Any

from fraud.places import CATEGORIES, FIRST_NAMES, JOBS, LAST_NAMES, STREET_KINDS, TOWNS

__all__ = ["FRAUD_RATE", "Generator"]

FRAUD_RATE = 0.004
FIRST_MOMENT = datetime(2025, 1, 1)
DAY_SECONDS = 86_400
CARDS = 1_000
PER_DAY = 2_500
MERCHANTS_PER_CATEGORY = 50
# How busy each hour of the day is; and thieves work at night.
HOURLY_SHARE = (*[46] * 7, 44, 44, 44, 46, 46, *[76] * 7, 68, 66, 66, 76, 74)
NIGHT_HOURS = frozenset({22, 23, 0, 1, 2, 3})
NIGHT_SHARE_OF_FRAUDS = 0.8


class Generator:
    """The transactions of one seed."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._cards = [self._card(number) for number in range(CARDS)]
        self._card_ladder = _ladder([card["activity"] for card in self._cards])
        self._hours = _ladder(HOURLY_SHARE)
        self._genuine = _Purchases([(name, c[0], c[1], c[2]) for name, c in CATEGORIES.items()])
        self._frauds = _Purchases([(name, c[3], c[4], c[5]) for name, c in CATEGORIES.items()])
        self._merchants = {name: self._merchant_names(name) for name in CATEGORIES}
        self._fraud_rates = _fraud_rates()

    def transaction(self, number: int) -> dict[str, Any]:
        """Transaction ``number`` (from 0) with its prediction, as the object that a batch holds."""
        draw = self._stream("transaction", number)
        moment = self._moment(number, draw())
        card = self._cards[bisect_right(self._card_ladder, draw())]
        is_fraud = draw() < self._fraud_rates[moment.hour]
        category, amount = (self._frauds if is_fraud else self._genuine).draw(draw(), draw(), draw())
        if not is_fraud:
            amount *= card["spending"]
        merchant = self._merchants[category][int(draw() * MERCHANTS_PER_CATEGORY)]
        return {
            "trans_date_trans_time": moment.isoformat(" "),
            "cc_num": card["cc_num"],
            "merchant": merchant,
            "category": category,
            "amt": round(min(max(amount, 1.0), 25_000.0), 2),
            **card["holder"],
            "trans_num": self._name(number),
            "unix_time": int(moment.replace(tzinfo=UTC).timestamp()),
            # A merchant is within a degree of the card holder's home, as in the public data set.
            "merch_lat": round(card["holder"]["lat"] + 2 * draw() - 1, 6),
            "merch_long": round(card["holder"]["long"] + 2 * draw() - 1, 6),
            "is_fraud": is_fraud,
        }

    def _moment(self, number: int, jitter: float) -> datetime:
        """Transactions come in the order of time, PER_DAY a day, denser in the busy hours."""
        day, place = divmod(number, PER_DAY)
        quantile = (place + jitter) / PER_DAY
        hour = bisect_right(self._hours, quantile)
        before = self._hours[hour - 1] if hour else 0.0
        within = (quantile - before) / (self._hours[hour] - before)
        seconds = min(int((hour + within) * 3600), DAY_SECONDS - 1)
        return FIRST_MOMENT + timedelta(days=day, seconds=seconds)

    def _card(self, number: int) -> dict[str, Any]:
        draw = self._stream("card", number)
        gender = "F" if draw() < 0.545 else "M"
        town, state, zip_code, lat, long, inhabitants = _pick(TOWNS, draw())
        street = f"{int(100 + draw() * 99_000)} {_pick(LAST_NAMES, draw())} {_pick(STREET_KINDS, draw())}"
        holder = {
            "first": _pick(FIRST_NAMES[gender], draw()),
            "last": _pick(LAST_NAMES, draw()),
            "gender": gender,
            "street": street if draw() < 0.7 else f"{street} Apt. {int(100 + draw() * 900)}",
            "city": town,
            "state": state,
            "zip": zip_code,
            # Somewhere in the town: no two card holders live at the same point.
            "lat": round(lat + 0.1 * draw() - 0.05, 4),
            "long": round(long + 0.1 * draw() - 0.05, 4),
            "city_pop": inhabitants,
            "job": _pick(JOBS, draw()),
            "dob": (date(1935, 1, 1) + timedelta(days=int(26_000 * draw()))).isoformat(),
        }
        activity = math.exp(0.7 * _normal(draw(), draw()))
        spending = math.exp(0.25 * _normal(draw(), draw()))
        number = _card_number(number, draw)
        return {"cc_num": number, "holder": holder, "activity": activity, "spending": spending}

    def _merchant_names(self, category: str) -> list[str]:
        draw = self._stream("merchants", category)
        names = []
        for _ in range(MERCHANTS_PER_CATEGORY):
            first, second, third = (_pick(LAST_NAMES, draw()) for _ in range(3))
            partners = f"{first}, {second} and {third}"
            shapes = (f"{first} and Sons", f"{first} Group", f"{first}-{second}", partners)
            # The prefix is part of every merchant's name in the public data set: pipelines strip it.
            names.append(f"fraud_{_pick(shapes, draw())}")
        return names

    def _name(self, number: int) -> str:
        return hashlib.blake2b(f"{self._seed}:{number}".encode(), digest_size=16).hexdigest()

    def _stream(self, kind: str, which: int | str) -> Callable[[], float]:
        return Random(f"{self._seed}:{kind}:{which}").random  # noqa: S311 - it simulates, it keeps no secret


class _Purchases:
    """What is bought, and for how much: one table of categories with their shares and amounts."""

    def __init__(self, table: Sequence[tuple[str, float, float, float]]) -> None:
        self._table = table
        self._steps = _ladder([share for _, share, _, _ in table])

    def draw(self, which: float, first: float, second: float) -> tuple[str, float]:
        name, _, mean, spread = self._table[bisect_right(self._steps, which)]
        return name, math.exp(mean + spread * _normal(first, second))


def _fraud_rates() -> list[float]:
    """How likely a transaction of each hour is a fraud; FRAUD_RATE on average."""
    night = sum(HOURLY_SHARE[hour] for hour in NIGHT_HOURS) / sum(HOURLY_SHARE)
    at_night = FRAUD_RATE * NIGHT_SHARE_OF_FRAUDS / night
    by_day = FRAUD_RATE * (1 - NIGHT_SHARE_OF_FRAUDS) / (1 - night)
    return [at_night if hour in NIGHT_HOURS else by_day for hour in range(24)]


def _ladder(weights: Sequence[float]) -> list[float]:
    """Running shares that end at exactly 1, so that a draw below 1 always finds its step."""
    steps = list(accumulate(weights))
    return [step / steps[-1] for step in steps[:-1]] + [1.0]


def _pick(choices: Sequence[Any], draw: float) -> Any:
    return choices[int(draw * len(choices))]


def _normal(first: float, second: float) -> float:
    """Two uniform draws as one normal one (Box and Muller)."""
    return math.sqrt(-2.0 * math.log(1.0 - first)) * math.cos(2.0 * math.pi * second)


def _card_number(number: int, draw: Callable[[], float]) -> int:
    """Sixteen digits that no issuer gives out: the check digit is wrong on purpose."""
    body = f"4{number:04d}{int(draw() * 10**10):010d}"
    doubled = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(body))
    right = -doubled % 10
    return int(f"{body}{(right + 1 + int(draw() * 9)) % 10}")
