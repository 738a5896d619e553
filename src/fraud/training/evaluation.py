"""How good scores are: the area under the precision-recall curve, with what chance leaves open; and what they cost.

The interval is a bootstrap over cards: a card's frauds come together, and are found or missed together, so that each of
them is no witness of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from fraud.features import CATEGORIES, FEATURES
from fraud.model import Detector
from fraud.training.dataset import Examples

__all__ = ["Evaluation", "Interval", "average_precision", "baseline", "cost", "evaluate", "importance", "resampled"]

RESAMPLES, AT_ONCE = 1000, 50
COVERAGE = 0.95
SHUFFLES, SHUFFLED = 3, 2_000
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """A figure, and between what it lies with a probability of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    @classmethod
    def of(cls, value: float, resamples: Floats) -> Interval:
        """A figure with what it was in the resamples."""
        outside = (1 - COVERAGE) / 2
        low, high = np.quantile(resamples, (outside, 1 - outside))
        return cls(value, float(low), float(high))


@dataclass(frozen=True)
class Evaluation:
    """What is known of a detector from held-out examples.

    Attributes:
        scores: Its score of each.
        baseline_scores: The baseline's.
        pr_auc: The area under its precision-recall curve.
        baseline_pr_auc: That of the logistic regression of the same features.
        gain: How much larger the first one is; on the same resamples.
        metrics: These, and all others, by the names that MLflow shows.
        importance: By how much the area shrinks when one feature is shuffled among the transactions.
    """

    scores: Floats
    baseline_scores: Floats
    pr_auc: Interval
    baseline_pr_auc: Interval
    gain: Interval
    metrics: dict[str, float]
    importance: dict[str, float]


def evaluate(detector: Detector, training: Examples, held_out: Examples, review_cost: float) -> Evaluation:
    """Judge a detector, and the baseline that learns from the same examples, by others."""
    scores, theirs = detector.score(held_out.rows), baseline(training, held_out.rows)
    mine_again, theirs_again = resampled(held_out, scores, theirs)
    value, other = average_precision(held_out.fraud, scores), average_precision(held_out.fraud, theirs)
    pr_auc, of_baseline = Interval.of(value, mine_again), Interval.of(other, theirs_again)
    gain = Interval.of(value - other, mine_again - theirs_again)
    alarms = detector.is_fraud(scores)
    found = int((alarms & held_out.fraud).sum())
    metrics = {
        "held_out_pr_auc": pr_auc.value,
        "held_out_pr_auc_low": pr_auc.low,
        "held_out_pr_auc_high": pr_auc.high,
        "held_out_pr_auc_of_chance": float(held_out.fraud.mean()),
        "baseline_pr_auc": of_baseline.value,
        "gain_pr_auc": gain.value,
        "gain_pr_auc_low": gain.low,
        "gain_pr_auc_high": gain.high,
        "held_out_brier": float(np.mean((scores - held_out.fraud) ** 2)),
        "held_out_frauds_expected": float(scores.sum()),
        "held_out_frauds": float(held_out.frauds),
        "held_out_alarms": float(alarms.sum()),
        "held_out_precision": found / max(int(alarms.sum()), 1),
        "held_out_recall": found / max(held_out.frauds, 1),
        "held_out_cost": cost(alarms, held_out, review_cost),
        "held_out_cost_without": cost(np.zeros_like(alarms), held_out, review_cost),
        "threshold": detector.threshold,
    }
    return Evaluation(scores, theirs, pr_auc, of_baseline, gain, metrics, importance(detector, held_out))


def average_precision(fraud: npt.NDArray[np.bool_], scores: Floats) -> float:
    """The area under the precision-recall curve, as the mean precision at the frauds; equal scores are one step."""
    return float(_areas(fraud, scores, np.ones((1, len(fraud))))[0])


def resampled(examples: Examples, *scores: Floats) -> list[Floats]:
    """The areas of each of these scores on resamples of the cards, the same ones for all of them."""
    _, card = np.unique(examples.card, return_inverse=True)
    parts = [
        [_areas(examples.fraud, each, weights[:, card]) for each in scores] for weights in _weights(int(card.max()) + 1)
    ]
    return [np.concatenate(each) for each in zip(*parts, strict=True)]


def cost(alarms: npt.NDArray[np.bool_], examples: Examples, review_cost: float) -> float:
    """What alarms cost, a review each, and the frauds without one, their amounts."""
    return float(review_cost * alarms.sum() + examples.amount[examples.fraud & ~alarms].sum())


def baseline(training: Examples, rows: Floats) -> Floats:
    """What a logistic regression of the same features, logarithms of the skewed ones, says of others."""
    category = FEATURES.index("category")
    others = [place for place in range(len(FEATURES)) if place != category]

    def prepared(of: Floats) -> Floats:
        return np.asarray(np.sign(of[:, others]) * np.log1p(np.abs(of[:, others])))

    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    model = make_pipeline(FunctionTransformer(prepared), imputer, StandardScaler())
    encoder = OneHotEncoder(categories=[list(range(len(CATEGORIES)))], handle_unknown="ignore", sparse_output=False)
    regression = LogisticRegression(max_iter=1000)
    numbers = model.fit_transform(training.rows)
    with threadpool_limits(limits=1):
        regression.fit(np.hstack([numbers, encoder.fit_transform(training.rows[:, [category]])]), training.fraud)
    given = np.hstack([model.transform(rows), encoder.transform(rows[:, [category]])])
    return np.asarray(regression.predict_proba(given)[:, 1])


def importance(detector: Detector, examples: Examples) -> dict[str, float]:
    """By how much the area shrinks when one feature is shuffled, on average; the most important first.

    Where there are many genuine transactions, a part of them will do.
    """
    chance = np.random.default_rng(0)
    genuine = np.flatnonzero(~examples.fraud)
    some = chance.choice(genuine, SHUFFLED, replace=False) if len(genuine) > SHUFFLED else genuine
    examples = examples.of(np.sort(np.concatenate([np.flatnonzero(examples.fraud), some])))
    whole, shrunk = average_precision(examples.fraud, detector.score(examples.rows)), {}
    for place, name in enumerate(FEATURES):
        rows, areas = examples.rows.copy(), []
        for _ in range(SHUFFLES):
            rows[:, place] = chance.permutation(examples.rows[:, place])
            areas.append(average_precision(examples.fraud, detector.log_odds(rows)))
        shrunk[name] = whole - float(np.mean(areas))
    return dict(sorted(shrunk.items(), key=lambda each: -each[1]))


def _weights(cards: int) -> Iterator[Floats]:
    """How often each card is in each resample; some resamples at a time."""
    chance = np.random.default_rng(0)
    for _ in range(RESAMPLES // AT_ONCE):
        yield chance.multinomial(cards, np.full(cards, 1 / cards), size=AT_ONCE).astype(np.float64)


def _areas(fraud: npt.NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """The area of each resample, which says how often each example is in it; 0 without a fraud."""
    order = np.argsort(-scores, kind="stable")
    true = fraud[order]
    ends = np.flatnonzero(np.append(np.diff(scores[order]) < 0, True))
    found = np.cumsum(weights[:, order] * true, axis=1)[:, ends]
    alarms = np.cumsum(weights[:, order], axis=1)[:, ends]
    precision = np.divide(found, alarms, out=np.zeros_like(found), where=alarms > 0)
    steps = np.diff(found, axis=1, prepend=0.0)
    total = found[:, -1]
    return np.asarray((steps * precision).sum(axis=1) / np.maximum(total, 1.0) * (total > 0))
