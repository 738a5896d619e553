"""How good a classifier is on texts that it has not seen, and which of two is better on the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from catalog.classifier import Classifier
from ml.dataset import Examples

__all__ = ["Evaluation", "OfClass", "evaluate", "weighted_f1"]

TOP = 3
CONFIDENCE_BINS = 10
# What the true class is given at least, so that one that was never learned costs much and not everything.
LEAST_PROBABILITY = 1e-6


@dataclass(frozen=True)
class OfClass:
    """How well one class is found."""

    code: int
    precision: float
    recall: float
    f1: float
    examples: int


@dataclass(frozen=True)
class Evaluation:
    """What is known of a classifier from held-out examples."""

    metrics: dict[str, float]
    classes: tuple[OfClass, ...]
    # Rows are the true codes, columns the guessed ones, both in the order of `classes`.
    confusion: npt.NDArray[np.int64]


def evaluate(classifier: Classifier, examples: Examples) -> Evaluation:
    """Judge a classifier by examples. One of a class that it does not know is a mistake like any other."""
    truth = np.array(examples.codes, np.int64)
    likely = classifier.predict_proba(examples.texts)
    guessed = classifier.labels[likely.argmax(axis=1)]
    codes = np.union1d(truth, classifier.labels)
    columns = precision_recall_fscore_support(truth, guessed, labels=codes, zero_division=0.0)
    right = classifier.labels[np.newaxis, :] == truth[:, np.newaxis]
    best = np.argsort(-likely, axis=1, kind="stable")[:, :TOP]
    of_truth = np.maximum((likely * right).sum(axis=1), LEAST_PROBABILITY)
    metrics = {
        "held_out_f1_weighted": _f1(truth, guessed, "weighted"),
        "held_out_f1_macro": _f1(truth, guessed, "macro"),
        "held_out_accuracy": float(accuracy_score(truth, guessed)),
        f"held_out_accuracy_top_{TOP}": float(np.take_along_axis(right, best, axis=1).any(axis=1).mean()),
        "held_out_log_loss": float(-np.log(of_truth).mean()),
        "held_out_calibration_error": _calibration_error(likely.max(axis=1), guessed == truth),
    }
    classes = tuple(
        OfClass(int(code), float(precision), float(recall), float(f1), int(count))
        for code, precision, recall, f1, count in zip(codes, *columns, strict=True)
    )
    return Evaluation(metrics, classes, confusion_matrix(truth, guessed, labels=codes))


def weighted_f1(classifier: Classifier, examples: Examples) -> float:
    """The one number by which models are compared."""
    return _f1(np.array(examples.codes, np.int64), classifier.predict(examples.texts), "weighted")


def _f1(truth: npt.NDArray[np.int64], guessed: npt.NDArray[np.int64], average: str) -> float:
    return float(f1_score(truth, guessed, average=average, zero_division=0.0))


def _calibration_error(confidence: npt.NDArray[np.float64], right: npt.NDArray[np.bool_]) -> float:
    """How far, on average, the said probability of the guess is from how often such guesses are right."""
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    apart = [abs(right[bins == each].sum() - confidence[bins == each].sum()) for each in range(CONFIDENCE_BINS)]
    return float(sum(apart) / len(right))
