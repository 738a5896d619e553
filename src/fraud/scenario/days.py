"""A day of the scenario: its purchases in the order of time, the holders' and the thieves'.

A day is made from streams of its own: any day can be made without the ones before it, and days do not wander with time.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from datetime import date, timedelta
from functools import lru_cache

from fraud.scenario.cards import CARDS, Card, Habits
from fraud.scenario.drift import Drift, Factors
from fraud.scenario.merchants import Merchants
from fraud.scenario.patterns import PATTERNS, STEALTHY, Pattern, Phase
from fraud.scenario.purchases import Fraud, Maker, Purchase
from fraud.scenario.sampling import Draw, exponential, ladder, normal, pick, poisson, stream
from fraud.scenario.trips import ON_THE_WAY, Trip, Trips, elsewhere

__all__ = ["DAY", "FIRST_DAY", "NEXT", "PAUSE", "PER_DAY", "World"]

FIRST_DAY = date(2025, 1, 1)
DAY = 86_400
PER_DAY = 2_500
NEXT = 0.25
"""How likely a holder's purchase is followed by one more on the same way."""
PAUSE = 1_200.0
"""Seconds until then, on average, after the first minute."""
# How long after the last purchase of an episode the holder finds it: half of them within two days and a half.
FOUND_MEDIAN, FOUND_SPREAD, FOUND_AT_MOST = 2.5 * DAY, 0.7, 29.0 * DAY


class World:
    """All that there is of one seed and drift: cards, merchants, trips, and each day's purchases."""

    def __init__(self, seed: int, drift: Drift) -> None:
        self._seed, self._drift = seed, drift
        self.cards = [Card.make(seed, number) for number in range(CARDS)]
        self.merchants = Merchants(seed)
        self._busy = ladder([card.activity for card in self.cards])
        self._trips = Trips(seed, [card.town for card in self.cards])
        self._episodes = lru_cache(4)(self._make_episodes)
        self.habits = lru_cache(4)(self._make_habits)
        """Of all cards, on a day of given factors."""

    def factors(self, day: int) -> Factors:
        """What is shifted on a day."""
        return self._drift.on(FIRST_DAY + timedelta(days=day))

    def purchases(self, day: int) -> list[Purchase]:
        """All `PER_DAY` of a day, in the order of time."""
        frauds = [each for each in self._episodes(day) if each.second < (day + 1) * DAY]
        frauds += [each for each in self._episodes(day - 1) if each.second >= day * DAY]
        return sorted(frauds + self._genuine(day, PER_DAY - len(frauds)), key=lambda each: each.second)

    def _make_habits(self, factors: Factors) -> list[Habits]:
        return [card.habits(factors) for card in self.cards]

    def _maker(self, kind: str, day: int) -> Maker:
        factors = self.factors(day)
        return Maker(self.merchants, self.habits(factors), factors, stream(self._seed, kind, day))

    def _genuine(self, day: int, wanted: int) -> list[Purchase]:
        """The holders' purchases: one, or some on the same way, and none on a journey."""
        maker, trips, end = self._maker("day", day), self._trips.on(day), (day + 1) * DAY
        draw = maker.draw
        made: list[Purchase] = []
        while len(made) < wanted:
            card = self.cards[bisect_right(self._busy, draw())]
            trip, second = trips.get(card.number), day * DAY + maker.second(card)
            while second < end and len(made) < wanted and (town := _whereabouts(card, trip, second)) is not None:
                made.append(maker.genuine(second, card, town))
                if draw() >= NEXT:
                    break
                second += 60 + int(exponential(draw(), PAUSE))
        return made

    def _make_episodes(self, day: int) -> list[Purchase]:
        """The thieves' purchases of the episodes that begin on a day, into the next one."""
        if day < 0:
            return []
        maker = self._maker("frauds", day)
        draw, factors = maker.draw, maker.factors
        made: list[Purchase] = []
        for pattern in (*PATTERNS, STEALTHY):
            mean = PER_DAY * pattern.a_day * factors["frauds"] * factors[pattern.name]
            for _ in range(poisson(draw, mean)):
                card = pick(self.cards, draw())
                made += self._episode(pattern, card, day, maker)
        return [each for each in made if each.second < (day + 2) * DAY]

    def _episode(self, pattern: Pattern, card: Card, day: int, maker: Maker) -> list[Purchase]:
        draw = maker.draw
        if pattern is STEALTHY:
            second = day * DAY + maker.second(card)
            return [maker.stealthy(second, card, Fraud(pattern.name, _found(second, draw)))]
        course = _course(pattern, day * DAY + int(3600 * (pick(pattern.hours, draw()) + draw())), draw)
        fraud, town = Fraud(pattern.name, _found(course[-1][0], draw)), elsewhere(card.town, draw())
        return [maker.thief(second, card, phase, town, fraud) for second, phase in course]


def _whereabouts(card: Card, trip: Trip | None, second: int) -> int | None:
    """The town in which the holder is; none on a journey."""
    if trip is None or not trip.leaves <= second < trip.returns:
        return card.town
    return trip.town if trip.leaves + ON_THE_WAY <= second < trip.returns - ON_THE_WAY else None


def _course(pattern: Pattern, second: int, draw: Draw) -> list[tuple[int, Phase]]:
    """When each purchase of an episode is made, and of which phase it is."""
    course = []
    for phase in pattern.phases:
        more = True
        while more:
            course.append((second, phase))
            second += 1 + int(exponential(draw(), phase.pause))
            more = draw() < phase.again
    return course


def _found(last: int, draw: Draw) -> int:
    delay = FOUND_MEDIAN * math.exp(FOUND_SPREAD * normal(draw(), draw()))
    return last + int(min(delay, FOUND_AT_MOST))
