"""Whether two samples of listings differ, by tests whose rate of false alarms is known and does not grow with the rows.

Each part has a score, and the threshold that it must pass: what chance gives to equal samples of these sizes once in
``1 / LEVEL`` looks, and at least the smallest difference that is worth a retraining. No clock and no chance: what is
drawn is drawn from a seed, and what is split is split by hashes, so equal rows give equal scores in whatever order.

The rate of false alarms is that of listings which know nothing of each other. Those of one seller do: so of listings
whose designations are the same but for numbers, one counts. What is alike in other ways is still taken for many.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from drift.verdict import Part

__all__ = ["LEVEL", "Listing", "TextDrift", "distinct", "offer", "prediction_drift", "text_drift"]

Listing = tuple[str, str]
"""Designation and description, cleaned."""

# Of so many looks at equal samples one is a false alarm, for each part: hourly, one in six weeks at most.
LEVEL = 0.001
# An area under the ROC curve and a share of listings below which a difference is not worth a retraining.
LEAST_TEXT, LEAST_PREDICTION = 0.55, 0.1
DRAWS, SEED = 9_999, 7
# A description begins with what a thing is; what comes after is long, and alike.
READS = 500
WORD = r"\w\w+"
TELLING = 12


@dataclass(frozen=True)
class TextDrift:
    """How well the texts tell their sample, with the words and the listings that tell it best."""

    part: Part
    words: tuple[str, ...]
    listings: tuple[Listing, ...]


def offer(listing: Listing) -> str:
    """What a listing is one of: its designation but for numbers, where it has other characters."""
    return re.sub(r"\d+", "", listing[0]) if re.search(r"[^\W\d]", listing[0]) else listing[0]


def distinct(listings: Iterable[Listing]) -> list[Listing]:
    """One listing of each offer, in the order of their hashes: the first so many are a sample without chance."""
    chosen: dict[str, Listing] = {}
    for listing in sorted(set(listings), key=_digest):
        chosen.setdefault(offer(listing), listing)
    return list(chosen.values())


def text_drift(reference: Sequence[Listing], current: Sequence[Listing]) -> TextDrift:
    """A classifier learns to tell the samples apart on one half of the listings, and is judged on the other half.

    The score is its area under the ROC curve: 0.5 for samples that nothing tells apart, 1 for wholly different ones.
    Listings of one offer are in the same half, so nothing is gained by knowing one by heart.
    """
    samples = distinct(reference), distinct(current)
    listings = [listing for sample in samples for listing in sample]
    is_current = np.repeat([False, True], [len(sample) for sample in samples])
    judged = np.array([bool(_digest((offer(each), ""))[-1] % 2) for each in listings])
    classifier = _classifier().fit([_joined(each) for each in _where(listings, ~judged)], is_current[~judged])
    scores = classifier.decision_function([_joined(each) for each in _where(listings, judged)])
    part = _rank_test(scores[~is_current[judged]], scores[is_current[judged]])
    telling = np.argsort(-scores, kind="stable")[:TELLING]
    found = _where(listings, judged)
    return TextDrift(part, _telling_words(classifier), tuple(found[each] for each in telling))


def prediction_drift(reference: Sequence[int], current: Sequence[int]) -> Part:
    """The total variation distance of the categories: the share of listings that would have to be in another one.

    What chance gives is drawn from both samples together, without putting back: an exact test, however rare a category.
    """
    before, now = Counter(reference), Counter(current)
    counts = np.array([[each[code] for code in sorted({*before, *now})] for each in (before, now)])
    score = float(_distance(*counts))
    drawn = np.random.default_rng(SEED).multivariate_hypergeometric(counts.sum(axis=0), len(reference), DRAWS)
    chance = _distance(drawn, counts.sum(axis=0) - drawn)
    p_value = (1 + int((chance >= score - 1e-12).sum())) / (1 + DRAWS)
    return Part(score, max(LEAST_PREDICTION, float(np.quantile(chance, 1 - LEVEL))), p_value)


def _distance(one: npt.NDArray[np.int64], other: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """The total variation distance of counts, of each row to its like."""
    shares = [each / each.sum(axis=-1, keepdims=True) for each in (one, other)]
    return np.asarray(np.abs(shares[0] - shares[1]).sum(axis=-1) / 2)


def _rank_test(reference: npt.NDArray[np.float64], current: npt.NDArray[np.float64]) -> Part:
    """The area under the ROC curve as the statistic of Mann and Whitney, whose spread under chance is known."""
    _, place, count = np.unique(np.concatenate([reference, current]), return_inverse=True, return_counts=True)
    # Equal scores share the mean of their ranks.
    ranks = (np.cumsum(count) - (count - 1) / 2)[place]
    pairs = len(reference) * len(current)
    won = ranks[len(reference) :].sum() - len(current) * (len(current) + 1) / 2
    # That of a sum of ranks drawn without putting back; it allows for equal scores.
    spread = float(np.sqrt(ranks.var(ddof=1) / len(ranks) / pairs))
    score, chance = float(won / pairs), NormalDist(0.5, max(spread, 1e-9))
    return Part(score, max(LEAST_TEXT, chance.inv_cdf(1 - LEVEL)), 1 - chance.cdf(score))


def _classifier() -> Any:
    """TF-IDF of words, and a logistic regression: what knows a language or a category, knows it by its words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    words = TfidfVectorizer(lowercase=False, token_pattern=WORD, sublinear_tf=True)
    return make_pipeline(
        words, LogisticRegression(C=0.1, class_weight="balanced", solver="liblinear", random_state=SEED)
    )


def _telling_words(classifier: Any) -> tuple[str, ...]:
    """The words that speak most for the current sample."""
    vectorizer, regression = classifier[0], classifier[-1]
    names = vectorizer.get_feature_names_out()
    best = np.argsort(-regression.coef_[0], kind="stable")[:TELLING]
    return tuple(str(names[each]) for each in best if regression.coef_[0][each] > 0)


def _joined(listing: Listing) -> str:
    return f"{listing[0]} {listing[1][:READS]}"


def _where(listings: Sequence[Listing], chosen: npt.NDArray[np.bool_]) -> list[Listing]:
    return [listing for listing, wanted in zip(listings, chosen, strict=True) if wanted]


def _digest(listing: Listing) -> bytes:
    return hashlib.sha256("\0".join(listing).encode()).digest()
