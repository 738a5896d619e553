"""The cards: who holds them, and what their holders are used to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from fraud.places import CATEGORIES, FIRST_NAMES, JOBS, LAST_NAMES, STREET_KINDS, TOWNS
from fraud.scenario.drift import Factors
from fraud.scenario.merchants import CATEGORY_NAMES, ONLINE, PER_CATEGORY
from fraud.scenario.sampling import Draw, ladder, normal, pick, stream

__all__ = ["CARDS", "FAVOURITES", "NIGHT", "SHARES", "Card", "Habits"]

CARDS = 1_000
NIGHT = frozenset({22, 23, 0, 1, 2, 3, 4})
# How busy each hour of the day is, for all holders together.
HOURLY = (18, 12, 9, 8, 9, 14, 26, 44, 56, 62, 66, 72, 80, 76, 72, 72, 76, 84, 88, 82, 70, 56, 42, 28)
SHARES = tuple(share for share, _, _ in CATEGORIES.values())
FAVOURITES = ladder((0.5, 0.25, 0.15, 0.1))
"""How often each of a category's favourite merchants is gone to, among them."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What a holder does on a day of given `Factors`, as ladders to draw from."""

    hours: list[float]
    categories: list[float]
    loyalty: float
    """How often a purchase is made at one of the favourite merchants."""


@dataclass(frozen=True, slots=True)
class Card:
    """A card, and its holder's habits."""

    number: int
    cc_num: int
    holder: dict[str, Any]
    """The holder's columns, `lat` and `long` of the home among them."""
    town: int
    activity: float
    """How busy it is, beside the others."""
    spending: float
    """How many times the usual amounts are spent."""
    reach: float
    """How often a shop in the outskirts is gone to."""
    loyalty: float
    hours: tuple[float, ...]
    tastes: tuple[float, ...]
    favourites: tuple[tuple[int, ...], ...]
    """By category: the merchants that the holder knows."""

    @classmethod
    def make(cls, seed: int, number: int) -> Card:
        """Card `number` of a seed."""
        draw = stream(seed, "card", number)
        town = int(draw() * len(TOWNS))
        peak, focus = 24 * draw(), 0.6 * draw()
        online = math.exp(0.4 * normal(draw(), draw()))
        return cls(
            number=number,
            cc_num=_cc_num(number, draw),
            holder=_holder(town, draw),
            town=town,
            activity=math.exp(0.6 * normal(draw(), draw())),
            spending=math.exp(0.3 * normal(draw(), draw())),
            reach=0.02 + 0.2 * draw(),
            loyalty=0.5 + 0.45 * draw(),
            hours=tuple(
                busy * math.exp(focus * math.cos(math.tau * (hour - peak) / 24)) for hour, busy in enumerate(HOURLY)
            ),
            tastes=tuple(
                share * math.exp(0.4 * normal(draw(), draw())) * (online if is_online else 1.0)
                for share, is_online in zip(SHARES, ONLINE, strict=True)
            ),
            favourites=tuple(tuple(int(PER_CATEGORY * draw()) for _ in FAVOURITES) for _ in SHARES),
        )

    def habits(self, factors: Factors) -> Habits:
        """What the holder does on a day of these factors."""
        night = factors["night"]
        return Habits(
            ladder([busy * (night if hour in NIGHT else 1.0) for hour, busy in enumerate(self.hours)]),
            ladder([taste * factors[name] for name, taste in zip(CATEGORY_NAMES, self.tastes, strict=True)]),
            1.0 - min((1.0 - self.loyalty) * factors["merchants"], 1.0),
        )


def _holder(town: int, draw: Draw) -> dict[str, Any]:
    gender = "F" if draw() < 0.545 else "M"
    city, state, zip_code, lat, long, inhabitants = TOWNS[town]
    street = f"{int(100 + draw() * 99_000)} {pick(LAST_NAMES, draw())} {pick(STREET_KINDS, draw())}"
    return {
        "first": pick(FIRST_NAMES[gender], draw()),
        "last": pick(LAST_NAMES, draw()),
        "gender": gender,
        "street": street if draw() < 0.7 else f"{street} Apt. {int(100 + draw() * 900)}",
        "city": city,
        "state": state,
        "zip": zip_code,
        # Somewhere in the town: no two card holders live at the same point.
        "lat": round(lat + 0.1 * draw() - 0.05, 4),
        "long": round(long + 0.1 * draw() - 0.05, 4),
        "city_pop": inhabitants,
        "job": pick(JOBS, draw()),
        "dob": (date(1935, 1, 1) + timedelta(days=int(26_000 * draw()))).isoformat(),
    }


def _cc_num(number: int, draw: Draw) -> int:
    """Sixteen digits that no issuer gives out: the check digit is wrong on purpose."""
    body = f"4{number:04d}{int(draw() * 10**10):010d}"
    doubled = sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(body))
    right = -doubled % 10
    return int(f"{body}{(right + 1 + int(draw() * 9)) % 10}")
