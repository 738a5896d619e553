"""A whole training: from the extract to a registered version and the decision about it.

Training the same again changes nothing: a version that was made of equal data, parameters and code is found by its
tags (`registry.training`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import fraud
from fraud import features, model, pyfunc
from fraud.database import VARIABLE
from fraud.drift import sample
from fraud.drift.sample import DAYS, REFERENCE, make_reference, to_csv
from fraud.features import FEATURES
from fraud.model import Detector
from fraud.registered import DETECTOR
from fraud.training import dataset, fitting
from fraud.training.dataset import Examples, Split, is_held_out, split
from fraud.training.evaluation import Evaluation, average_precision, evaluate
from fraud.training.extract import Extract, fetch
from fraud.training.fitting import PARAMETERS, fit
from fraud.training.report import write_report
from fraud.training.settings import Settings
from job.progress import Progress
from job.storage import Storage
from registry.fingerprint import Fingerprint, config_sha256
from registry.lock import Database
from registry.package import Package
from registry.promotion import Comparison
from registry.recording import Trained
from registry.tracking import Tracking
from registry.training import Work
from registry.training import train as train_once

__all__ = ["train"]

MAKERS = (dataset, features, fitting, model, sample)
LIBRARIES = ("numpy", "scikit-learn", "scipy")


def train(settings: Settings, *, progress: Progress) -> str:
    """Train, evaluate, register, and promote if it is better; say in a line what became of it.

    Raises:
        JobError: The data is missing, damaged or not enough, or S3 failed.
        RegistryError: MLflow or PostgreSQL failed. No half of a version stays, whatever happens.
    """
    extract = fetch(Storage(), settings.data)
    config = config_sha256(PARAMETERS, settings.review_cost, makers=MAKERS, libraries=LIBRARIES)
    database = Database(settings.database.conninfo, VARIABLE, "fraud.train_fraud")
    outcome = train_once(
        Tracking(settings.tracking_uri, DETECTOR),
        database,
        Fingerprint(extract.sha256, config),
        lambda: _Training(settings, extract, progress).work(),
        progress,
        force=settings.force,
    )
    return outcome.line(int(extract.state.raw["history"]["rows"]))


@dataclass(frozen=True)
class _Training:
    """A training whose data has arrived."""

    settings: Settings
    extract: Extract
    progress: Progress

    def work(self) -> Work[Detector]:
        """What the registry is to do, and by what models are compared."""
        transactions, truth = self.extract.read()
        self.progress(f"{len(transactions):,} transactions, {len(truth):,} of them confirmed; computing their features")
        parted = split(transactions, truth)
        counts = parted.counts
        self.progress(
            f"{counts['training_rows']:,} to learn from ({counts['training_frauds']:,} frauds), "
            f"{counts['held_out_rows']:,} held out ({counts['held_out_frauds']:,} frauds), "
            f"{counts['waiting_rows']:,} wait for their truth, {counts['unripe_rows']:,} are confirmed too recently"
        )
        until, held_out = parted.until.isoformat(), parted.held_out

        def objection(tags: Mapping[str, str]) -> str:
            later = tags.get("judged_until", "")
            return f"the champion knows later transactions (until {later})" if later > until else ""

        comparison = Comparison[Detector](
            score=lambda detector: average_precision(held_out.fraud, detector.score(held_out.rows)),
            measure="PR-AUC",
            tag="pr_auc",
            count=len(held_out),
            rows=f"held-out transactions ({held_out.frauds:,} frauds)",
            objection=objection,
        )
        return Work(comparison, lambda: self.train(parted))

    def train(self, parted: Split) -> Trained[Detector]:
        """Train and evaluate."""
        settings, state = self.settings, self.extract.state
        judged = fit(parted.training, settings.review_cost)
        evaluation = evaluate(judged.detector, parted.training, parted.held_out, settings.review_cost)
        self.progress(f"held out: PR-AUC {evaluation.pr_auc}; logistic regression {evaluation.baseline_pr_auc}")
        # What is served knows the present too: of the cards that nobody is judged by.
        detector = fit(parted.known, settings.review_cost).detector
        known = f"{len(parted.later):,} later ones ({parted.later.frauds:,} frauds)"
        self.progress(f"learned from {known} as well; an alarm from a score of {detector.threshold:.4f} on")

        def report(folder: Path) -> None:
            write_report(folder, state, parted, judged, detector, evaluation, settings.review_cost)

        return Trained(
            model=detector,
            package=_package(detector, parted),
            parameters={**PARAMETERS, **parted.counts, "review_cost": settings.review_cost},
            metrics={**evaluation.metrics, **_served(detector, parted.held_out)},
            source=state.address,
            profile=parted.counts,
            report=report,
            tags=_tags(state.newest, parted, evaluation),
        )


def _served(detector: Detector, held_out: Examples) -> dict[str, float]:
    """What is known of the detector that is served, by the names that MLflow shows."""
    pr_auc = average_precision(held_out.fraud, detector.score(held_out.rows))
    return {"served_pr_auc": pr_auc, "served_threshold": detector.threshold}


def _tags(newest: str, parted: Split, evaluation: Evaluation) -> dict[str, str]:
    """What the version says of itself."""
    return {
        "newest": newest,
        "held_out_pr_auc": f"{evaluation.pr_auc.value:.6f}",
        "learned_until": parted.since.isoformat(),
        "judged_until": parted.until.isoformat(),
    }


def _package(detector: Detector, parted: Split) -> Package:
    """What MLflow keeps of the detector."""
    reference = _reference(detector, parted)
    return Package(
        loader=pyfunc,
        code=(fraud, features, model, pyfunc),
        inputs=dict.fromkeys(FEATURES, "double"),
        outputs={"score": "double", "is_fraud": "boolean"},
        example=parted.training.rows[0].tolist(),
        save=lambda folder: detector.save(folder, {REFERENCE: reference}),
    )


def _reference(detector: Detector, parted: Split) -> bytes:
    """The sample of the last days by which drift is seen; scored where the detector has learned nothing of the card."""
    since = parted.recent[-1][0].at - DAYS
    unseen = [
        (row, found)
        for row, found in parted.recent
        if row.at > since and (parted.until <= since or is_held_out(row.cc_num))
    ]
    scores = detector.score([found for _, found in unseen])
    said = {row.trans_num: float(score) for (row, _), score in zip(unseen, scores, strict=True)}
    return to_csv(make_reference(parted.recent, said))
