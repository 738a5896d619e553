"""The comparison of two samples: silent on equal ones as often as it promises, loud on shifted ones."""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest

from catalog.text import clean
from data.generator import Generator
from monitoring.comparison import Listing, distinct, prediction_drift, text_drift

Labelled = tuple[Listing, int]
# Listings of other numbers come from the same distribution.
REFERENCE = range(2_000)


@cache
def labelled(number: int) -> Labelled:
    """A generated listing, cleaned, and its category."""
    made = generator().listing(number)
    return (clean(made["designation"] or ""), clean(made["description"] or "")), int(made["prdtypecode"] or 0)


@cache
def generator() -> Generator:
    """The listings of one seed."""
    return Generator(11)


def is_french(number: int) -> bool:
    """Whether a listing is in the language that most are in; copies of others not looked at."""
    made = generator()
    draw = made._stream("text", number)
    draw()
    return bool(made._languages[bisect_right(made._language_ladder, draw())] == "fr")


def listings(numbers: list[int] | range) -> list[Listing]:
    """Different listings of these numbers."""
    return distinct(labelled(number)[0] for number in numbers)


def codes(numbers: list[int] | range) -> list[int]:
    """Their categories."""
    return [labelled(number)[1] for number in numbers]


@pytest.mark.parametrize("rows", [250, 1000])
def test_equal_texts_are_no_drift(rows: int) -> None:
    """Of forty pairs of equal samples none is drift, and low p-values are as rare as they should be."""
    # Pairs that were all held against one reference would be right or wrong together.
    chance = random.Random(rows)
    drawn = [chance.sample(range(8_000), 2 * rows) for _ in range(40)]
    found = [text_drift(listings(each[:rows]), listings(each[rows:])).part for each in drawn]
    assert not any(part.detected for part in found)
    low = [part for part in found if part.p_value < 0.2]
    assert 1 <= len(low) <= 18, [part.p_value for part in found]
    assert 0.45 < np.mean([part.score for part in found]) < 0.55


def test_equal_predictions_are_no_drift() -> None:
    """The same for categories, of large samples and of small ones, in which most categories are rare."""
    found = [
        prediction_drift(codes(range(400)), codes(range(first, first + rows)))
        for rows in (200, 1500)
        for first in range(2_000, 12_000, 500)
    ]
    assert not any(part.detected for part in found)
    assert 2 <= sum(part.p_value < 0.2 for part in found) <= 18, [part.p_value for part in found]


@pytest.mark.full
def test_false_alarms_are_as_rare_as_promised() -> None:
    """Of 400 pairs of samples each comparison calls at most three drift, where 0.4 are to be expected."""
    chance = random.Random(1)
    pool = range(8_000)
    texts = predictions = 0
    for _ in range(400):
        drawn = chance.sample(pool, 1_000)
        texts += text_drift(listings(drawn[:500]), listings(drawn[500:])).part.detected
        predictions += prediction_drift(codes(drawn[:500]), codes(drawn[500:])).detected
    assert texts <= 3 and predictions <= 3, (texts, predictions)


def other_languages(numbers: range) -> list[int]:
    """Listings in other languages for every third one."""
    others = iter(number for number in range(20_000, 40_000) if not is_french(number))
    return [next(others) if number % 3 == 0 else number for number in numbers]


def other_categories(numbers: range) -> list[int]:
    """Pools and garden furniture for every third one."""
    others = iter(number for number in range(20_000, 60_000) if labelled(number)[1] in (2582, 2583))
    return [next(others) if number % 3 == 0 else number for number in numbers]


@pytest.mark.parametrize("shift", [other_languages, other_categories])
def test_shifted_texts_are_drift(shift: Callable[[range], list[int]]) -> None:
    """A third of the listings is of another kind: the texts tell, and so do the words that are named."""
    found = text_drift(listings(REFERENCE), listings(shift(range(2_000, 3_500))))
    assert found.part.detected and found.part.p_value < 1e-4
    assert len(found.words) >= 10 and len(found.listings) >= 10


def test_noise_is_drift() -> None:
    """Texts whose characters were garbled on the way are told at once, with a score near 1."""
    garbled = [tuple(text.encode().hex() for text in each) for each in listings(range(2_000, 2_500))]
    found = text_drift(listings(REFERENCE), [(title, text) for title, text in garbled])
    assert found.part.detected and found.part.score > 0.9


def test_other_categories_are_drift_of_the_predictions() -> None:
    """A third of the predictions has moved: the score says about a third; other languages of the same things do not."""
    moved = prediction_drift(codes(range(600)), codes(other_categories(range(2_000, 3_500))))
    assert moved.detected and 0.2 < moved.score < 0.45 and moved.p_value < 0.001
    assert not prediction_drift(codes(range(600)), codes(other_languages(range(2_000, 3_500)))).detected


def test_a_category_that_nobody_knew() -> None:
    """Categories that only one of the samples has are counted like any other."""
    part = prediction_drift([10] * 100 + [40] * 100, [10] * 100 + [2583] * 100)
    assert part.score == 0.5 and part.detected
    assert prediction_drift([10] * 50, [10] * 70).score == 0


def test_the_order_of_rows_says_nothing() -> None:
    """Equal samples, however they are ordered, have equal scores to the last digit."""
    texts, answers = listings(range(2_000, 2_600)), codes(range(2_000, 2_600))
    mixed = random.Random(3).sample(texts, len(texts))
    first, again = text_drift(listings(REFERENCE)[:600], texts), text_drift(listings(REFERENCE)[:600], mixed)
    assert first == again
    assert prediction_drift(codes(REFERENCE), answers) == prediction_drift(codes(REFERENCE), answers[::-1])


def test_what_one_seller_lists_counts_once() -> None:
    """Listings that are the same but for numbers are one; a designation of numbers alone, as of books, is its own."""
    many = [(f"coque iphone {number} noire", f"lot {number}") for number in range(300)]
    books = [(f"978207{number}", "") for number in range(5)]
    assert len(distinct(many)) == 1 and distinct(many[::-1]) == distinct(many)
    assert len(distinct([*many, *books, ("coque iphone noire", "")])) == 7
    known, usual = listings(REFERENCE), listings(range(2_000, 2_500))
    assert text_drift(known, [*usual, *many]) == text_drift(known, [*usual, *distinct(many)])


def test_what_both_samples_have_is_no_drift() -> None:
    """Listings that were trained on and are asked about again tell nothing: they are on the same side of the split."""
    both = listings(range(1_000))
    assert not text_drift(both, both).part.detected
    assert text_drift(both, both).part.score == pytest.approx(0.5)


def test_the_rank_test_is_that_of_mann_and_whitney() -> None:
    """Score and p-value are those of scipy's own test, ties and all."""
    from scipy.stats import mannwhitneyu

    from monitoring.comparison import _rank_test

    chance = np.random.default_rng(5)
    for count, other in ((60, 90), (500, 200)):
        one, two = chance.integers(0, 30, count).astype(float), chance.integers(2, 32, other).astype(float)
        theirs = mannwhitneyu(two, one, alternative="greater", method="asymptotic", use_continuity=False)
        part = _rank_test(one, two)
        assert part.score == pytest.approx(theirs.statistic / (count * other))
        assert part.p_value == pytest.approx(theirs.pvalue, rel=1e-6)
