"""`python -m fraud.drift_fraud`: whether the transactions of late are those that the champion was made for.

Two samples of cards are compared: the champion's own reference, of the last week that it knew, and one of the last week
that PostgreSQL has. The report and the verdict go to a folder of their own on S3, and what points at them,
`latest.json`, is replaced last: who follows it never sees half.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fraud.drift.comparison import Values, alarm_drift, value_drift
from fraud.drift.current import MOST, Current, read_current
from fraud.drift.report import report
from fraud.drift.sample import REFERENCE, Row, draw, from_csv, highest_scores, scored_rows, span
from fraud.drift.settings import Settings
from fraud.drift.verdict import TransactionVerdict
from fraud.features import FEATURES
from fraud.model import Detector, ModelError, read_file
from fraud.names import ALIAS, FOLDER, MODEL
from fraud.registered import DETECTOR
from job.errors import JobError
from job.program import run
from job.storage import Storage
from registry.champion import Registry, Version

__all__ = ["look", "main"]

# Of fewer cards that the champion has not learned from, the shares of its alarms say nothing.
LEAST_SCORED = 50
# Pasts that are this much shorter are alike.
TOLERANCE = timedelta(hours=6)


def main() -> None:
    """Compare what the environment names, and say what came out."""
    print(look(Settings.read(), Storage(), datetime.now(UTC)))


@dataclass(frozen=True)
class Champion:
    """What is in service, and the sample that belongs to it."""

    version: int
    detector: Detector
    reference: list[Row]


def look(settings: Settings, storage: Storage, now: datetime) -> str:
    """Compare, write the verdict if there is enough to judge by, and that there was a look; what sums it up.

    Raises:
        JobError: A server or the data failed; the verdict of the time before stands.
        RegistryError: MLflow did.
    """
    with closing(Registry(settings.tracking_uri, DETECTOR)) as registry:
        version = registry.champion()
        if version is None:
            return f"nothing to compare: no version of {MODEL} has the alias {ALIAS!r}; run train_fraud first"
        champion = _load(registry, version)
    said = _compared(settings, storage, now, champion)
    # Last: who fails has not looked.
    settings.folder.write_look(storage, now)
    return said


def _load(registry: Registry[Detector], version: Version) -> Champion:
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{FOLDER}/{name}" for name in (*DETECTOR.files, REFERENCE)]
        registry.download(version, files, Path(folder))
        place = Path(folder, FOLDER)
        try:
            return Champion(version.number, DETECTOR.load(place), from_csv(read_file(place, REFERENCE)))
        except (ModelError, ValueError) as error:
            told = f"version {version.number} of {MODEL} is damaged: {error}"
            raise JobError(f"{told}; run train_fraud with TRAIN_FORCE=1") from None


def _compared(settings: Settings, storage: Storage, now: datetime, champion: Champion) -> str:
    """The line that sums up the verdict, which is written then, or says why there is none."""
    if not champion.reference:
        return f"no verdict: {REFERENCE} of version {champion.version} of {MODEL} is empty; run train_fraud"
    current = read_current(settings.database, span(champion.reference))
    if current is None:
        return "no verdict: PostgreSQL has no transactions; run logger_sql"
    sample = _sampled(champion.detector, current)
    if why := _too_short(champion.reference, current) or _too_few(settings.least, champion.reference, sample):
        return f"no verdict: {why}"
    verdict = compare(champion, sample, current.newest, settings.folder.report(now), now)
    settings.folder.write(storage, verdict, report(verdict, champion.detector, champion.reference, sample))
    return verdict.line(f"cards until {verdict.until}")


def compare(champion: Champion, current: list[Row], until: datetime, where: str, now: datetime) -> TransactionVerdict:
    """The verdict on the transactions until then; `where` its report will be."""
    reference, scored = champion.reference, scored_rows(champion.reference)
    data = value_drift(*(_values(rows, [row.features for row in rows]) for rows in (reference, current)))
    (score,) = value_drift(*(_values(rows, [(row.score,) for row in rows]) for rows in (scored, current)))
    highest = (np.array(highest_scores(rows)) for rows in (scored, current))
    alarms = alarm_drift(*(champion.detector.is_fraud(scores).tolist() for scores in highest))
    moved = dict(sorted(zip(FEATURES, data, strict=True), key=lambda each: -each[1].times))
    parts = {"data": next(iter(moved.values())), "score": score, "alarms": alarms}
    rows = {"reference": len(highest_scores(reference)), "current": len(highest_scores(current))}
    return TransactionVerdict(now, MODEL, champion.version, rows, parts, where, until, moved)


def _values(rows: list[Row], values: Sequence[Sequence[float]]) -> Values:
    """Values of rows, by card; cards are numbered anew, for some may have been left out."""
    return Values(np.unique([row.card for row in rows], return_inverse=True)[1], np.array(values))


def _sampled(detector: Detector, current: Current) -> list[Row]:
    """The sample of the transactions of late, scored by the champion."""
    recent = list(current.featured())
    scores = detector.score([features for _, features in recent]).tolist()
    return draw(recent, dict(zip((row.trans_num for row, _ in recent), scores, strict=True)), current.begin)


def _too_few(least: int, reference: list[Row], current: list[Row]) -> str:
    """Why there are too few cards to tell anything; empty where there are enough."""
    fewest, scored = (
        min(len(highest_scores(rows)) for rows in samples)
        for samples in ((reference, current), (scored_rows(reference),))
    )
    if fewest < least:
        return f"{fewest} cards are too few, {least} are the least (DRIFT_FRAUD_LEAST)"
    if scored < LEAST_SCORED:
        return f"{scored} cards are all that the champion has not learned from, {LEAST_SCORED} are the least"
    return ""


def _too_short(reference: list[Row], current: Current) -> str:
    """Why the features of both samples cannot be compared; empty where they can."""
    wanted, found = min(span(reference), MOST), current.newest - current.begin
    if found >= wanted - TOLERANCE:
        return ""
    days = timedelta(days=1)
    return (
        f"PostgreSQL has transactions of {found / days:.1f} days, and the champion's reference is of data of "
        f"{wanted / days:.1f} days; keep them for longer, or run train_fraud"
    )


if __name__ == "__main__":
    run(main)
