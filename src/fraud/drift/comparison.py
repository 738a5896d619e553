"""Whether two samples of cards differ, by tests whose rate of false alarms is known and does not grow with the rows.

Each part has a score, and the threshold that it must pass: what chance gives to equal samples of these sizes once in
``1 / LEVEL`` looks, and at least the smallest difference that is worth a retraining. What chance gives is counted on
cards that are dealt anew, each with all its rows: under chance any of them may be in either sample, and nothing is
supposed about how amounts or scores are distributed, or about how alike a card's rows are. A card that is in both
samples makes them more alike than chance does, and the tests the more silent. What is drawn is drawn from a seed, so
equal rows give equal scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Any

import numpy as np
import numpy.typing as npt

from drift.verdict import Part

__all__ = ["LEVEL", "Values", "alarm_drift", "value_drift"]

Floats = npt.NDArray[np.float64]

# Of so many looks at equal samples one is a false alarm, for each part: hourly, one in six weeks at most.
LEVEL = 0.001
# One row of twenty on the other side of a value; half as many alarms again: less is not worth a retraining.
LEAST_MOVED, LEAST_TIMES = 0.05, 1.5
DRAWS, SEED = 1_999, 7
# Dealings are counted in so many parts, which bounds the memory.
PARTS = 40


@dataclass(frozen=True)
class Values:
    """What a test of values is about: rows of numbers, and the number of each row's card, from 0."""

    cards: npt.NDArray[np.intp]
    rows: Floats


def value_drift(reference: Values, current: Values) -> list[Part]:
    """The statistic of Kolmogorov and Smirnov of each column, and what it may be.

    It is the share of rows that would have to be on the other side of some value for both samples to be alike; NaN is a
    value of its own. What is the same for all rows of a card moves more by chance than what is not: each column is held
    against what chance gives it on average. How many times that the largest may be is counted on cards dealt anew, with
    all their columns: so thresholds and p-values allow for the number of columns, and for those that say the same.
    """
    rows = np.concatenate([reference.rows, current.rows])
    cards = np.concatenate([reference.cards, reference.cards.max() + 1 + current.cards])
    is_current = np.repeat([False, True], [reference.cards.max() + 1, current.cards.max() + 1])
    # NaN sorts last, and one is no other's equal: as infinity it is a value like any other.
    rows = np.where(np.isnan(rows), np.inf, rows)
    orders = np.argsort(rows, axis=0, kind="stable")
    columns = [
        (order, np.flatnonzero(np.append(column[order][1:] != column[order][:-1], True)))
        for order, column in zip(orders.T, rows.T, strict=True)
    ]
    # The first dealing is the samples' own: all are equally likely under chance.
    dealt = np.tile(is_current, (1 + DRAWS, 1))
    np.random.default_rng(SEED).permuted(dealt[1:], axis=1, out=dealt[1:])
    gaps = np.concatenate([_gaps(part[:, cards], columns) for part in np.array_split(dealt, PARTS)], axis=1)
    usual = np.maximum(gaps.mean(axis=1), 1 / len(rows))
    times = (gaps / usual[:, np.newaxis]).max(axis=0)
    allowed = float(np.sort(times[1:])[-int(LEVEL * len(times))])
    return [
        Part(score, max(LEAST_MOVED, allowed * mean), float((times >= score / mean - 1e-12).mean()))
        for score, mean in zip(gaps[:, 0].tolist(), usual.tolist(), strict=True)
    ]


def alarm_drift(reference: Sequence[bool], current: Sequence[bool]) -> Part:
    """How many times as often, or as seldom, cards have an alarm as in the reference: 1 is as often.

    What chance gives is Fisher's exact test: all ways in which these alarms could fall on the cards of both samples.
    """
    alarms, now = sum(reference) + sum(current), sum(current)
    cards = len(reference), len(current)
    ways = comb(sum(cards), cards[1])
    chance = [
        (_times(alarms - each, each, cards), comb(alarms, each) * comb(sum(cards) - alarms, cards[1] - each) / ways)
        for each in range(max(0, alarms - cards[0]), min(alarms, cards[1]) + 1)
    ]
    score = _times(alarms - now, now, cards)
    p_value = sum(share for times, share in chance if times >= score - 1e-12)
    allowed = min(times for times, _ in chance if sum(share for more, share in chance if more > times) <= LEVEL)
    return Part(score, max(LEAST_TIMES, allowed), min(p_value, 1.0))


def _gaps(is_current: npt.NDArray[np.bool_], columns: Sequence[tuple[Any, Any]]) -> Floats:
    """The largest difference of the shares below a value, by column and by dealing.

    Args:
        is_current: By dealing and row, whether the row is in the current sample.
        columns: Of each, the order of its values, and where in it equal values end.
    """
    now = is_current.sum(axis=1, dtype=np.int32)[:, np.newaxis]
    before = np.int32(is_current.shape[1]) - now
    # Along the sorted values these add up to the difference of both samples' counts below, each counted as often as the
    # other sample has rows: whole numbers, so that nothing is rounded.
    signs = np.where(is_current, before, -now)
    gaps = []
    for order, ends in columns:
        sums = np.cumsum(np.take(signs, order, axis=1), axis=1, dtype=np.int32)
        sums = sums if len(ends) == len(order) else np.take(sums, ends, axis=1)
        gaps.append(np.maximum(sums.max(axis=1), -sums.min(axis=1)) / (before * now).ravel())
    return np.array(gaps)


def _times(before: int, now: int, cards: tuple[int, int]) -> float:
    """How many times as often one sample has alarms as the other."""
    # One alarm more is spread over all cards alike: nothing is infinitely many times as often as never.
    shares = [count / all_ + 1 / sum(cards) for count, all_ in zip((before, now), cards, strict=True)]
    return max(shares) / min(shares)
