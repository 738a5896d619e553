"""Trips: for some days a holder's card is used in another town, and not at all on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from fraud.places import TOWNS
from fraud.scenario.sampling import exponential, stream

__all__ = ["AWAY", "ON_THE_WAY", "PER_WEEK", "Trip", "Trips", "elsewhere"]

DAY, WEEK = 86_400, 7 * 86_400
PER_WEEK = 25
"""How many trips begin in a week, all cards together."""
AWAY = 3 * DAY
"""How long one is away, on average; never more than a week."""
ON_THE_WAY = 4 * 3600
"""How long a journey takes."""


@dataclass(frozen=True, slots=True)
class Trip:
    """When a holder leaves, when they are home again, and where they are between; in seconds of the scenario."""

    leaves: int
    returns: int
    town: int


class Trips:
    """The trips of one seed's cards."""

    def __init__(self, seed: int, homes: list[int]) -> None:
        self._seed, self._homes = seed, homes
        self._of_week = lru_cache(4)(self._make_week)

    def on(self, day: int) -> dict[int, Trip]:
        """By the card's number, those that are under way on a day."""
        found, week = {}, day * DAY // WEEK
        for each in (week - 1, week):
            for card, trip in self._of_week(each):
                if trip.leaves < (day + 1) * DAY and trip.returns > day * DAY:
                    found[card] = trip
        return found

    def _make_week(self, week: int) -> list[tuple[int, Trip]]:
        if week < 0:
            return []
        draw, made = stream(self._seed, "trips", week), []
        for _ in range(PER_WEEK):
            card, leaves = int(draw() * len(self._homes)), int((week + draw()) * WEEK)
            stay = min(exponential(draw(), AWAY), WEEK - 2 * ON_THE_WAY)
            town = elsewhere(self._homes[card], draw())
            made.append((card, Trip(leaves, leaves + int(stay) + 2 * ON_THE_WAY, town)))
        return made


def elsewhere(home: int, draw: float) -> int:
    """Any town but this one."""
    town = int(draw * (len(TOWNS) - 1))
    return town + (town >= home)
