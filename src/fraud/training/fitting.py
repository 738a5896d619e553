"""Training: from examples to a detector whose scores are probabilities, and whose alarms are worth their reviews.

Gradient boosting of decision trees. Five models, each of which has not seen a fifth of the cards, score these: by those
scores the detector is calibrated, and its threshold is where alarms and missed frauds cost the least.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import StratifiedGroupKFold
from threadpoolctl import threadpool_limits

from fraud.model import Detector, Trees
from fraud.training.dataset import Examples
from job.errors import JobError

__all__ = ["PARAMETERS", "Fitted", "best_threshold", "calibrate", "detector_of", "fit", "forest"]

FOLDS = 5
BOOSTING: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_iter": 200,
    "max_leaf_nodes": 12,
    "max_depth": 6,
    "min_samples_leaf": 20,
    "l2_regularization": 5.0,
    "max_features": 0.2,
}
PARAMETERS: dict[str, object] = {
    "model": "gradient boosting of decision trees (HistGradientBoostingClassifier), calibrated by a logistic curve",
    "folds": FOLDS,
    **BOOSTING,
}
"""What decides about a model beside its data, as it is logged."""

Floats = npt.NDArray[np.float64]
SLOPES, INTERCEPTS = (0.05, 5.0), (-10.0, 10.0)


@dataclass(frozen=True)
class Fitted:
    """A detector, and what models that had not seen a card say of its transactions.

    Attributes:
        detector: What predicts.
        scores: Of each training example the calibrated probability, by a model that had not seen its card.
    """

    detector: Detector
    scores: Floats


def fit(training: Examples, review_cost: float) -> Fitted:
    """A detector of these examples.

    Raises:
        JobError: The frauds are on too few cards to be parted into folds.
    """
    log_odds = np.empty(len(training))
    for learned, judged in _folds(training):
        part = detector_of(forest(training.of(learned)))
        log_odds[judged] = part.log_odds(training.rows[judged])
    slope, intercept = calibrate(log_odds, training.fraud)
    uncut = detector_of(forest(training), slope=slope, intercept=intercept)
    scores = uncut.calibrated(log_odds)
    threshold = best_threshold(scores, training, review_cost)
    return Fitted(Detector(uncut.trees, uncut.baseline, slope, intercept, threshold), scores)


def forest(examples: Examples) -> Any:
    """scikit-learn's model of some examples.

    One thread: the steps are so small that more of them mostly wait for each other, on a busy machine without end.
    """
    model = HistGradientBoostingClassifier(**BOOSTING, early_stopping=False, random_state=0)
    with threadpool_limits(limits=1):
        return model.fit(examples.rows, examples.fraud)


def detector_of(fitted: Any, *, slope: float = 1.0, intercept: float = 0.0, threshold: float = 0.5) -> Detector:
    """scikit-learn's model as arrays: its trees, one after the other, with the places of their nodes counted on."""
    tables = [predictor.nodes for (predictor,) in fitted._predictors]
    sizes = [len(table) for table in tables]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes = np.concatenate(tables)
    first = np.repeat(roots, sizes)
    leaf = nodes["is_leaf"].astype(np.bool_)
    itself = np.arange(len(nodes))
    left = np.where(leaf, itself, nodes["left"] + first)
    right = np.where(leaf, itself, nodes["right"] + first)
    trees = Trees(
        feature=np.where(leaf, 0, nodes["feature_idx"]).astype(np.int32),
        cut=np.where(leaf, 0.0, nodes["num_threshold"]),
        missing_left=nodes["missing_go_to_left"].astype(np.bool_),
        children=np.stack([right, left], axis=1).astype(np.int32),
        value=nodes["value"].astype(np.float64),
        roots=roots.astype(np.int32),
        depth=int(nodes["depth"].max()),
    )
    baseline = float(np.asarray(fitted._baseline_prediction).item())
    return Detector(trees, baseline, slope, intercept, threshold)


def calibrate(log_odds: Floats, fraud: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The slope and the intercept of the line that makes log odds those of the likeliest probabilities (Platt).

    A slope is never negative: a model that is worse than chance is not turned round, but says less and less.
    """
    sign = np.where(fraud, -1.0, 1.0)

    def loss(line: Sequence[float]) -> tuple[float, Floats]:
        slope, intercept = line
        said = sign * (slope * log_odds + intercept)
        wrong = sign * np.exp(-np.logaddexp(0, -said))
        return float(np.logaddexp(0, said).mean()), np.array([(wrong * log_odds).mean(), wrong.mean()])

    found = minimize(loss, (1.0, 0.0), jac=True, bounds=(SLOPES, INTERCEPTS), method="L-BFGS-B")
    return float(found.x[0]), float(found.x[1])


def best_threshold(scores: Floats, examples: Examples, review_cost: float) -> float:
    """From which score on alarms cost the least: each costs a review, and each fraud without one its amount.

    Half way to the next lower score, so that the last digit of a score decides nothing. Of equal costs the highest:
    fewer alarms.
    """
    order = np.argsort(-scores, kind="stable")
    saved = np.where(examples.fraud[order], examples.amount[order], 0.0) - review_cost
    worth = np.concatenate([[0.0], np.cumsum(saved)])
    sorted_scores = scores[order]
    # Equal scores are alarms together: only where the next one is lower may the alarms end.
    ends = np.concatenate([[True], np.diff(sorted_scores) < 0, [True]])
    alarms = int(np.argmax(np.where(ends, worth, -np.inf)))
    above = sorted_scores[alarms - 1] if alarms else 1.0
    below = sorted_scores[alarms] if alarms < len(scores) else 0.0
    return float((above + below) / 2)


def _folds(training: Examples) -> Iterator[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """The rows to learn from and the rows to judge by, of each fold; a card is in one fold only."""
    cards = len(np.unique(training.card[training.fraud]))
    if cards < FOLDS:
        raise JobError(
            f"the {training.frauds} frauds to learn from are on {cards} cards, and {FOLDS} are the least: "
            "confirm the frauds of more cards"
        )
    parted = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    yield from parted.split(training.rows, training.fraud, training.card)
