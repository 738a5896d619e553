"""The fit: probabilities that are true, alarms that are worth their reviews, and figures that are the field's."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from fraud.features import CATEGORIES, FEATURES
from fraud.training.dataset import Examples
from fraud.training.evaluation import average_precision, cost, evaluate, resampled
from fraud.training.fitting import Fitted, best_threshold, calibrate, fit
from job.errors import JobError


def cards(count: int, seed: int = 0, per_card: int = 20, share: float = 0.02) -> Examples:
    """Transactions of cards, of which some have several frauds; the amount and the hour tell of them."""
    chance = np.random.default_rng(seed)
    card = np.arange(count) // per_card
    odds = chance.normal(size=card[-1] + 1)[card] + 1.5 * chance.normal(size=count)
    fraud = odds > np.quantile(odds, 1 - share)
    rows = chance.normal(size=(count, len(FEATURES)))
    rows[:, 0] += 2.5 * fraud
    rows[:, 2] -= 1.5 * fraud
    rows[:, FEATURES.index("category")] = chance.integers(len(CATEGORIES), size=count)
    rows[:, -1] = np.where(chance.random(count) < 0.5, np.nan, rows[:, -1])
    return Examples(rows, fraud, np.exp(chance.normal(4, 1, count)), card + 1000 * (seed + 1))


@pytest.fixture(scope="module")
def training() -> Examples:
    """Four thousand transactions of two hundred cards."""
    return cards(4000)


@pytest.fixture(scope="module")
def fitted(training: Examples) -> Fitted:
    """What is fitted to them."""
    return fit(training, 10.0)


def test_scores_of_unseen_cards_are_probabilities(training: Examples, fitted: Fitted) -> None:
    """As many frauds as the scores promise, among the many and among the few that are suspected."""
    unseen = cards(20_000, seed=1)
    scores = fitted.detector.score(unseen.rows)
    assert scores.sum() == pytest.approx(unseen.frauds, rel=0.2)
    suspected = scores > 0.1
    assert scores[suspected].mean() == pytest.approx(unseen.fraud[suspected].mean(), abs=0.1)
    assert fitted.scores.sum() == pytest.approx(training.frauds, rel=0.01)


def test_equal_data_makes_equal_detectors(training: Examples, fitted: Fitted) -> None:
    """To the bit."""
    one, other = fitted.detector, fit(training, 10.0).detector
    assert one.score(training.rows).tolist() == other.score(training.rows).tolist() and one.threshold == other.threshold


def test_cross_fitting_has_not_seen_the_cards(training: Examples) -> None:
    """Where what tells of frauds is the card alone, out of fold nothing is found, and the calibration says so."""
    chance = np.random.default_rng(3)
    marks = chance.normal(size=(int(training.card.max()) + 1, len(FEATURES)))
    told = Examples(
        marks[training.card], chance.random(len(marks))[training.card] < 0.05, training.amount, training.card
    )
    fitted = fit(told, 10.0)
    assert average_precision(told.fraud, fitted.detector.score(told.rows)) > 0.9
    assert average_precision(told.fraud, fitted.scores) < 0.3
    assert fitted.scores.max() < 0.7


def test_frauds_on_few_cards_are_refused(training: Examples) -> None:
    """Of four cards there are no five folds."""
    few = np.isin(training.card, np.unique(training.card[training.fraud])[:4])
    only = Examples(training.rows, training.fraud & few, training.amount, training.card)
    with pytest.raises(JobError, match=r"are on 4 cards, and 5 are the least"):
        fit(only, 10.0)


def test_the_calibration_is_the_likeliest_line() -> None:
    """The same as logistic regression without a penalty; a score that is worse than chance is not turned round."""
    chance = np.random.default_rng(5)
    odds = chance.normal(size=5000) * 3
    fraud = chance.random(5000) < 1 / (1 + np.exp(-(0.6 * odds - 1)))
    reference = LogisticRegression(C=np.inf, tol=1e-8).fit(odds[:, None], fraud)
    slope, intercept = calibrate(odds, fraud)
    assert (slope, intercept) == pytest.approx((reference.coef_.item(), reference.intercept_.item()), abs=1e-3)
    assert calibrate(-odds, fraud)[0] == pytest.approx(0.05)


@pytest.mark.parametrize("review", [0.5, 10.0, 500.0])
def test_the_threshold_costs_the_least(review: float) -> None:
    """Against every other one, with scores that are often equal."""
    chance = np.random.default_rng(7)
    data = cards(3000, seed=8)
    scores = (0.3 * data.fraud + chance.random(3000) * 0.6).round(2)
    chosen = best_threshold(scores, data, review)
    every = [cost(scores >= each, data, review) for each in np.linspace(0, 1.01, 102) - 0.005]
    assert cost(scores >= chosen, data, review) == pytest.approx(min(every))


def test_where_no_alarm_is_worth_its_review_there_is_none() -> None:
    """And where all are, there is nothing else."""
    data = cards(200, seed=2)
    scores = np.linspace(0, 0.9, 200)
    assert not (scores >= best_threshold(scores, data, 1e6)).any()
    everything = Examples(data.rows, np.ones(200, np.bool_), data.amount + 100, data.card)
    assert (scores >= best_threshold(scores, everything, 1.0)).all()


def test_the_area_is_scikit_learns() -> None:
    """With equal scores too, and weighted by how often a card is in a resample."""
    chance = np.random.default_rng(11)
    data = cards(900, seed=4)
    for scores in (chance.random(900), chance.random(900).round(1), np.zeros(900)):
        expected = average_precision_score(data.fraud, scores)
        assert average_precision(data.fraud, scores) == pytest.approx(expected, abs=1e-12)
    scores = chance.random(900).round(2)
    (areas,) = resampled(data, scores)
    assert len(areas) == 1000 and areas.tolist() == resampled(data, scores)[0].tolist()
    again = np.random.default_rng(0).multinomial(45, np.full(45, 1 / 45), size=50)
    expected = [average_precision_score(data.fraud, scores, sample_weight=each[data.card - 5000]) for each in again]
    assert areas[:50] == pytest.approx(expected, abs=1e-12)


def test_the_interval_knows_that_cards_are_not_transactions() -> None:
    """Frauds that come ten to a card are a tenth of the witnesses: the interval is wider than if each had its own."""
    chance = np.random.default_rng(13)
    fraud = np.repeat(chance.random(300) < 0.1, 10)
    scores = np.repeat(chance.random(300), 10) + 0.5 * fraud
    nothing: npt.NDArray[np.float64] = np.zeros((3000, 1))

    def width(card: npt.NDArray[np.int64]) -> float:
        (areas,) = resampled(Examples(nothing, fraud, nothing[:, 0], card), scores)
        return float(np.subtract(*np.quantile(areas, (0.975, 0.025))))

    assert width(np.arange(3000) // 10) > 2 * width(np.arange(3000))


def test_an_evaluation_has_all_figures(training: Examples, fitted: Fitted) -> None:
    """The detector, the baseline beside it, what is gained, and which feature is worth what."""
    detector, held_out = fitted.detector, cards(4000, seed=6)
    found = evaluate(detector, training, held_out, 10.0)
    assert found.pr_auc.low < found.pr_auc.value < found.pr_auc.high
    assert found.gain.value == pytest.approx(found.pr_auc.value - found.baseline_pr_auc.value)
    assert list(found.importance)[:2] == ["amount", "hour"] and set(found.importance) == set(FEATURES)
    metrics = found.metrics
    assert metrics["held_out_pr_auc"] == found.pr_auc.value > 5 * metrics["held_out_pr_auc_of_chance"]
    assert found.baseline_pr_auc.value > 5 * metrics["held_out_pr_auc_of_chance"]
    assert metrics["held_out_cost"] < metrics["held_out_cost_without"] == held_out.amount[held_out.fraud].sum()
    caught = detector.is_fraud(found.scores) & held_out.fraud
    assert metrics["held_out_recall"] == caught.sum() / held_out.frauds
    assert all(np.isfinite(value) for value in metrics.values())
