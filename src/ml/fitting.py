"""Training: from labelled texts to a classifier, and how well such a classifier does on texts it has not seen.

TF-IDF of words and of characters inside words, the title apart from the description, and a linear support vector
machine. Its scores become probabilities by one temperature, fitted on the scores of cross-validation.
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.optimize import minimize_scalar
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.preprocessing import normalize
from sklearn.svm import LinearSVC

from catalog.classifier import Classifier, Terms
from catalog.features import BLOCKS, Block
from job.errors import JobError
from job.progress import Progress
from ml.dataset import Examples

__all__ = ["PARAMETERS", "CrossValidation", "fit", "learn"]

FOLDS = 5
COST = 1.0
# Of each block the most frequent terms are kept, so that a model of a million listings is not a gigabyte.
LARGEST_VOCABULARY = 200_000
TEMPERATURES = (0.05, 50.0)
PARAMETERS: dict[str, object] = {
    "model": "TF-IDF (sublinear) + linear SVM (one against the rest) + temperature",
    "cost": COST,
    "folds": FOLDS,
    "largest_vocabulary": LARGEST_VOCABULARY,
    **{
        block.name: f"n-grams of {block.shortest} to {block.longest} of {block.reads} characters, weight {block.weight}"
        for block in BLOCKS
    },
}
"""What decides about a model beside its data, as it is logged."""


@dataclass(frozen=True)
class CrossValidation:
    """The weighted F1 of each fold, and the temperature that fits their scores best."""

    f1: tuple[float, ...]
    temperature: float

    @property
    def mean(self) -> float:
        """The mean over the folds."""
        return statistics.fmean(self.f1)

    @property
    def spread(self) -> float:
        """The standard deviation over the folds."""
        return statistics.stdev(self.f1)


@dataclass(frozen=True)
class Counted:
    """How often each term of a block occurs in each text."""

    block: Block
    terms: list[str]
    counts: sparse.csr_array


def fit(examples: Examples, progress: Progress) -> tuple[Classifier, CrossValidation]:
    """A classifier of these examples, and what cross-validation says of such classifiers.

    Raises:
        JobError: Their titles are too few, or too unevenly spread over the classes, to be parted into folds.
    """
    counted = [_count(block, examples.texts) for block in BLOCKS]
    progress(f"{sum(len(each.terms) for each in counted):,} terms in {len(examples):,} texts")
    _, targets = np.unique(examples.codes, return_inverse=True)
    validation = _cross_validate(counted, targets, examples.texts, progress)
    return _learn(counted, examples.codes, validation.temperature), validation


def learn(examples: Examples) -> Classifier:
    """The same classifier without cross-validation: its probabilities are not calibrated."""
    return _learn([_count(block, examples.texts) for block in BLOCKS], examples.codes, 1.0)


def _learn(counted: Sequence[Counted], codes: Sequence[int], temperature: float) -> Classifier:
    labels, targets = np.unique(np.array(codes, np.int64), return_inverse=True)
    everything = np.arange(len(targets))
    rarity = [_rarity(each, everything) for each in counted]
    coefficients, intercept = _one_row_a_label(_machine(_weigh(counted, rarity, everything), targets))
    bounds = np.cumsum([0, *(len(each.terms) for each in counted)])
    terms = tuple(
        Terms(
            each.block,
            {term: number for number, term in enumerate(each.terms)},
            rare.astype(np.float32),
            # Half precision: half the model, and no prediction moves.
            coefficients[:, first:last].T.astype(np.float16),
        )
        for each, rare, first, last in zip(counted, rarity, bounds, bounds[1:], strict=False)
    )
    return Classifier(labels, intercept.astype(np.float32), temperature, terms)


def _count(block: Block, texts: Sequence[tuple[str, str]]) -> Counted:
    vectorizer = CountVectorizer(analyzer=block.terms, max_features=LARGEST_VOCABULARY, dtype=np.float64)
    try:
        counts = vectorizer.fit_transform(block.of(text) for text in texts)
    except ValueError:  # no text has a term, as when all descriptions are empty
        return Counted(block, [], sparse.csr_array((len(texts), 0)))
    return Counted(block, list(vectorizer.get_feature_names_out()), sparse.csr_array(counts))


def _rarity(counted: Counted, rows: npt.NDArray[np.intp]) -> npt.NDArray[np.float64]:
    """The inverse document frequency of each term among these texts; 0 for one that none of them has."""
    texts_with = np.asarray((counted.counts[rows] > 0).sum(axis=0)).ravel()
    return np.where(texts_with > 0, np.log((1 + len(rows)) / (1 + texts_with)) + 1, 0.0)


def _weigh(counted: Sequence[Counted], rarity: Sequence[npt.NDArray[np.float64]], rows: npt.NDArray[np.intp]) -> Any:
    """The features of these texts: each block has the length of its weight."""
    blocks = []
    for each, rare in zip(counted, rarity, strict=True):
        if not each.terms:
            continue
        part = each.counts[rows]
        part.data = 1 + np.log(part.data)
        blocks.append(normalize(part @ sparse.diags_array(rare)) * each.block.weight)
    return sparse.hstack(blocks).tocsr()


def _machine(features: Any, targets: npt.NDArray[np.intp]) -> LinearSVC:
    with warnings.catch_warnings():
        # A hundredth of a percent more of the optimum changes no prediction.
        warnings.simplefilter("ignore", ConvergenceWarning)
        return LinearSVC(C=COST, random_state=0).fit(features, targets)


def _one_row_a_label(machine: LinearSVC) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Coefficients and intercepts; of two classes the library keeps one row, for the second."""
    coefficients, intercept = machine.coef_, machine.intercept_
    if len(intercept) == 1:
        return np.vstack([-coefficients, coefficients]), np.concatenate([-intercept, intercept])
    return coefficients, intercept


def _cross_validate(
    counted: Sequence[Counted], targets: npt.NDArray[np.intp], texts: Sequence[tuple[str, str]], progress: Progress
) -> CrossValidation:
    """Each fold is judged by a machine that saw the others; equal titles are in one fold."""
    folds = _folds(targets, texts)
    scores = np.zeros((len(targets), targets.max() + 1))

    def judge(learned: npt.NDArray[np.intp], judged: npt.NDArray[np.intp]) -> float:
        rarity = [_rarity(each, learned) for each in counted]
        machine = _machine(_weigh(counted, rarity, learned), targets[learned])
        coefficients, intercept = _one_row_a_label(machine)
        of_fold = _weigh(counted, rarity, judged) @ coefficients.T + intercept
        # A class that is in no other fold was not learned.
        scores[judged] = of_fold.min() - 1
        scores[np.ix_(judged, machine.classes_)] = of_fold
        guessed = scores[judged].argmax(axis=1)
        f1 = float(f1_score(targets[judged], guessed, average="weighted", zero_division=0.0))
        progress(f"fold: weighted F1 {f1:.3f} on {len(judged):,} texts")
        return f1

    # One after the other: the solver's random numbers are one sequence for the whole process, so that two at once would
    # make models that differ in their last digits from run to run.
    f1 = tuple(judge(learned, judged) for learned, judged in folds)
    return CrossValidation(f1, _temperature(scores, targets))


def _folds(
    targets: npt.NDArray[np.intp], texts: Sequence[tuple[str, str]]
) -> list[tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]]:
    """The rows to learn from and the rows to judge by, of each fold."""
    names, titles = np.unique([title for title, _ in texts], return_inverse=True)
    if len(names) < FOLDS:
        raise JobError(
            f"the listings to learn from have {len(names)} distinct titles, and {FOLDS} are the least: "
            "extract more listings"
        )
    parted = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    folds = list(parted.split(targets, targets, titles))
    if any(not len(judged) or len(np.unique(targets[learned])) < 2 for learned, judged in folds):
        raise JobError(
            f"the classes have too few distinct titles to be judged by {FOLDS} folds: two classes need two titles each "
            "at least; extract more listings"
        )
    return folds


def _temperature(scores: npt.NDArray[np.float64], targets: npt.NDArray[np.intp]) -> float:
    """What to multiply scores with, so that the probabilities made of them lose the least."""
    labels = np.arange(scores.shape[1])

    def loss(logarithm: float) -> float:
        raised = np.exp((scores - scores.max(axis=1, keepdims=True)) * np.exp(logarithm))
        return float(log_loss(targets, raised / raised.sum(axis=1, keepdims=True), labels=labels))

    low, high = np.log(TEMPERATURES)
    return float(np.exp(minimize_scalar(loss, bounds=(low, high), method="bounded").x))
