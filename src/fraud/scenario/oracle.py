"""The oracle: what an observer says of a transaction who knows how the scenario draws, and not what it drew.

It is a bound for models: it knows each holder's habits and home, the merchants' branches, how often trips and each
pattern of fraud begin and how they go on, and `DRIFT`; and it has seen the card's transactions so far. It does not know
who is on a trip, which transactions were frauds, or what comes next. For each card it keeps hypotheses (where the
holder is, which episode is under way) with their probabilities, and with each transaction asks of all of them: did the
holder do that, does the thief go on, or does one begin? (A Bayesian filter, of which unlikely hypotheses are dropped.)

What it leaves out, each of it small: that a day has exactly as many transactions as it has, that a pause cannot reach
over midnight, that amounts end somewhere, and that an episode may be hidden behind a second one on the same card.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from fraud.generator import FIRST_UNIX, Generator
from fraud.places import TOWNS
from fraud.scenario.cards import CARDS, FAVOURITES, Card, Habits
from fraud.scenario.days import DAY, NEXT, PAUSE, PER_DAY
from fraud.scenario.drift import Factors
from fraud.scenario.merchants import CATEGORY_NAMES, ONLINE, PER_CATEGORY
from fraud.scenario.patterns import FRAUD_RATE, PATTERNS, STEALTHY, Pattern, Phase
from fraud.scenario.purchases import AMOUNTS, THIEVES_REACH
from fraud.scenario.trips import AWAY, ON_THE_WAY, PER_WEEK

__all__ = ["Oracle"]

DEPARTURES = PER_WEEK / CARDS / (7 * DAY)
OTHER_TOWNS = len(TOWNS) - 1
# How many ways (of one purchase or more) the holders go in a day.
WAYS = PER_DAY * (1.0 - FRAUD_RATE) * (1.0 - NEXT)
ANY_MERCHANT = 1.0 / PER_CATEGORY
# Hypotheses that are kept of a card, and how unlikely one may be beside all others.
KEPT, UNLIKELY = 12, 1e-7
# After so many pauses nothing of the kind comes any more.
LONG = 12.0
# What cannot be is only this unlikely: the hypothesis that explains it may have been dropped.
NEVER = 1e-12


@dataclass(frozen=True, slots=True)
class _Seen:
    """A transaction as the oracle sees it: `town` is the shop's, and None of what is bought online."""

    second: int
    card: Card
    habits: Habits
    factors: Factors
    category: int
    merchant: str
    log_amount: float
    town: int | None
    outskirts: bool

    def place(self, reach: float) -> float:
        """How likely that branch of the merchant is, of the two in the town."""
        return 1.0 if self.town is None else reach if self.outskirts else 1.0 - reach


@dataclass(frozen=True, slots=True)
class _Episode:
    """An episode under way: its last purchase, where its shops are, and until when it did not go on."""

    pattern: Pattern
    phase: int
    second: int
    town: int | None
    quiet: int

    def survival(self, second: int) -> float:
        """How likely it has not gone on by then: it is over, or it pauses."""
        phase = self.pattern.phases[self.phase]
        over = 1.0 - phase.again if self.phase + 1 == len(self.pattern.phases) else 0.0
        return over + (1.0 - over) * math.exp(-(second - self.second) / phase.pause)


@dataclass(frozen=True, slots=True)
class _Belief:
    """A hypothesis: where the holder was seen last, and when; the holder's last purchase; a thief's episode."""

    town: int
    seen: int = 0
    bought: int = -DAY
    episode: _Episode | None = None


class Oracle:
    """Gives each transaction of a generator its probability of being a fraud."""

    def __init__(self, generator: Generator) -> None:
        self._world = generator.world
        self._cards = {card.cc_num: card for card in self._world.cards}
        self._activity = sum(card.activity for card in self._world.cards)
        self._beliefs = {card.number: {_Belief(card.town): 1.0} for card in self._world.cards}
        self._favour = cache(self._favour_of)

    def score(self, transaction: Mapping[str, Any]) -> float:
        """The probability that it is a fraud. All transactions have to come, in the order of time."""
        seen = self._see(transaction)
        genuine, thefts = self._habitual(seen), list(_begun(seen))
        weights: defaultdict[_Belief, float] = defaultdict(float)
        fraud = 0.0
        for belief, weight in self._beliefs[seen.card.number].items():
            quiet, continued = _going_on(belief.episode, seen)
            own = (
                genuine
                * (self._ways(seen) + _next(seen.second - belief.bought))
                * max(_whereabouts(belief, seen), NEVER)
            )
            weights[_after_own(belief, seen)] += weight * quiet * own
            for episode, likelihood in (*thefts, *continued):
                weights[replace(belief, episode=episode)] += weight * likelihood
                fraud += weight * likelihood
        total = sum(weights.values())
        self._beliefs[seen.card.number] = _likeliest(weights, total)
        return fraud / total

    def _see(self, transaction: Mapping[str, Any]) -> _Seen:
        card = self._cards[transaction["cc_num"]]
        second = transaction["unix_time"] - FIRST_UNIX
        factors = self._world.factors(second // DAY)
        category = CATEGORY_NAMES.index(transaction["category"])
        town, outskirts = None, False
        if not ONLINE[category]:
            town, outskirts = self._world.merchants.towns[transaction["merch_lat"], transaction["merch_long"]]
        return _Seen(
            second=second,
            card=card,
            habits=self._world.habits(factors)[card.number],
            factors=factors,
            category=category,
            merchant=transaction["merchant"],
            log_amount=math.log(transaction["amt"] / factors["amounts"]),
            town=town,
            outskirts=outskirts,
        )

    def _habitual(self, seen: _Seen) -> float:
        """How likely the holder buys this for so much there, whatever the time and the town."""
        favour = self._favour(seen.card.number, seen.category, seen.merchant)
        loyalty = seen.habits.loyalty
        return _as_holder(seen) * (loyalty * favour + (1.0 - loyalty) * ANY_MERCHANT) * seen.place(seen.card.reach)

    def _ways(self, seen: _Seen) -> float:
        """How often a second the holder sets out at such an hour."""
        return WAYS * seen.card.activity / self._activity * _hourly(seen)

    def _favour_of(self, card: int, category: int, merchant: str) -> float:
        """How often the merchant is gone to, among the holder's favourites of the category."""
        names, favourites = self._world.merchants.names[category], self._world.cards[card].favourites[category]
        shares = (step - before for step, before in zip(FAVOURITES, (0.0, *FAVOURITES), strict=False))
        return sum(share for share, each in zip(shares, favourites, strict=True) if names[each] == merchant)


def _share(ladder: list[float], step: int) -> float:
    return ladder[step] - (ladder[step - 1] if step else 0.0)


def _hourly(seen: _Seen) -> float:
    """The density of the holder's purchases over the seconds of a day."""
    return _share(seen.habits.hours, seen.second % DAY // 3600) / 3600.0


def _normal(value: float, mean: float, spread: float) -> float:
    return math.exp(-0.5 * ((value - mean) / spread) ** 2) / (spread * math.sqrt(math.tau))


def _as_holder(seen: _Seen) -> float:
    """How likely the holder buys of this category, for so much."""
    mean, spread = AMOUNTS[seen.category]
    amount = _normal(seen.log_amount, mean + math.log(seen.card.spending), spread)
    return _share(seen.habits.categories, seen.category) * amount


def _as_thief(seen: _Seen, phase: Phase) -> float:
    """How likely a phase has this category, amount, merchant and branch, whatever the town."""
    category = _share(phase.ladder, seen.category)
    amount = _normal(seen.log_amount, phase.mean, phase.spread) if category else 0.0
    return category * amount * ANY_MERCHANT * seen.place(THIEVES_REACH)


def _next(gap: int) -> float:
    """How likely, a second, the holder buys again on the same way."""
    return NEXT * math.exp(-(gap - 60) / PAUSE) / PAUSE if gap >= 60 else 0.0


def _whereabouts(belief: _Belief, seen: _Seen) -> float:
    """How likely the holder is in the town of the shop, after the one in which they were seen last."""
    if seen.town is None:
        return 1.0
    gap, home = max(seen.second - belief.seen - ON_THE_WAY, 0), seen.card.town
    leaves = DEPARTURES * min(gap, AWAY)
    if belief.town == home:
        return 1.0 - leaves if seen.town == home else leaves / OTHER_TOWNS
    returns = 1.0 - math.exp(-gap / AWAY)
    if seen.town == belief.town:
        return 1.0 - returns
    return returns * (1.0 - leaves if seen.town == home else leaves / OTHER_TOWNS)


def _begun(seen: _Seen) -> Iterator[tuple[_Episode | None, float]]:
    """The episodes that may begin with this transaction."""
    hour, elsewhere = seen.second % DAY // 3600, seen.town not in (None, seen.card.town)
    for pattern in (*PATTERNS, STEALTHY):
        often = PER_DAY / CARDS * pattern.a_day * seen.factors["frauds"] * seen.factors[pattern.name]
        if pattern is STEALTHY:
            place = 0.0 if elsewhere else seen.place(seen.card.reach)
            yield None, often * _hourly(seen) * _as_holder(seen) * ANY_MERCHANT * place
        elif hour in pattern.hours and (seen.town is None or elsewhere):
            place = 1.0 if seen.town is None else 1.0 / OTHER_TOWNS
            likelihood = often / len(pattern.hours) / 3600.0 * _as_thief(seen, pattern.phases[0]) * place
            if likelihood:
                yield _Episode(pattern, 0, seen.second, seen.town, seen.second), likelihood


def _going_on(episode: _Episode | None, seen: _Seen) -> tuple[float, list[tuple[_Episode, float]]]:
    """How likely an episode stays quiet until this transaction and at it; and how likely this one belongs to it."""
    if episode is None:
        return 1.0, []
    before, continued = episode.survival(episode.quiet), []
    phase, gap = episode.pattern.phases[episode.phase], seen.second - episode.second
    if gap and seen.town == episode.town:
        waited = math.exp(-(gap - 1) / phase.pause) / phase.pause / before
        for step, share in ((0, phase.again), (1, 1.0 - phase.again)):
            number = episode.phase + step
            if share and number < len(episode.pattern.phases):
                likelihood = waited * share * _as_thief(seen, episode.pattern.phases[number])
                continued.append((_Episode(episode.pattern, number, seen.second, seen.town, seen.second), likelihood))
    return episode.survival(seen.second) / before, continued


def _after_own(belief: _Belief, seen: _Seen) -> _Belief:
    """What is believed after a purchase of the holder's own."""
    episode = belief.episode
    if episode is not None:
        pause = episode.pattern.phases[episode.phase].pause
        is_over = seen.second - episode.second > LONG * pause
        episode = None if is_over else replace(episode, quiet=seen.second)
    if seen.town is None:
        return _Belief(belief.town, belief.seen, seen.second, episode)
    return _Belief(seen.town, seen.second, seen.second, episode)


def _likeliest(weights: Mapping[_Belief, float], total: float) -> dict[_Belief, float]:
    kept = sorted(weights.items(), key=lambda each: -each[1])[:KEPT]
    return {belief: weight / total for belief, weight in kept if weight > UNLIKELY * total}
