"""What people read of a detector: pictures of what it finds and costs, and its card."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.metrics import precision_recall_curve

from fraud.model import Detector
from fraud.names import MODEL
from fraud.training.dataset import Split
from fraud.training.evaluation import Evaluation, cost
from fraud.training.extract import State
from fraud.training.fitting import PARAMETERS, Fitted

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["write_report"]

BINS = 8
ABOUT = """\
Tells how likely a card transaction is a fraud, by the transaction and its card's last thirty days: how often, how much,
how far from home and from the last shop, at which hour, where for the first time. For sorting out what people look at;
not for decisions that nobody sees. No name, no gender, no age and no date is among the features."""
LIMITS = """\
- What is confirmed is what somebody complained of. A fraud that nobody saw counts as genuine; and where alarms decide
  what is looked at, later models learn from what earlier ones found.
- Transactions of the last days are not learned from: of those, mostly frauds are confirmed.
- What it is judged by happened later than what it learned from. The truth comes late: some of what it learned from
  became known only when the judged weeks had begun.
- A card with little past is judged by the transaction alone. Single purchases like the holder's own are hardly found.
- New ways of fraud are worse than these figures until they are confirmed and learned.
"""


def write_report(
    folder: Path,
    state: State,
    parted: Split,
    fitted: Fitted,
    served: Detector,
    evaluation: Evaluation,
    review_cost: float,
) -> None:
    """Write the state of the extract, the model card, and four pictures into a folder.

    The detector that was fitted is the one that is judged; the one that is served has learned from later transactions
    too.
    """
    (folder / "data_state.json").write_text(json.dumps(state.raw, indent=2), encoding="utf-8")
    card = model_card(state, parted, fitted, served, evaluation, review_cost)
    (folder / "model_card.md").write_text(card, encoding="utf-8")
    pictures = {
        "precision_recall": _precision_recall(parted, fitted, evaluation),
        "reliability": _reliability(parted, fitted, evaluation),
        "cost": _cost(parted, fitted, evaluation, review_cost),
        "importance": _importance(evaluation),
    }
    for name, figure in pictures.items():
        figure.savefig(folder / f"{name}.png", dpi=100)


def _figure(width: float, height: float) -> Figure:
    """A figure that is drawn into memory: no window, no state of pyplot."""
    os.environ.setdefault("FONTCONFIG_FILE", str(Path(__file__).with_name("fonts.conf")))
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _precision_recall(parted: Split, fitted: Fitted, evaluation: Evaluation) -> Figure:
    """Both curves, and where the threshold stands on the detector's."""
    figure = _figure(7, 6)
    axes, fraud = figure.add_subplot(), parted.held_out.fraud
    for scores, name, area in (
        (evaluation.scores, MODEL, evaluation.pr_auc),
        (evaluation.baseline_scores, "logistic regression", evaluation.baseline_pr_auc),
    ):
        precision, recall, _ = precision_recall_curve(fraud, scores)
        axes.step(recall, precision, where="post", label=f"{name}: {area}")
    metrics = evaluation.metrics
    at = f"threshold {fitted.detector.threshold:.3f}"
    axes.plot(metrics["held_out_recall"], metrics["held_out_precision"], "o", color="black", label=at)
    axes.axhline(fraud.mean(), color="grey", linestyle=":", label=f"chance: {fraud.mean():.4f}")
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes.set_title(f"{parted.held_out.frauds:,} frauds among {len(fraud):,} held-out transactions")
    axes.legend(loc="lower left")
    return figure


def _reliability(parted: Split, fitted: Fitted, evaluation: Evaluation) -> Figure:
    """How often what is given a probability is a fraud: out of fold, where there are more of them, and held out."""
    figure = _figure(7, 6)
    axes = figure.add_subplot()
    for scores, fraud, name in (
        (fitted.scores, parted.training.fraud, "training cards, out of fold"),
        (evaluation.scores, parted.held_out.fraud, "held out"),
    ):
        order = np.argsort(scores, kind="stable")
        # As many frauds to expect in each part: the rare high scores are what alarms are made of.
        expected = np.cumsum(scores[order])
        parts = np.minimum((BINS * expected / expected[-1]).astype(int), BINS - 1)
        said = [scores[order][parts == each].mean() for each in np.unique(parts)]
        was = [fraud[order][parts == each].mean() for each in np.unique(parts)]
        axes.plot(said, was, "o-", label=f"{name}: {scores.sum():.1f} frauds expected, {int(fraud.sum()):,} were")
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    axes.set(xlabel="mean score", ylabel="share of frauds", xlim=(0, 1), ylim=(0, 1), title="Calibration")
    axes.legend(loc="upper left")
    return figure


def _cost(parted: Split, fitted: Fitted, evaluation: Evaluation, review_cost: float) -> Figure:
    """What the held-out transactions would have cost, by the threshold."""
    figure = _figure(7, 6)
    axes, held_out = figure.add_subplot(), parted.held_out
    thresholds = np.geomspace(1e-4, 1, 100)
    costs = [cost(evaluation.scores >= each, held_out, review_cost) for each in thresholds]
    without = evaluation.metrics["held_out_cost_without"]
    chosen = fitted.detector.threshold
    axes.plot(thresholds, costs, label=f"a review costs {review_cost:g}, a missed fraud its amount")
    axes.axvline(chosen, color="black", linestyle="--", label=f"chosen on training cards: {chosen:.4f}")
    axes.axhline(without, color="grey", linestyle=":", label=f"without any alarm: {without:,.0f}")
    axes.set(xscale="log", xlabel="threshold", ylabel="cost", title="What held-out transactions cost", ylim=(0, None))
    axes.legend(loc="lower right")
    return figure


def _importance(evaluation: Evaluation) -> Figure:
    """A bar a feature, the most important on top."""
    figure = _figure(7, 8)
    axes = figure.add_subplot()
    least_first = list(evaluation.importance.items())[::-1]
    bars = axes.barh([name for name, _ in least_first], [value for _, value in least_first])
    axes.bar_label(bars, fmt="%.3f", fontsize=7, padding=2)
    axes.set(xlabel="PR-AUC lost", title="What is lost when a feature is shuffled")
    axes.tick_params(axis="y", labelsize=8)
    axes.margins(x=0.1)
    return figure


def model_card(
    state: State, parted: Split, fitted: Fitted, served: Detector, evaluation: Evaluation, review_cost: float
) -> str:
    """The model card, in Markdown."""
    return "\n".join(
        [
            f"# {MODEL}",
            "",
            ABOUT,
            "",
            "## Data",
            *_table(_data(state, parted)),
            "",
            "## Figures",
            *_table(_figures(fitted, served, evaluation, review_cost)),
            "",
            "## Method",
            *_table(PARAMETERS),
            "",
            "## Limits",
            f"- {parted.held_out.frauds:,} frauds judge it: look at the interval, not at the third digit.",
            LIMITS,
        ]
    )


def _data(state: State, parted: Split) -> dict[str, object]:
    training, held_out = parted.training, parted.held_out
    return {
        "state of the extract": state.address,
        "transactions": f"{parted.transactions:,}, until {state.newest}",
        "learned from": f"{len(training):,} with {training.frauds:,} frauds, before {parted.since}",
        "served: learned from these, and later ones": f"{len(parted.later):,} with {parted.later.frauds:,} frauds",
        "judged by": f"{len(held_out):,} with {held_out.frauds:,} frauds, from then to {parted.until}, "
        "on cards that no model learns from (one in three, by a hash)",
        "wait for their truth, not used": f"{parted.waiting:,}",
        "confirmed too recently, not used": f"{parted.unripe:,}",
    }


def _figures(fitted: Fitted, served: Detector, evaluation: Evaluation, review_cost: float) -> dict[str, object]:
    metrics = evaluation.metrics
    alarms, precision, recall = (metrics[f"held_out_{name}"] for name in ("alarms", "precision", "recall"))
    costs, without = metrics["held_out_cost"], metrics["held_out_cost_without"]
    return {
        "PR-AUC, with 95 % by a bootstrap over cards": evaluation.pr_auc,
        "logistic regression of the same features": evaluation.baseline_pr_auc,
        "gain over it, paired": evaluation.gain,
        "judged with an alarm from a score of": f"{fitted.detector.threshold:.4f}; a review costs {review_cost:g}",
        "alarms, precision, recall": f"{alarms:.0f}, {precision:.3f}, {recall:.3f}",
        "cost, and without any alarm": f"{costs:,.0f}, {without:,.0f}",
        "served with an alarm from a score of": f"{served.threshold:.4f}",
    }


def _table(rows: Mapping[str, Any]) -> list[str]:
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]
