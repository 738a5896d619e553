"""A training that is done once: one version of each fingerprint, and one decision on it, whatever comes in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from job.progress import Progress
from registry.fingerprint import Fingerprint
from registry.lock import Database, locked
from registry.model import M, Registered
from registry.promotion import DECISION, PROMOTED, WHY, Comparison, decide
from registry.recording import Trained, record, remove_unfinished
from registry.tracking import Tracking

__all__ = ["Outcome", "Work", "train"]


@dataclass(frozen=True)
class Work(Generic[M]):
    """A training whose data is there: what is left to do.

    Attributes:
        comparison: How its model will be compared with the champion.
        train: Trains and evaluates. It is not called where there is such a model already.
    """

    comparison: Comparison[M]
    train: Callable[[], Trained[M]]


@dataclass(frozen=True)
class Outcome:
    """What became of a training.

    Attributes:
        model: The name of the registered model.
        version: Its version.
        run_id: The run that made it.
        metrics: The figures of that run.
        promoted: Whether it was promoted when it was made.
        why: Why, or why not.
        existing: Whether there was such a version already, so that nothing was trained.
    """

    model: str
    version: int
    run_id: str
    metrics: Mapping[str, float]
    promoted: bool
    why: str
    existing: bool

    def line(self, rows: int) -> str:
        """What happened, in one line, with how many rows there were."""
        if self.existing:
            made = "was trained before on equal data, parameters and code"
            place = "promoted then" if self.promoted else "not promoted then"
        else:
            made, place = "registered", "champion" if self.promoted else "not promoted"
        return f"{self.model} version {self.version} {made} | {rows:,} rows | {place}: {self.why}"


def train(
    tracking: Tracking[M],
    database: Database,
    fingerprint: Fingerprint,
    prepare: Callable[[], Work[M]],
    progress: Progress,
    *,
    force: bool,
) -> Outcome:
    """Train, evaluate, register, and promote if it is better; with `force` also what was trained before.

    `prepare` reads the data, and is called when there is no such version with a decision yet. Trainers of the same
    model take turns, so that the second one finds the version of the first.

    Raises:
        RegistryError: MLflow or PostgreSQL failed; no half of a version stays.
    """
    began, name = time.time(), tracking.model.name
    tracking.experiment()
    lock = f"training of {name} {fingerprint.data_sha256} {fingerprint.config_sha256}"
    with locked(database, lock, progress) as check:
        found = None if force else tracking.find(fingerprint)
        if found is not None and DECISION in found.tags:
            return _outcome(tracking, found, existing=True)
        work = prepare()
        # Whoever registered it ended before the decision.
        candidate = None if found is None else _load(tracking, found, progress)
        if candidate is None:
            removed = remove_unfinished(tracking, fingerprint)
            if removed:
                progress(f"removed {removed} unfinished runs of trainers that were killed")
            candidate = record(tracking, work.train(), fingerprint, began, check)
        decide(tracking, database, candidate, work.comparison, progress)
        return _outcome(tracking, tracking.version(candidate.version), existing=False)


def _load(tracking: Tracking[M], version: Any, progress: Progress) -> Registered[M] | None:
    """A version that was found; None for a damaged one, in whose place another is made."""
    try:
        return tracking.load(version)
    except tracking.model.damaged as error:
        progress(f"version {version.version} of {tracking.model.name} is damaged: {error}; training it anew")
        return None


def _outcome(tracking: Tracking[M], version: Any, *, existing: bool) -> Outcome:
    """What MLflow knows of a version."""
    tags, metrics = version.tags, tracking.metrics(version)
    promoted, number = tags.get(DECISION) == PROMOTED, int(version.version)
    return Outcome(tracking.model.name, number, version.run_id, metrics, promoted, tags.get(WHY, ""), existing)
