"""Who is champion: the better of two models by one measure on the same rows, decided by one trainer at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic

from job.progress import Progress
from registry.lock import Database, locked
from registry.model import M, Registered
from registry.tracking import Tracking

__all__ = ["DECISION", "WHY", "Comparison", "decide"]

DECISION, WHY = "promotion", "promotion_why"
PROMOTED, KEPT = "promoted", "kept"


@dataclass(frozen=True)
class Comparison(Generic[M]):
    """By what models are compared, and on what.

    Attributes:
        score: What a model is worth, by rows that none of them has learned from; the higher, the better.
        measure: What it is called: "weighted F1".
        tag: What it is called in tags: "f1_weighted".
        count: How many rows these are.
        rows: What they are: "held-out listings".
        objection: Why a champion with these tags stays whatever the scores are, that it knows newer data say; empty
            where the better one wins.
    """

    score: Callable[[M], float]
    measure: str
    tag: str
    count: int
    rows: str
    objection: Callable[[Mapping[str, str]], str] = lambda champion: ""


def decide(
    tracking: Tracking[M], database: Database, candidate: Registered[M], comparison: Comparison[M], progress: Progress
) -> None:
    """Promote a version if it beats the present champion; a tie keeps the champion. Its tags say which, and why.

    Between the look at the champion and the change of the alias nobody else decides: PostgreSQL holds the lock.

    Raises:
        RegistryError: PostgreSQL or MLflow does not answer; the champion is as it was.
    """
    with locked(database, f"promotion of {tracking.model.name}", progress) as check:
        tags = _compare(tracking, candidate, comparison)
        if tags[DECISION] == PROMOTED:
            check()
            tracking.promote(candidate.version)
        tracking.tag(candidate.version, tags)


def _compare(tracking: Tracking[M], candidate: Registered[M], by: Comparison[M]) -> dict[str, str]:
    """The tags of the decision."""
    champion = tracking.champion()
    mine = by.score(candidate.model)
    said = f"{by.measure} {mine:.4f}"
    tags = {f"candidate_{by.tag}": f"{mine:.6f}", "judged_on": f"{by.count} {by.rows}"}
    if champion is None:
        return _decided(f"there was no champion; {said}", tags, promoted=True)
    number = int(champion.version)
    if number == candidate.version:
        return _decided(f"it is the champion already; {said}", tags, promoted=True)
    try:
        theirs = by.score(tracking.load(champion).model)
    except tracking.model.damaged as error:
        return _decided(f"the champion, version {number}, is damaged ({error}); {said}", tags, promoted=True)
    against = f"{said} against {theirs:.4f} of the champion, version {number}, on the same {by.count:,} {by.rows}"
    tags |= {f"champion_{by.tag}": f"{theirs:.6f}", "champion_version": str(number)}
    if objection := by.objection(champion.tags):
        return _decided(f"{objection}; {against}", tags, promoted=False)
    return _decided(against, tags, promoted=mine > theirs)


def _decided(why: str, tags: dict[str, str], *, promoted: bool) -> dict[str, str]:
    # The decision comes last: a version that has it has all of them.
    return {WHY: why, **tags, DECISION: PROMOTED if promoted else KEPT}
