"""Who is champion: the better of two models on the same held-out listings, decided by one trainer at a time."""

from __future__ import annotations

from dataclasses import dataclass

from catalog.classifier import ModelError
from catalog.names import MODEL
from ml.dataset import Examples
from ml.evaluation import weighted_f1
from ml.job import Progress
from ml.lock import locked
from ml.registry import Registered, Registry
from ml.settings import Settings

__all__ = ["DECISION", "WHY", "Decision", "decide"]

DECISION, WHY = "promotion", "promotion_why"


@dataclass(frozen=True)
class Decision:
    """Whether a version was promoted, and why; the numbers are tags of the version."""

    promoted: bool
    why: str
    tags: dict[str, str]


def decide(
    settings: Settings, registry: Registry, candidate: Registered, held_out: Examples, progress: Progress
) -> Decision:
    """Promote a version if it beats the present champion on these listings; a tie keeps the champion.

    Between the look at the champion and the change of the alias nobody else decides: PostgreSQL holds the lock.

    Raises:
        JobError: PostgreSQL or MLflow does not answer; the champion is as it was.
    """
    with locked(settings.database_uri, f"promotion of {MODEL}", progress) as check:
        decision = _compare(registry, candidate, held_out)
        if decision.promoted:
            check()
            registry.promote(candidate.version)
        registry.tag(candidate.version, decision.tags)
    return decision


def _compare(registry: Registry, candidate: Registered, held_out: Examples) -> Decision:
    champion = registry.champion()
    mine = weighted_f1(candidate.classifier, held_out)
    if champion is None:
        return _decision(True, f"there was no champion; weighted F1 {mine:.4f}", mine, held_out)
    number = int(champion.version)
    if number == candidate.version:
        return _decision(True, f"it is the champion already; weighted F1 {mine:.4f}", mine, held_out)
    try:
        theirs = weighted_f1(registry.load(champion).classifier, held_out)
    except ModelError as error:
        why = f"the champion, version {number}, is damaged ({error}); weighted F1 {mine:.4f}"
        return _decision(True, why, mine, held_out)
    said = f"weighted F1 {mine:.4f} against {theirs:.4f} of the champion, version {number}"
    rows = f"on the same {len(held_out):,} held-out listings"
    tags = {"champion_f1_weighted": f"{theirs:.6f}", "champion_version": str(number)}
    return _decision(mine > theirs, f"{said}, {rows}", mine, held_out, **tags)


def _decision(promoted: bool, why: str, mine: float, held_out: Examples, **more: str) -> Decision:
    tags = {WHY: why, "candidate_f1_weighted": f"{mine:.6f}", "judged_on": f"{len(held_out)} held-out listings", **more}
    # The decision comes last: a version that has it has all of them.
    return Decision(promoted, why, {**tags, DECISION: "promoted" if promoted else "kept"})
