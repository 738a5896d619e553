"""The comparison of two samples of cards: silent on equal ones as often as it promises, loud on shifted ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import cache

import numpy as np
import pytest
from tests.stack.fraud.transactions import transaction

from drift.verdict import Part
from fraud.drift.comparison import LEVEL, Values, alarm_drift, value_drift
from fraud.drift.current import MOST, Current
from fraud.drift.sample import DAYS, Row, draw, highest_scores, make_reference, scored_rows, span
from fraud.features import FEATURES, Transaction, features_of
from fraud.generator import Generator
from fraud.scenario.drift import Drift

PER_DAY = 2_500


def values(chance: np.random.Generator, cards: int, shift: float = 0.0, alike: float = 0.5) -> Values:
    """Up to five rows of each card: its habit with some chance, what is its own, and what is often nothing."""
    numbers = np.repeat(np.arange(cards), chance.integers(1, 6, cards))
    habits = chance.normal(size=(cards, 2))[numbers]
    own = alike * habits + (1 - alike) * chance.normal(size=habits.shape) + shift
    often = np.where(chance.random(len(numbers)) < 0.3, np.nan, chance.integers(0, 4, len(numbers)))
    return Values(numbers, np.column_stack([own[:, 0], habits[:, 1], often]))


def test_equal_samples_are_no_drift() -> None:
    """Of 150 pairs none is, though a card's rows are alike; low p-values are as rare as they should be."""
    chance = np.random.default_rng(3)
    found = [
        min(value_drift(values(chance, 60), values(chance, 90)), key=lambda part: part.p_value) for _ in range(150)
    ]
    assert not any(part.detected for part in found)
    low = sum(part.p_value < 0.1 for part in found)
    assert 4 <= low <= 29, sorted(part.p_value for part in found)[:20]


def test_rows_that_are_taken_for_witnesses_of_their_own() -> None:
    """They would raise false alarms: what cards are for."""
    chance = np.random.default_rng(4)
    pairs = [(values(chance, 40, alike=0.9), values(chance, 40, alike=0.9)) for _ in range(40)]
    apart = [[Values(np.arange(len(each.rows)), each.rows) for each in pair] for pair in pairs]
    false_alarms = [sum(any(part.detected for part in value_drift(*pair)) for pair in each) for each in (pairs, apart)]
    assert false_alarms[0] == 0 and false_alarms[1] > 3, false_alarms


@pytest.mark.full
def test_false_alarms_are_as_rare_as_promised() -> None:
    """Of 3,000 pairs of equal samples at most nine are drift, where three are to be expected, of either test."""
    chance = np.random.default_rng(5)
    moved = sum(
        any(part.p_value <= LEVEL for part in value_drift(values(chance, 50), values(chance, 50))) for _ in range(3_000)
    )
    alarms = sum(
        alarm_drift((chance.random(300) < 0.05).tolist(), (chance.random(200) < 0.05).tolist()).detected
        for _ in range(3_000)
    )
    assert moved <= 9 and alarms <= 9, (moved, alarms)


def test_what_has_moved_is_named() -> None:
    """A column that is shifted for all cards is told; the card's own, which are other cards' now, are not."""
    chance = np.random.default_rng(6)
    own, habit, often = value_drift(values(chance, 300), values(chance, 300, shift=0.5))
    assert own.detected and own.p_value <= LEVEL and own.score > 0.2
    assert not habit.detected and not often.detected
    before, now = values(chance, 300), values(chance, 300)
    now.rows[:, 2] = np.where(np.isnan(now.rows[:, 2]), np.nan, 2.0)
    assert value_drift(before, now)[2].detected
    # As many as ever have nothing to say; then more of them do.
    now = values(chance, 300)
    now.rows[chance.random(len(now.rows)) < 0.3, 2] = np.nan
    silent = value_drift(before, now)[2]
    assert silent.detected and silent.score == pytest.approx(0.21, abs=0.06)


def test_the_statistic_is_that_of_kolmogorov_and_smirnov() -> None:
    """It is that of scipy's own test, ties and all; with a card a row the chance is scipy's too."""
    from scipy.stats import ks_2samp

    chance = np.random.default_rng(7)
    for high in (5, 1_000_000):
        one, other = chance.integers(0, high, 200).astype(float), chance.integers(0, high, 300).astype(float) * 1.1
        theirs = ks_2samp(one, other, method="exact")
        (part,) = value_drift(*(Values(np.arange(len(each)), each[:, np.newaxis]) for each in (one, other)))
        assert part.score == pytest.approx(theirs.statistic, abs=1e-12)
        assert high == 5 or part.p_value == pytest.approx(theirs.pvalue, abs=0.03)


def test_the_alarms_are_judged_by_fishers_exact_test() -> None:
    """Small p-values are about scipy's; as often is no drift, nor is none at all, nor what is too few to tell."""
    from scipy.stats import fisher_exact

    def told(before: int, now: int, cards: tuple[int, int] = (1_000, 900)) -> Part:
        shown = ([each < count for each in range(all_)] for count, all_ in zip((before, now), cards, strict=True))
        return alarm_drift(*shown)

    for before, now in ((20, 50), (60, 20), (3, 30)):
        theirs = fisher_exact([[before, 1_000 - before], [now, 900 - now]]).pvalue
        # It takes what is less likely for more extreme; ours, what is more times as often.
        assert told(before, now).detected and theirs / 3 < told(before, now).p_value < theirs * 3
    assert told(20, 50).score == pytest.approx((50 / 900 + 1 / 1_900) / (20 / 1_000 + 1 / 1_900))
    for before, now in ((0, 0), (20, 18), (20, 30), (1, 6), (900, 850)):
        assert not told(before, now).detected, (before, now)
    assert told(0, 0).p_value == told(0, 0).score == 1
    assert told(1_000, 0).detected and told(0, 900).detected


def test_the_order_of_rows_says_nothing() -> None:
    """Nor does how cards are numbered: equal samples have equal scores, and a sample is none to itself."""
    chance = np.random.default_rng(8)
    one, other = values(chance, 80), values(chance, 90, shift=0.2)
    mixed = chance.permutation(len(other.rows))
    shuffled = Values(other.cards[mixed], other.rows[mixed])
    assert value_drift(one, other) == value_drift(one, shuffled)
    assert {part.score for part in value_drift(one, one)} == {0.0} and {
        part.p_value for part in value_drift(one, one)
    } == {1}


def transactions(days: int, seed: int = 7, drift: str = "") -> list[Transaction]:
    """The transactions of so many days."""
    return [transaction(event) for event in Generator(seed, Drift.parse(drift)).events(0, days * PER_DAY)]


@cache
def first_days() -> list[Transaction]:
    """Those of fifteen days, of which none has shifted."""
    return transactions(15)


def week(rows: Iterable[Transaction], until: datetime, known: timedelta = MOST) -> list[Row]:
    """The sample of the week before a moment, with as much past as was known."""
    rows = [row for row in rows if row.at < until]
    newest = max(row.at for row in rows)
    begin = max(min(row.at for row in rows), newest - known)
    return draw(Current(begin, newest, [row for row in rows if row.at >= begin]).featured(), {}, begin)


def judged(reference: list[Row], current: list[Row]) -> dict[str, Part]:
    """What is said of each feature."""
    samples = (
        Values(np.array([row.card for row in rows]), np.array([row.features for row in rows]))
        for rows in (reference, current)
    )
    return dict(zip(FEATURES, value_drift(*samples), strict=True))


DAY = timedelta(days=1)
BEGIN = datetime(2025, 1, 1)


@pytest.mark.full
def test_a_longer_past_is_no_drift() -> None:
    """A model that was made after eight days is held against what is done later with eight days behind it."""
    reference = week(first_days(), BEGIN + 8 * DAY)
    assert span(reference) == pytest.approx(8 * DAY, abs=0.01 * DAY)
    later = judged(reference, week(first_days(), BEGIN + 15 * DAY, span(reference)))
    assert not [name for name, part in later.items() if part.detected]
    # With all that is known, each count is another one: that is what the cut is for.
    grown = judged(reference, week(first_days(), BEGIN + 15 * DAY))
    assert {"count_30d", "merchant_count"} <= {name for name, part in grown.items() if part.detected}


@pytest.mark.full
@pytest.mark.parametrize("seed", range(3))
def test_months_without_a_shift_are_no_drift(seed: int) -> None:
    """Week after week of three months, against models that were made after three weeks and after seven."""
    rows = transactions(90, seed)
    for made in (21, 49):
        reference = week(rows, BEGIN + made * DAY)
        for until in range(made + 7, 91, 7):
            found = judged(reference, week(rows, BEGIN + until * DAY, span(reference)))
            assert not [name for name, part in found.items() if part.detected], (made, until)


@pytest.mark.full
@pytest.mark.parametrize(
    ("drift", "moves"),
    [
        ("amounts:1.25", "amount"),
        ("night:3", "hour"),
        ("merchants:3", "merchant_count"),
        ("shopping_net:3", "category"),
    ],
)
def test_a_shift_is_found(drift: str, moves: str) -> None:
    """Of each kind that the simulator knows: what it moves is named."""
    reference = week(first_days(), BEGIN + 8 * DAY)
    now = week(transactions(15, drift=f"{drift}@2025-01-09"), BEGIN + 15 * DAY, span(reference))
    assert judged(reference, now)[moves].detected


def test_a_sample_is_of_cards() -> None:
    """A few transactions of each card of the last week, whatever the order; the highest score is of the whole week."""
    rows = list(features_of(first_days()[: 9 * PER_DAY]))
    recent = [row for row, _ in rows if row.at > rows[-1][0].at - DAYS]
    scores = {row.trans_num: row.amt / 1_000 for row in recent if row.cc_num % 2}
    made = make_reference(rows, scores)
    assert made == make_reference(rows[::-1], scores)
    cards = Counter(row.card for row in made)
    assert len(cards) == len({row.cc_num for row in recent}) and max(cards.values()) == 5
    known = scored_rows(made)
    odd = {row.cc_num for row in recent if row.cc_num % 2}
    highest = sorted(max(row.amt / 1_000 for row in recent if row.cc_num == card) for card in odd)
    assert sorted(highest_scores(known)) == highest
    assert 0 < len(known) < len(made) and {row.known for row in made} == {
        (rows[-1][0].at - rows[0][0].at).total_seconds()
    }
    assert make_reference([], {}) == []
