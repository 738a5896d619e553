"""`python -m monitoring.drift`: whether what the API is asked has moved away from what its model learned from.

Both samples belong to one version of the model, the champion: the listings that it was trained on, and those that it
was asked about lately. The report and the verdict go to a folder of their own on S3, and what points at them,
`latest.json`, is replaced last: who follows it never sees half.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from catalog.champion import Registry, Version
from catalog.classifier import Classifier, ModelError
from catalog.names import ALIAS, MODEL
from drift.verdict import Verdict
from job.errors import JobError
from job.program import run
from job.progress import Progress, log_progress
from job.storage import Storage
from monitoring.comparison import prediction_drift, text_drift
from monitoring.predictions import Current, read_current
from monitoring.reference import Reference, read_reference
from monitoring.report import report
from monitoring.settings import DriftSettings

__all__ = ["look", "main"]

# Of fewer that the champion has not learned from, the shares of its answers say nothing.
LEAST_HELD_OUT = 50


def main() -> None:
    """Compare what the environment names, and say what came out."""
    print(look(DriftSettings.read(), Storage(), datetime.now(UTC), log_progress()))


def look(settings: DriftSettings, storage: Storage, now: datetime, progress: Progress) -> str:
    """Compare, write the verdict if there is enough to judge by, and that there was a look; what sums it up.

    Raises:
        JobError: A server or the data failed; the verdict of the time before stands.
    """
    with _registry(settings) as registry:
        version = registry.champion()
        if version is None:
            return f"nothing to compare: no version of {MODEL} has the alias {ALIAS!r}; run train first"
        said = _compared(settings, storage, now, progress, registry, version)
    # Last: who fails has not looked.
    settings.folder.write_look(storage, now)
    return said


def _compared(
    settings: DriftSettings, storage: Storage, now: datetime, progress: Progress, registry: Registry, version: Version
) -> str:
    """The line that sums up the verdict, which is written then, or says why there is none."""
    since = now - timedelta(hours=settings.hours)
    current = read_current(settings.mongodb_uri, version.number, since, settings.rows)
    asked = f"{len(current.codes):,} different listings in {current.predictions:,} predictions"
    progress(f"{asked} of version {version.number} in the last {settings.hours} h")
    reference = _reference(settings, storage, version)
    progress(f"{len(reference.listings):,} different listings that it was trained on")
    fewest = min(len(current.codes), len(reference.listings))
    if fewest < settings.least:
        return f"no verdict: {fewest} different listings are too few, {settings.least} are the least (DRIFT_LEAST)"
    if len(reference.held_out) < LEAST_HELD_OUT:
        held_out = f"{len(reference.held_out)} of the listings of its training were held out of it"
        return f"no verdict: {held_out}, {LEAST_HELD_OUT} are the least; train on more"
    classifier = registry.load(version)
    reference = replace(reference, listings=reference.listings[: settings.rows])
    verdict, page = compare(version, classifier, reference, current, settings.folder.report(now), now)
    settings.folder.write(storage, verdict, page)
    return verdict.line("listings")


def compare(
    version: Version, classifier: Classifier, reference: Reference, current: Current, where: str, now: datetime
) -> tuple[Verdict, bytes]:
    """The verdict, and the report that will be there."""
    listings, answers = list(current.codes), list(current.codes.values())
    # The champion itself says what it thinks of those that it has not learned from.
    codes = [int(code) for code in classifier.predict(reference.held_out)]
    texts = text_drift(reference.listings, listings)
    parts = {"text": texts.part, "prediction": prediction_drift(codes, answers)}
    rows = {"reference": len(reference.listings), "current": len(listings)}
    verdict = Verdict(now, MODEL, version.number, rows, parts, where)
    return verdict, report(verdict, texts, codes, answers)


@contextmanager
def _registry(settings: DriftSettings) -> Iterator[Registry]:
    """MLflow; a champion that cannot be read is this program's error."""
    try:
        with closing(Registry(settings.tracking_uri)) as registry:
            yield registry
    except ModelError as error:
        raise JobError(f"the champion of {MODEL} is damaged: {error}; run train with TRAIN_FORCE=1") from None


def _reference(settings: DriftSettings, storage: Storage, version: Version) -> Reference:
    sha256 = version.tags.get("data_sha256", "")
    if not sha256:
        raise JobError(f"version {version.number} of {MODEL} does not say what it was trained on: run train")
    return read_reference(storage, settings.training_data, sha256)


if __name__ == "__main__":
    run(main)
