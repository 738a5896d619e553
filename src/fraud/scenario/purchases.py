"""A purchase, and how one is drawn: as its holder is used to, or as a thief's pattern has it."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

from fraud.places import CATEGORIES
from fraud.scenario.cards import FAVOURITES, Card, Habits
from fraud.scenario.drift import Factors
from fraud.scenario.merchants import ONLINE, PER_CATEGORY, Merchants, Place
from fraud.scenario.patterns import Phase
from fraud.scenario.sampling import Draw, normal

__all__ = ["AMOUNTS", "LEAST", "MOST", "THIEVES_REACH", "Fraud", "Maker", "Purchase"]

AMOUNTS = tuple((mean, spread) for _, mean, spread in CATEGORIES.values())
"""By category: mean and spread of the amounts' logarithm."""
LEAST, MOST = 0.5, 25_000.0
THIEVES_REACH = 0.15
"""How often a thief goes to a shop in the outskirts."""


@dataclass(frozen=True, slots=True)
class Fraud:
    """The episode that a purchase belongs to: its pattern, and the second at which it is found."""

    pattern: str
    found: int


@dataclass(frozen=True, slots=True)
class Purchase:
    """A purchase: the second of the scenario, by which card, of what, for how much, and where."""

    second: int
    card: Card
    category: int
    merchant: int
    amount: float
    place: Place
    fraud: Fraud | None = None


class Maker:
    """Makes purchases out of one stream of draws, on a day of given factors."""

    def __init__(self, merchants: Merchants, habits: list[Habits], factors: Factors, draw: Draw) -> None:
        self.factors, self.draw = factors, draw
        self._merchants, self._habits, self._amounts = merchants, habits, factors["amounts"]

    def second(self, card: Card) -> int:
        """The second of the day at which the holder buys something."""
        hours, draw = self._habits[card.number].hours, self.draw()
        hour = bisect_right(hours, draw)
        before = hours[hour - 1] if hour else 0.0
        return hour * 3600 + min(int(3600 * (draw - before) / (hours[hour] - before)), 3599)

    def genuine(self, second: int, card: Card, town: int) -> Purchase:
        """As the holder is used to."""
        draw, habits = self.draw, self._habits[card.number]
        category = bisect_right(habits.categories, draw())
        if draw() < habits.loyalty:
            merchant = card.favourites[category][bisect_right(FAVOURITES, draw())]
        else:
            merchant = int(PER_CATEGORY * draw())
        amount = self._amount(*AMOUNTS[category], card.spending)
        return Purchase(
            second, card, category, merchant, amount, self._place(card, category, merchant, town, card.reach)
        )

    def stealthy(self, second: int, card: Card, fraud: Fraud) -> Purchase:
        """As the holder is used to, in the holder's town, but at any merchant."""
        category, merchant = bisect_right(self._habits[card.number].categories, self.draw()), self._any()
        amount = self._amount(*AMOUNTS[category], card.spending)
        place = self._place(card, category, merchant, card.town, card.reach)
        return Purchase(second, card, category, merchant, amount, place, fraud)

    def thief(self, second: int, card: Card, phase: Phase, town: int, fraud: Fraud) -> Purchase:
        """As a phase of a pattern has it."""
        category, merchant = bisect_right(phase.ladder, self.draw()), self._any()
        amount = self._amount(phase.mean, phase.spread, 1.0)
        place = self._place(card, category, merchant, town, THIEVES_REACH)
        return Purchase(second, card, category, merchant, amount, place, fraud)

    def _any(self) -> int:
        return int(PER_CATEGORY * self.draw())

    def _amount(self, mean: float, spread: float, times: float) -> float:
        amount = math.exp(mean + spread * normal(self.draw(), self.draw())) * times * self._amounts
        return round(min(max(amount, LEAST), MOST), 2)

    def _place(self, card: Card, category: int, merchant: int, town: int, reach: float) -> Place:
        """A shop's branch; what is bought online is within a degree of the home, whoever buys it."""
        draw = self.draw
        if ONLINE[category]:
            home = card.holder
            return round(home["lat"] + 2 * draw() - 1, 6), round(home["long"] + 2 * draw() - 1, 6)
        return self._merchants.branches(town)[category][2 * merchant + (draw() < reach)]
